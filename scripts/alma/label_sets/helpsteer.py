"""NVIDIA's HelpSteer sets: attribute ratings (HelpSteer, HelpSteer2) and preferences (HelpSteer3)."""

import re
from collections.abc import Iterable
from typing import Any

from alma.label_sets.item import Answer, Dropped, Item, Messages, Read, scaled
from alma.seed_formats import Row

# The attributes that say how good a response is; complexity and verbosity say what it is like.
QUALITIES = ("helpfulness", "correctness", "coherence")
_TURN = re.compile(r"\n*<extra_id_1>(User|Assistant)\n")


def split_turns(prompt: Any) -> Messages | None:
    """Turns of a prompt in which "<extra_id_1>Assistant" and "<extra_id_1>User" begin the later ones.

    None where the turns do not alternate or the last is not the user's.
    """
    if not isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    first, *rest = _TURN.split(prompt)
    turns = [{"role": "user", "content": first}]
    turns += [{"role": r.lower(), "content": t} for r, t in zip(rest[::2], rest[1::2], strict=True)]
    order = ["user", "assistant"] * (len(turns) // 2 + 1)
    return turns if [turn["role"] for turn in turns] == order[: len(turns)] and len(turns) % 2 else None


def _scores(values: dict[str, Any]) -> tuple[float, ...]:
    """One score per annotator: 2.5 times the mean of `QUALITIES` (0-4); none where one is missing.

    A list holds the ratings of several annotators, as in the set's file of disagreements.
    """
    columns = [values.get(name) for name in QUALITIES]
    lists = [column if isinstance(column, list) else [column] for column in columns]
    if len({len(column) for column in lists}) != 1:
        return ()
    found = [[scaled(rating, 0, 4) for rating in ratings] for ratings in zip(*lists, strict=True)]
    rated = [[score for score in scores if score is not None] for scores in found]
    return tuple(sum(scores) / len(scores) for scores in rated if len(scores) == len(QUALITIES))


def helpsteer2(rows: Iterable[Row]) -> Read:
    """prompt, response, and helpfulness, correctness, coherence (each 0-4, or a list of annotators' ratings).

    The responses to one prompt stand in rows of their own, one after the other.
    """
    prompts: dict[str, tuple[str, Any, list[Answer]]] = {}
    for where, values, _ in rows:
        scores = _scores(values)
        if not scores:
            yield Dropped(where, "no rating from 0 to 4 of helpfulness, correctness and coherence")
            continue
        prompt = values.get("prompt")
        own = prompts.setdefault(prompt if isinstance(prompt, str) else repr(prompt), (where, prompt, []))
        own[2].append(Answer(values.get("response"), scores))
    for where, prompt, answers in prompts.values():
        turns = split_turns(prompt)
        yield Dropped(where, "turns that do not alternate") if turns is None else Item(where, turns, answers)


def helpsteer3(rows: Iterable[Row]) -> Read:
    """context (messages), response1, response2, overall_preference (-3 .. 3), individual_preference, domain.

    A preference of -3 gives response 1 the score 10 and response 2 the score 0, one of 3 the reverse, 0 gives
    5 to both; linear between. Every annotator of individual_preference (list of {score, ...}) gives a score;
    where the list is missing overall_preference does.
    """
    for where, values, _ in rows:
        given = values.get("individual_preference")
        given = [p.get("score") for p in given if isinstance(p, dict)] if isinstance(given, list) else []
        second = [
            s for p in given or [values.get("overall_preference")] if (s := scaled(p, -3, 3)) is not None
        ]
        context = values.get("context")
        if not second:
            yield Dropped(where, "no preference from -3 to 3")
        elif not isinstance(context, list) or not all(isinstance(turn, dict) for turn in context):
            yield Dropped(where, "no context")
        else:
            answers = [
                Answer(values.get("response1"), tuple(10 - score for score in second)),
                Answer(values.get("response2"), tuple(second)),
            ]
            yield Item(where, context, answers, values.get("domain"))
