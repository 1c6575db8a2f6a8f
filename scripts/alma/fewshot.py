"""Seeds in the context of a base model: to write a new prompt, and to answer one without training.

Paper section 2.2 (prompt synthesis): three to five seed prompts in context, then the model goes on; and
the evaluation of the base model with seed pairs as earlier turns. The few-shot judge is in `alma.judging`.
"""

import random
import re
from typing import Any

from alma.ids import hashed_int, request_seed

LABEL = "Prompt:"
DELIMITER = "---"
# The next example starts with the one or, where the model forgets it, with the other.
STOP = (f"\n{DELIMITER}", f"\n{LABEL}")

_MARKER = re.compile(
    # what chat templates and tokenizers read as control tokens
    r"<\||\[/?INST\]|</?s>|<(?:bos|eos|pad|unk|mask)>|<(?:start|end)_of_turn>"
    r"|\b(?:prompts?|responses?|answers?|assistant|user|human|completion)\s*:"
    rf"|{re.escape(DELIMITER)}",
    re.IGNORECASE,
)


def layout(examples: list[str]) -> str:
    """Raw text to complete: the examples, each closed by the delimiter, then an open label."""
    return "".join(f"{LABEL} {text.strip()}\n{DELIMITER}\n" for text in examples) + LABEL


def first_example(text: str) -> str:
    """The part of a completion before its first delimiter or label, stripped."""
    ends = [text.find(stop) for stop in STOP if stop in text]
    return text[: min(ends, default=len(text))].strip()


def has_marker(text: str) -> bool:
    """Whether a text holds a layout or role marker: it is more than one prompt, or holds an answer."""
    return _MARKER.search(text) is not None


def usable_example(text: str) -> bool:
    """Whether a seed prompt can stand in the layout: not empty, and not itself cut by a stop string."""
    text = text.strip()
    return bool(text) and not any(stop in f"\n{text}" for stop in STOP)


def choose_examples(count: int, bounds: tuple[int, int], *key: int | str) -> list[int]:
    """Indices of the examples of one synthesis, in context order; they depend on `key` alone.

    Args:
        count: number of usable seed prompts, at least bounds[0].
        bounds: fewest and most examples, both included.
        key: names the item, e.g. run seed, shard, index.
    """
    generator = random.Random(hashed_int("few-shot", *key))
    wanted = generator.randint(*bounds)
    return generator.sample(range(count), min(wanted, count))


def item_seed(seed: int, shard: int, index: int) -> int:
    """Sampling seed of one synthesis: item `index` of a shard of raw prompts."""
    return request_seed(seed, "prompts", "base", f"{shard}", index)


def example_pairs(seeds: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` seed pairs for the context of an evaluation, by seeded hash, the same for every prompt."""
    return sorted(seeds, key=lambda row: hashed_int(seed, "evaluation", row["prompt_id"]))[:count]


def as_turns(pairs: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Seed pairs as the turns of one conversation."""
    return [turn for row in pairs for turn in [*row["prompt"], *row["completion"]]]
