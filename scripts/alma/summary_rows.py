"""Rows of evaluation/summary.csv: those of the run's own judge among those of `evaluation.judges`."""

from typing import Any

OWN = "own"  # the run's judge, which chose what the rounds train on; no other may have this name


def of_own_judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per checkpoint and benchmark; with checks and lengths, which no judge says."""
    return [row for row in rows if row["judge"] == OWN]
