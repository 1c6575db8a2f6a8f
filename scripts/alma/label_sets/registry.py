"""The label sets that are read by name: `NAME:SOURCE`, as in `dolly:hub:OWNER/NAME@REVISION`."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from alma.label_sets.benchmarks import TURNS, alpaca_eval, arena_hard, mt_bench, mt_bench_turn_1
from alma.label_sets.conversations import COLUMNS as CONVERSATIONS
from alma.label_sets.conversations import sharegpt
from alma.label_sets.helpsteer import QUALITIES, helpsteer2, helpsteer3
from alma.label_sets.ifeval import ifeval
from alma.label_sets.instructions import alpaca, dolly, lima, self_instruct
from alma.label_sets.item import Dropped, Read
from alma.label_sets.openassistant import openassistant
from alma.label_sets.preferences import hh_rlhf, rewardbench, rewardbench2
from alma.label_sets.purposes import PURPOSES, purpose_of
from alma.label_sets.ultrafeedback import ultrafeedback
from alma.label_summary import SourceCount
from alma.seed_formats import Row, read_rows

ANSWERS = ("labels.sft",)
SCORES = ("labels.judge", "judge.benchmark")
PROMPTS = ("evaluation.benchmarks",)


class LabelSet(NamedTuple):
    """How one set is read."""

    read: Callable[[Iterable[Row]], Read]
    needed: list[tuple[str, ...]]  # columns that a file of the set has, or others
    optional: tuple[str, ...]  # columns that are of use besides
    purposes: tuple[str, ...]  # config keys that the set can serve


_CONVERSATION = LabelSet(
    sharegpt, [(name,) for name in CONVERSATIONS], ("system", "dataset", "source"), ANSWERS
)
_MT_BENCH = LabelSet(mt_bench, [(name,) for name in TURNS], ("category", "reference"), PROMPTS)
SETS: dict[str, LabelSet] = {
    "alpaca": LabelSet(alpaca, [("instruction", "output")], ("input",), ANSWERS),
    "alpaca-eval": LabelSet(alpaca_eval, [("instruction",)], ("dataset",), PROMPTS),
    "arena-hard": LabelSet(arena_hard, [("prompt",)], ("category",), PROMPTS),
    "daring-anteater": _CONVERSATION,
    "dolly": LabelSet(dolly, [("instruction", "response")], ("context", "category"), ANSWERS),
    "helpsteer2": LabelSet(helpsteer2, [("prompt", "response", *QUALITIES)], (), ANSWERS + SCORES),
    "helpsteer3": LabelSet(
        helpsteer3,
        [("context", "response1", "response2", "overall_preference")],
        ("individual_preference", "domain"),
        ANSWERS + SCORES,
    ),
    "hh-rlhf": LabelSet(hh_rlhf, [("chosen", "rejected")], (), ANSWERS + SCORES),
    "ifeval": LabelSet(ifeval, [("prompt", "instruction_id_list", "kwargs")], ("key",), PROMPTS),
    "lima": LabelSet(lima, [("conversations",)], ("source",), ANSWERS + PROMPTS),
    "mt-bench": _MT_BENCH,
    "mt-bench-turn-1": _MT_BENCH._replace(read=mt_bench_turn_1),
    "openassistant": LabelSet(
        openassistant,
        [("message_id", "role", "text"), ("message_tree_id", "prompt")],
        ("parent_id", "lang", "rank", "deleted", "review_result"),
        ANSWERS + SCORES,
    ),
    "rewardbench": LabelSet(rewardbench, [("prompt", "chosen", "rejected")], ("subset",), SCORES),
    "rewardbench2": LabelSet(rewardbench2, [("prompt", "chosen", "rejected")], ("subset",), SCORES),
    "self-instruct": LabelSet(self_instruct, [("instruction", "instances")], (), ANSWERS),
    "sharegpt": _CONVERSATION,
    "ultrafeedback": LabelSet(ultrafeedback, [("instruction", "completions")], ("source",), ANSWERS + SCORES),
}
_PREFIX = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?=.)")


def split_set(source: str) -> tuple[str | None, str]:
    """Name of the label set, or None, and the source without it."""
    found = _PREFIX.match(source)
    if found and found[1] in SETS:
        return found[1], source[found.end() :]
    return None, source


def sets_for(key: str) -> list[str]:
    """Names of the label sets that can serve a config key."""
    return sorted(name for name, label_set in SETS.items() if purpose_of(key) in label_set.purposes)


def read_set(name: str, source: str, key: str, problems: list[str], count: SourceCount) -> list[Row]:
    """Rows that a label set gives to a config key, with the columns of a file of one's own.

    Args:
        name: of `SETS`.
        source: a path, or `hub:OWNER/NAME@REVISION[:SPLIT]`, as `alma.seed_formats.read_rows`.
        key: one with a purpose (`purpose_of`). Scores are on 0-10.
        problems: where faults of the file are added. A row that cannot be used is none.
        count: where the rows of the file, and what was left out of them, are counted.
    """
    label_set = SETS[name]
    columns = {column for choice in label_set.needed for column in choice} | {*label_set.optional}
    before = len(problems)
    rows: list[Row] = []
    found = read_rows(source, columns, problems, label_set.needed)
    count.rows = len(found)
    take = PURPOSES[purpose_of(key)]
    for item in label_set.read(found):
        for taken in [item] if isinstance(item, Dropped) else take(item):
            if isinstance(taken, Dropped):
                count.left_out[taken.reason] += 1
            else:
                rows.append(taken)
    if not rows and len(problems) == before:
        reasons = "; ".join(f"{number}: {reason}" for reason, number in count.left_out.most_common(3))
        problems.append(f"{source}: found no row of {name} that {key} can take ({reasons})")
    return rows
