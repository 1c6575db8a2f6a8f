"""The selection of one prompt in plain Python, row by row: what `alma.selection.select` must agree with."""

import json
from typing import Any

from alma.checks import run_checks
from alma.duplicates import folded
from alma.ids import hashed_int
from alma.selection import is_eligible


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
    """The row of the "selected" table of one prompt, or None where no response can be chosen.

    Args:
        prompt: row with prompt_id, prompt and checks (JSON list).
        responses: response rows with `score`, in any order.
        seed, selection, tie_tolerance: as of `alma.selection.select`.
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
