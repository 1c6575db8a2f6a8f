"""Benchmarks of prompts: MT-Bench, Arena-Hard v2, AlpacaEval. LIMA's test prompts: `instructions.lima`."""

from collections.abc import Iterable
from typing import Any

from alma.label_sets.item import Answer, Dropped, Item, Messages, Read, asked, is_blank
from alma.seed_formats import Row

TURNS = ("turns", "prompt")  # the list of user turns: as FastChat calls it, and as its copies on the hub do


def _question(row: Row, turns: list[Any], count: int) -> Item:
    """The first `count` user turns of a question, with the reference of the last of them."""
    prompt: Messages = [message for text in turns[:count] for message in asked(text)]
    given = row.values.get("reference")
    references = given[count - 1 : count] if isinstance(given, list) else []
    answers = [Answer(text) for text in references if not is_blank(text)]
    return Item(row.where, prompt, answers, row.values.get("category"))


def _questions(rows: Iterable[Row], count: int | None) -> Read:
    for row in rows:
        name = next((name for name in TURNS if name in row.values), TURNS[0])
        turns = row.values.get(name)
        if isinstance(turns, list) and turns:
            yield _question(row, turns, len(turns) if count is None else count)
        else:
            yield Dropped(row.where, "no list of turns")


def mt_bench(rows: Iterable[Row]) -> Read:
    """turns (list of texts of the user), category, reference (list of texts, one per turn; may be absent).

    One item per question with all its turns, which the model answers one by one.
    """
    return _questions(rows, None)


def mt_bench_turn_1(rows: Iterable[Row]) -> Read:
    """As `mt_bench`, the first turn alone."""
    return _questions(rows, 1)


def arena_hard(rows: Iterable[Row]) -> Read:
    """uid, category (hard_prompt, creative_writing), subcategory, prompt."""
    for where, values, _ in rows:
        yield Item(where, asked(values.get("prompt")), [], values.get("category"))


def alpaca_eval(rows: Iterable[Row]) -> Read:
    """instruction, dataset; output and generator are the reference model's, and no right answer."""
    for where, values, _ in rows:
        yield Item(where, asked(values.get("instruction")), [], values.get("dataset"))
