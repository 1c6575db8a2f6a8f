"""The one exception that users are meant to see."""


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
    shown = "\n".join(f"  {_visible(problem)}" for problem in problems[:limit])
    more = f"\n  ... and {len(problems) - limit} more" if len(problems) > limit else ""
    raise InputError(f"{heading}\n{shown}{more}")
