"""What every reader of a label set gives: a prompt with its answers, or a row that is left out."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from alma.seed_formats import Row

Messages = list[dict[str, Any]]


class Answer(NamedTuple):
    """One answer to a prompt."""

    text: Any  # checked later: it may be no text
    scores: tuple[float, ...] = ()  # on 0-10, one per annotator; none where the set has no scores


class Item(NamedTuple):
    """A prompt and its answers."""

    where: str  # the row that it stands in, as `alma.seed_formats.Row.where`
    prompt: Messages  # turns with role and content, the last one the user's
    answers: list[Answer]
    category: Any = None


class Dropped(NamedTuple):
    """A row, or a part of one, that is left out."""

    where: str
    reason: str  # without values, so that equal reasons can be counted


Read = Iterator[Item | Dropped]


def asked(content: Any, system: Any = None) -> Messages:
    """A prompt of one user turn, after a system message where there is one."""
    turns = [{"role": "user", "content": content}]
    has_system = isinstance(system, str) and system.strip()
    return [{"role": "system", "content": system}, *turns] if has_system else turns


def is_blank(value: Any) -> bool:
    """Whether a column says nothing: absent, or white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def ends(values: list[Any], score: float) -> list[Answer]:
    """Answers of a set that says only which ones are better: all with one end of the scale as their score.

    The better ones have 10 and the others 0: the expected score of an answer is then ten times the
    probability that it is the better one.
    """
    return [Answer(value, (score,)) for value in values]


def scaled(value: Any, low: float, high: float) -> float | None:
    """A number of [low, high] mapped to 0-10; None where it is no number or lies outside."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return (value - low) * 10 / (high - low)


def with_instances(rows: Iterable[Row], key: str) -> Iterator[tuple[Row, list[Any]]]:
    """Rows with the list in a column, empty where there is none."""
    for row in rows:
        found = row.values.get(key)
        yield row, found if isinstance(found, list) else []
