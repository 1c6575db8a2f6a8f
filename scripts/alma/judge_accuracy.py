"""How often a judge orders two responses to one prompt as people do, prompt by prompt."""

from typing import Any

from alma.judging import integer_rating
from alma.statistics import pair_results


def score_of(row: dict[str, Any], kind: str) -> float | None:
    """The judge's score of a row: real-valued, or integer (its most probable rating); None if unreadable."""
    if row["score"] is None or kind == "real-valued":
        return row["score"]
    return float(integer_rating(row["p"]))


def by_prompt(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows grouped by prompt, in the order of prompt_id and response_id."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["prompt_id"], row["response_id"])):
        groups.setdefault(row["prompt_id"], []).append(row)
    return groups


def pairs_by_prompt(rows: list[dict[str, Any]], kind: str) -> dict[str, tuple[float, int]]:
    """{prompt: (pairs in the order of the labels, ties half; pairs with different labels)}.

    Args:
        rows: judge_score rows. kind: integer or real-valued.
    """
    return {
        prompt: pair_results([score_of(row, kind) for row in group], [row["label"] for row in group])
        for prompt, group in by_prompt(rows).items()
    }


def is_benchmark_pair(row: dict[str, Any]) -> bool:
    """Whether a judge_score row is the judge benchmark's, and not a held-out human score."""
    return row["prompt_id"].startswith("pair:")
