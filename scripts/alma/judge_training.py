"""Scored responses as the conversations that a judge is trained on."""

from typing import Any

from alma.ids import hashed_int
from alma.judging import judge_answer, judge_messages
from alma.tables import assistant


def judge_conversations(rows: list[dict[str, Any]], seed: list[Any]) -> list[dict[str, Any]]:
    """Rows of prompt, response and score (0-10) as rows of `prompt` and `completion` messages.

    The responses to one prompt stand side by side, prompts and responses in a seeded order, and are
    trained on in this order: a step then holds good and bad responses to the same prompt, so that
    what differs in its gradient is their quality, and their shared beginning is computed once.
    Annotators who disagree give several conversations with one prompt; trained on all of them, the
    judge's expected rating tends to their mean.
    """

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        keys = row["prompt"], row["response"]
        return hashed_int(*seed, keys[0]), keys[0], hashed_int(*seed, *keys), keys[1], row["score"]

    return [
        {
            "prompt": judge_messages(row["prompt"], row["response"]),
            "completion": assistant(judge_answer(row["score"])),
        }
        for row in sorted(rows, key=place)
    ]
