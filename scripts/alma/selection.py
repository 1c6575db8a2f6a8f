"""Best-of-N and preference pairs: which response is chosen, which is rejected, and which never can be."""

import unicodedata
from typing import Any

from alma.ids import hashed_int


def normalised(text: str) -> str:
    """Text with case, white space and Unicode forms evened out, to compare texts."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def why_out(prompt: str, response: dict[str, Any]) -> str | None:
    """Why a response can never be chosen, in words; None where it may be."""
    text = normalised(response["response"])
    if response["finish_reason"] != "stop":
        return "cut off"
    if not any(c.isalnum() for c in text):
        return "empty"
    if text == normalised(prompt):
        return "echo of the prompt"
    return "no score" if response["score"] is None else None


def is_eligible(prompt: str, response: dict[str, Any]) -> bool:
    """Whether a response may be chosen: scored, finished, not empty and not the prompt again."""
    return why_out(prompt, response) is None


def distinct_candidates(prompt: str, responses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Eligible responses without repeats, each with `multiplicity`; a text's first sample stands for it."""
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(responses, key=lambda row: (row["sample"], row["response_id"])):
        if is_eligible(prompt, row):
            key = normalised(row["response"])
            if key in found:
                found[key]["multiplicity"] += 1
            else:
                found[key] = row | {"multiplicity": 1}
    return list(found.values())


def best_of(candidates: list[dict[str, Any]], tolerance: float, seed: list[Any]) -> dict[str, Any]:
    """Candidate with the highest score; ties within `tolerance` are broken by a seeded hash.

    Never by position: position follows the checkpoint, and would favour one.
    """
    top = max(row["score"] for row in candidates)
    tied = [row for row in candidates if row["score"] >= top - tolerance]
    return min(tied, key=lambda row: hashed_int(seed, "best", row["response_id"]))


def select(
    prompt: dict[str, Any],
    responses: list[dict[str, Any]],
    *,
    seed: list[Any],
    selection: str,
    tie_tolerance: float,
) -> dict[str, Any] | None:
    """The chosen and the rejected response of one prompt, or None where no response can be chosen.

    Args:
        prompt: row with prompt_id and prompt.
        responses: response rows with `score`, in any order.
        seed: what the hashes are seeded with.
        selection: "best" (highest score) or "random" (any eligible sample, the control).
        tie_tolerance: scores this close are equal.

    Returns:
        A row of the "selected" table. `rejected` is a random other candidate, weighted by how often
        it was sampled; it is null where there are fewer than two candidates or all of them tie.
    """
    candidates = distinct_candidates(prompt["prompt"], responses)
    if not candidates:
        return None

    def random_order(row: dict[str, Any]) -> float:
        # Weighted by multiplicity: the largest u ** (1 / w) wins (Efraimidis and Spirakis, 2006).
        u = (hashed_int(seed, "random", row["response_id"]) + 1) / 2**63
        return 1.0 - u ** (1.0 / row["multiplicity"])

    if selection == "random":
        chosen = min(candidates, key=random_order)
    else:
        chosen = best_of(candidates, tie_tolerance, seed)
    scores = [row["score"] for row in candidates]
    rejected: dict[str, Any] | None = None
    if max(scores) - min(scores) > tie_tolerance:
        others = [row for row in candidates if row["score"] < chosen["score"] - tie_tolerance]
        if selection == "random":
            others = [row for row in candidates if row is not chosen]
        rejected = min(others, key=random_order, default=None)
    return {
        "prompt_id": prompt["prompt_id"],
        "prompt": prompt["prompt"],
        "chosen": chosen["response"],
        "chosen_score": chosen["score"],
        "chosen_id": chosen["response_id"],
        "rejected": rejected["response"] if rejected else None,
        "rejected_score": rejected["score"] if rejected else None,
        "rejected_id": rejected["response_id"] if rejected else None,
        "candidates": len(candidates),
    }
