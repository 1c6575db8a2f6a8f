"""What is measured on one evaluation response, the same for every table and figure."""

from typing import Any


def verdicts(row: dict[str, Any]) -> list[bool]:
    """Verdict of each check on a response; an empty response passes nothing.

    Without this rule an empty response would pass "does not contain X" and "at most n words".
    """
    passed = row["passed"] or []
    return list(passed) if row["response"].strip() else [False] * len(passed)


def check_share(row: dict[str, Any]) -> float | None:
    """Share of its prompt's checks that a response passes (0-1), None for a prompt without checks."""
    passed = verdicts(row)
    return sum(passed) / len(passed) if passed else None
