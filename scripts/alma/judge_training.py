"""Scored responses as the conversations that a judge is trained on."""

from typing import Any

from alma.judging import judge_answer, judge_messages
from alma.tables import assistant


def judge_conversations(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of prompt, response and score (0-10) as rows of `prompt` and `completion` messages.

    Annotators who disagree give several conversations with one prompt; trained on all of them, the
    judge's expected rating tends to their mean.
    """
    return [
        {
            "prompt": judge_messages(row["prompt"], row["response"]),
            "completion": assistant(judge_answer(row["score"])),
        }
        for row in rows
    ]
