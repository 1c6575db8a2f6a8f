"""Read the CSV tables that the workflow writes, and round the numbers that go into them."""

import csv
import math
from pathlib import Path
from typing import Any


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV file as text, in the order of the file."""
    csv.field_size_limit(2**31 - 1)  # a cell may hold a long response
    with Path(path).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def number(cell: str | None) -> float | None:
    """The number in a cell, None where it is empty."""
    return float(cell) if cell not in (None, "") else None


def rounded(value: float | None) -> float | None:
    """Value with six significant digits (enough for any reader), None for None and NaN."""
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.6g}")


def rounded_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with all its floats rounded."""
    return {key: rounded(value) if isinstance(value, float) else value for key, value in row.items()}
