"""Sets that say which response is better, and not how good it is: HH-RLHF, RewardBench, RewardBench 2."""

import re
from collections.abc import Iterable
from itertools import takewhile

from alma.label_sets.item import Dropped, Item, Messages, Read, asked, ends, with_instances
from alma.seed_formats import Row

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_TURN = re.compile(r"\n\n(Human|Assistant):")


def _transcript(text: str) -> Messages | None:
    """Turns of "\\n\\nHuman: ...\\n\\nAssistant: ..."; None where they do not alternate up to the user's."""
    before, *rest = _TURN.split(text)
    names = rest[::2]
    alternate = names == [("Human", "Assistant")[i % 2] for i in range(len(names))]
    if before.strip() or not alternate or len(names) % 2 == 0:
        return None
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[name], "content": said.strip()} for name, said in zip(names, rest[1::2], strict=True)
    ]


def hh_rlhf(rows: Iterable[Row]) -> Read:
    """chosen, rejected: two transcripts that begin alike; the prompt is what they share.

    It ends before the last assistant turn that begins in the shared part.
    """
    for where, values, _ in rows:
        chosen, rejected = values.get("chosen"), values.get("rejected")
        if not isinstance(chosen, str) or not isinstance(rejected, str):
            yield Dropped(where, "chosen or rejected is no text")
            continue
        shared = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(chosen, rejected, strict=False)))
        cut = chosen.rfind(_ASSISTANT, 0, shared)
        turns = _transcript(chosen[:cut]) if cut >= 0 else None
        answers = [text[cut + len(_ASSISTANT) :] for text in (chosen, rejected)]
        if turns is None:
            yield Dropped(where, "no shared prompt of alternating turns")
        elif any(_HUMAN in answer or _ASSISTANT in answer for answer in answers):
            yield Dropped(where, "the two differ over several turns")
        else:
            better, worse = (answer.strip() for answer in answers)
            yield Item(where, turns, [*ends([better], 10.0), *ends([worse], 0.0)])


def rewardbench(rows: Iterable[Row]) -> Read:
    """prompt, chosen, rejected, subset."""
    for where, values, _ in rows:
        answers = [*ends([values.get("chosen")], 10.0), *ends([values.get("rejected")], 0.0)]
        yield Item(where, asked(values.get("prompt")), answers, values.get("subset"))


def rewardbench2(rows: Iterable[Row]) -> Read:
    """prompt, chosen (list of one), rejected (list of three), subset.

    The subset Ties, where several answers are right and must score alike, says nothing pair by pair.
    """
    for row, chosen in with_instances(rows, "chosen"):
        rejected = row.values.get("rejected")
        if row.values.get("subset") == "Ties":
            yield Dropped(row.where, "subset Ties, which is not measured by pairs")
        elif not chosen or not isinstance(rejected, list) or not rejected:
            yield Dropped(row.where, "no list of chosen and of rejected answers")
        else:
            answers = [*ends(chosen, 10.0), *ends(rejected, 0.0)]
            yield Item(row.where, asked(row.values.get("prompt")), answers, row.values.get("subset"))
