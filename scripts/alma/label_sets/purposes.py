"""What the workflow takes of an item of a label set: an SFT pair, labels for the judge, pairs, a prompt.

The rows have the columns that a file of one's own has (`read_seeds`). What cannot be taken is left out with
a reason, and never a fault of the file: public sets have blank answers and other rows that nobody will mend.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from statistics import fmean

from alma.label_sets.item import Answer, Dropped, Item
from alma.seed_formats import Row
from alma.seed_rows import asked_fault, check_messages, text_fault

Taken = Iterator[Row | Dropped]

NOT_BEST = "an answer that is not the best one"
NO_SCORE = "an answer without a score"
NO_PAIR = "no two answers with different scores"
SAME_TEXT = "two answers with the same text"
NO_ANSWER = "no answer"
UNORDERED = "turns that do not alternate between user and assistant"


def _fault(item: Item, answers: list[Answer]) -> str | None:
    """Why the texts or the turns of an item cannot be taken with some answers; None if they can."""
    fault = _text_fault(item, answers)
    turns = [*item.prompt, {"role": "assistant", "content": "-"}]
    return fault or (UNORDERED if check_messages(turns) else None)


def _text_fault(item: Item, answers: list[Answer]) -> str | None:
    """Why the texts of an item cannot be taken; None if they can."""
    for text in [*(turn.get("content") for turn in item.prompt), *(answer.text for answer in answers)]:
        fault = text_fault(text)
        if fault:
            return f"a prompt or an answer that is not {fault}"
    return None


def _score(answer: Answer) -> float:
    return fmean(answer.scores) if answer.scores else -1.0


def sft(item: Item) -> Taken:
    """The prompt with its best answer, the first of equally good ones."""
    if not item.answers:
        yield Dropped(item.where, NO_ANSWER)
        return
    best = max(item.answers, key=_score)
    fault = _fault(item, [best])
    if fault:
        yield Dropped(item.where, fault)
        return
    turns = [*item.prompt, {"role": "assistant", "content": best.text}]
    yield Row(item.where, {"messages": turns, "category": item.category})
    for _ in item.answers[1:]:
        yield Dropped(item.where, NOT_BEST)


def judge(item: Item) -> Taken:
    """One label per answer and annotator."""
    for answer in item.answers:
        fault = _fault(item, [answer])
        if fault or not answer.scores:
            yield Dropped(item.where, fault or NO_SCORE)
            continue
        for score in answer.scores:
            values = {"messages": item.prompt, "response": answer.text, "score": score}
            yield Row(item.where, values)


def pairs(item: Item) -> Taken:
    """Every two answers whose scores differ, the better one as chosen."""
    rated = [answer for answer in item.answers if answer.scores]
    fault = _fault(item, rated)
    differ = [two for two in combinations(rated, 2) if _score(two[0]) != _score(two[1])]
    if fault or not differ:
        yield Dropped(item.where, fault or NO_PAIR)
        return
    for two in differ:
        worse, better = sorted(two, key=_score)
        if worse.text == better.text:
            yield Dropped(item.where, SAME_TEXT)
        else:
            values = {"messages": item.prompt, "chosen": better.text, "rejected": worse.text}
            yield Row(item.where, values)


def prompts(item: Item) -> Taken:
    """The prompt to be answered; its first answer is the reference, where a set has right answers."""
    shown = item.answers[:1]
    fault = _text_fault(item, shown) or (UNORDERED if asked_fault(item.prompt) else None)
    if fault:
        yield Dropped(item.where, fault)
        return
    category = None if text_fault(item.category) else item.category
    values = {"category": category, "reference": shown[0].text if shown else None}
    yield Row(item.where, {"messages": item.prompt} | {k: v for k, v in values.items() if v is not None})


PURPOSES: dict[str, Callable[[Item], Taken]] = {
    "labels.sft": sft,
    "labels.judge": judge,
    "judge.benchmark": pairs,
    "evaluation.benchmarks": prompts,
}


def purpose_of(key: str) -> str:
    """Which of `PURPOSES` a config key has; "" where no label set can stand.

    A benchmark's key ends with its name, as in evaluation.benchmarks.mine.
    """
    return next((purpose for purpose in PURPOSES if key == purpose or key.startswith(f"{purpose}.")), "")
