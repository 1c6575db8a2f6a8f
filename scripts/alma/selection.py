"""Best-of-N and preference pairs: which response is chosen, which is rejected, and which never can be."""

import json
import unicodedata
from typing import Any

from alma.checks import run_checks
from alma.duplicates import folded, folded_words
from alma.ids import hashed_int

# Fewer shared words say nothing: "Hi" is well answered with "Hi there!", "Red or blue?" with "Red".
ECHO_WORDS = 4


def _length(text: str) -> float:
    """Words of a text; where words are not set apart by spaces, two wide characters count as one."""
    wide = [sum(unicodedata.east_asian_width(char) in "WF" for char in word) for word in folded_words(text)]
    return sum(max(1.0, count / 2) for count in wide)


def _core(text: str) -> str:
    """A folded text without what stands around its first and last letter or digit."""
    text = folded(text)
    places = [i for i, char in enumerate(text) if char.isalnum()]
    return text[places[0] : places[-1] + 1] if places else ""


def is_echo(prompt: str, response: str) -> bool:
    """Whether a response says the prompt again.

    Case, white space and Unicode variants (NFKC) make no difference. An echo is:

    - the prompt itself, however short;
    - the prompt, then more text: an answer after it does not help, since the model that is trained on
      it learns to repeat its prompts;
    - the first part of the prompt.

    The last two are compared without the punctuation around either text, end at a word's end, and need
    at least `ECHO_WORDS` words in common.
    """
    if folded(prompt) == folded(response):
        return True
    shorter, longer = sorted((_core(prompt), _core(response)), key=len)
    ends = not longer[len(shorter) : len(shorter) + 1].isalnum()
    return longer.startswith(shorter) and ends and _length(shorter) >= ECHO_WORDS


def why_out(prompt: str, response: dict[str, Any]) -> str | None:
    """Why a response can never be chosen, in words; None where it may be."""
    if response["finish_reason"] != "stop":
        return "cut off"
    if not any(c.isalnum() for c in response["response"]):
        return "empty"
    if is_echo(prompt, response["response"]):
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
            key = folded(row["response"])
            if key in found:
                found[key]["multiplicity"] += 1
            else:
                found[key] = row | {"multiplicity": 1}
    return list(found.values())


def best_of(candidates: list[dict[str, Any]], tolerance: float, seed: list[Any]) -> dict[str, Any]:
    """Candidate with the highest score; ties within `tolerance` are broken by a seeded hash.

    Never by position: position follows the checkpoint, and would favor one.
    """
    top = max(row["score"] for row in candidates)
    tied = [row for row in candidates if row["score"] >= top - tolerance]
    return min(tied, key=lambda row: hashed_int(seed, "best", row["response_id"]))


def best_by_checks(candidates: list[dict[str, Any]], seed: list[Any]) -> dict[str, Any]:
    """Candidate with the largest `share` of checks passed; ties are broken by a seeded hash.

    Not by the judge's score: this choice is the ceiling that the judge is held against.
    """
    return min(candidates, key=lambda row: (-row["share"], hashed_int(seed, "checks", row["response_id"])))


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
        prompt: row with prompt_id, prompt and checks (JSON list).
        responses: response rows with `score`, in any order.
        seed: what the hashes are seeded with.
        selection: "best" (highest score), "random" (any eligible sample, the control) or "checks" (largest
            share of the checks that the prompt states, for studies; a prompt that states none is chosen for
            at random).
        tie_tolerance: scores this close are equal.

    Returns:
        A row of the "selected" table. `rejected` is a random other candidate, weighted by how often
        it was sampled, with a lower score (under "checks" a lower share; under "random" any); it is null
        where there is none such, or all scores tie.
    """
    candidates = distinct_candidates(prompt["prompt"], responses)
    if not candidates:
        return None

    def random_order(row: dict[str, Any]) -> float:
        # Weighted by multiplicity: the largest u ** (1 / w) wins (Efraimidis and Spirakis, 2006).
        u = (hashed_int(seed, "random", row["response_id"]) + 1) / 2**63
        return 1.0 - u ** (1.0 / row["multiplicity"])

    checks = json.loads(prompt["checks"]) if selection == "checks" else []
    if checks:
        for row in candidates:
            passed = run_checks(checks, row["response"])
            row["share"] = sum(passed) / len(passed)
        chosen = best_by_checks(candidates, seed)
    elif selection != "best":
        chosen = min(candidates, key=random_order)
    else:
        chosen = best_of(candidates, tie_tolerance, seed)
    scores = [row["score"] for row in candidates]
    rejected: dict[str, Any] | None = None
    if selection == "checks":
        others = [row for row in candidates if checks and row["share"] < chosen["share"]]
        rejected = min(others, key=random_order, default=None)
    elif max(scores) - min(scores) > tie_tolerance:
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
