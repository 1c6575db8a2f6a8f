"""Sets of single instructions with an answer each: Dolly, Alpaca, self-instruct's seed tasks, LIMA."""

from collections.abc import Iterable
from typing import Any

from alma.label_sets.item import Answer, Dropped, Item, Messages, Read, asked, is_blank, with_instances
from alma.seed_formats import Row

NO_INPUT = ("<noinput>", "noinput", "no input")  # what Alpaca's generating model wrote for an empty input


def _with_input(instruction: Any, extra: Any) -> Messages:
    """An instruction, and after a blank line the text that it is about."""
    if is_blank(extra) or not isinstance(instruction, str) or not isinstance(extra, str):
        return asked(instruction)
    return asked(f"{instruction}\n\n{extra}")


def dolly(rows: Iterable[Row]) -> Read:
    """instruction, context (may be blank), response, category."""
    for where, values, _ in rows:
        prompt = _with_input(values.get("instruction"), values.get("context"))
        yield Item(where, prompt, [Answer(values.get("response"))], values.get("category"))


def alpaca(rows: Iterable[Row]) -> Read:
    """instruction, input (may be blank, or say that there is none), output."""
    for where, values, _ in rows:
        extra = values.get("input")
        if isinstance(extra, str) and extra.strip().strip(".").lower() in NO_INPUT:
            extra = None
        yield Item(where, _with_input(values.get("instruction"), extra), [Answer(values.get("output"))])


def self_instruct(rows: Iterable[Row]) -> Read:
    """instruction, instances (list of {input, output}): one item per instance."""
    for row, instances in with_instances(rows, "instances"):
        if not instances:
            yield Dropped(row.where, "no instances")
        for instance in instances:
            if not isinstance(instance, dict):
                yield Dropped(row.where, "an instance that is no object")
                continue
            prompt = _with_input(row.values.get("instruction"), instance.get("input"))
            yield Item(row.where, prompt, [Answer(instance.get("output"))])


def lima(rows: Iterable[Row]) -> Read:
    """conversations (list of texts, the user's and the assistant's in turn), source."""
    for row, texts in with_instances(rows, "conversations"):
        if len(texts) < 2:  # as in the set's test split
            yield Item(row.where, asked(texts[0] if texts else None), [], row.values.get("source"))
            continue
        texts = texts[: len(texts) // 2 * 2]
        turns = [
            {"role": role, "content": text}
            for role, text in zip(["user", "assistant"] * (len(texts) // 2), texts, strict=True)
        ]
        yield Item(row.where, turns[:-1], [Answer(texts[-1])], row.values.get("source"))
