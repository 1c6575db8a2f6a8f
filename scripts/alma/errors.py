"""The one exception that users are meant to see, and how its message shows what was found."""

from typing import Any


class InputError(Exception):
    """Something that the user gave (a file, a row, a config key) cannot be used.

    The message is complete: it names the file, row or key, what was found and what is expected.
    `alma.workflow.job` prints it without a traceback and ends the job with a non-zero exit.
    """


def _visible(text: str) -> str:
    """Text whose control characters (escape codes, changes of direction) are written out."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def fail_with(problems: list[str], heading: str, limit: int = 50) -> None:
    """Raise one `InputError` that lists every problem; do nothing if there is none."""
    if not problems:
        return
    shown = "\n".join(f"  {_visible(line)}" for line in problems[:limit])
    more = f"\n  ... and {len(problems) - limit} more" if len(problems) > limit else ""
    raise InputError(f"{heading}\n{shown}{more}")


class Plain(str):
    """Text that a message shows without quotes."""


NOTHING = Plain("nothing")


def shorten(value: Any, limit: int = 60) -> str:
    """How a message shows a value: its repr, cut after `limit` characters."""
    if isinstance(value, str):
        value = value[: limit + 1]  # no need to escape a long text for its first words
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; too many levels
        text = f"a value of type {type(value).__name__} that is too large to show"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def problem(where: str, column: str, found: Any, expected: str) -> str:
    """One line of a message: file and row, column, what was found, what is expected."""
    shown = found if isinstance(found, Plain) else shorten(found)
    return f"{where}, {column}: found {shown}, expected {expected}"
