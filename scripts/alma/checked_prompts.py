"""Which evaluation prompts the judge's choice is measured on: those whose responses a program can check."""

import json
from typing import Any

from alma.ids import hashed_int


def checked_prompts(
    rows: list[dict[str, Any]], benchmark: str | None, most: int, seed: int
) -> list[dict[str, Any]]:
    """Up to `most` prompts with checks, by seeded hash: more of them keep those that fewer would be.

    A prompt of several benchmarks counts once, with the checks of the first.

    Args:
        rows: of the "eval" table. benchmark: the one to take from, or None for all.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["benchmark"], row["prompt_id"])):
        if benchmark in (None, row["benchmark"]) and json.loads(row["checks"]):
            found.setdefault(row["prompt_id"], row)
    ordered = sorted(found.values(), key=lambda row: hashed_int(seed, "selection", row["prompt_id"]))
    return ordered[:most]
