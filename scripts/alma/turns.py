"""Evaluation prompts that are a conversation: several user turns, or turns of both before the last question.

A conversation is a list of messages that ends with the user's. Where a user message follows another, the
model that is evaluated answers in between, so that it sees its own earlier answers. A prompt of one user
message is none: it stands in seeds/eval.parquet alone, and its tables are what they were without this module.

    seeds/eval.parquet           the conversation as text (`transcript`), in the column `prompt`
    seeds/eval_turns.parquet     its messages, one row per conversation
    evaluation/responses/...     the last answer, and in `messages` all that stood before it
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alma.tables import MESSAGES, SCHEMAS, assistant, read_table, user, write_table

Messages = list[dict[str, str]]
Row = dict[str, Any]

# Here and not in `alma.tables`, which is in the hash of every job: what has no turns stays as it is.
SCHEMAS["turns"] = pa.schema([("prompt_id", pa.string()), ("messages", MESSAGES)])
# `evaluation_response` with the conversation before the response, null for a prompt of one message.
SCHEMAS["evaluation_turns"] = pa.schema([*SCHEMAS["evaluation_response"], ("messages", MESSAGES)])


def transcript(messages: Messages) -> str:
    """A conversation as text, for those who read a prompt as one text; of one user message the message."""
    if [message["role"] for message in messages] == ["user"]:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


def opening(messages: Messages) -> tuple[Messages, Messages]:
    """The messages up to the first that the model answers itself, and those after its answer."""
    for i in range(1, len(messages)):
        if messages[i - 1]["role"] == messages[i]["role"] == "user":
            return messages[:i], messages[i:]
    return messages, []


def answered(messages: Messages, answer: str = "") -> tuple[Messages, int]:
    """A conversation with the same answer wherever the model answers itself, and the number of these."""
    found, rest = opening(messages)
    count = 0
    while rest:
        more, rest = opening(rest)
        found = [*found, *assistant(answer), *more]
        count += 1
    return found, count


def parted(mine: Messages, theirs: Messages) -> tuple[Messages, Messages, Messages]:
    """What two conversations share at their beginning, and how each of them went on."""
    same = 0
    while same < min(len(mine), len(theirs)) and mine[same] == theirs[same]:
        same += 1
    return mine[:same], mine[same:], theirs[same:]


def read_turns(path: str | Path) -> dict[str, Messages]:
    """Messages of the evaluation prompts that are conversations, by prompt_id."""
    return {row["prompt_id"]: row["messages"] for row in read_table(path, "turns")}


def messages_of(row: Row, turns: dict[str, Messages]) -> Messages:
    """What a row of the `eval` table asks, as messages."""
    return turns.get(row["prompt_id"]) or user(row["prompt"])


def write_responses(path: str | Path, rows: list[Row]) -> None:
    """Write responses, each with the `messages` before it; the column is left out where no row has any."""
    if any(row["messages"] for row in rows):
        write_table(path, "evaluation_turns", rows)
    else:
        without = [{name: value for name, value in row.items() if name != "messages"} for row in rows]
        write_table(path, "evaluation_response", without)


def read_responses(path: str | Path) -> list[Row]:
    """Rows of a table of `write_responses`; `messages` is None for a prompt of one message.

    Raises:
        InputError: the file is damaged or has another schema.
    """
    try:
        kind = "evaluation_turns" if "messages" in pq.read_schema(path).names else "evaluation_response"
    except (OSError, pa.ArrowException):
        kind = "evaluation_response"  # its reader says what is wrong with the file
    return [{"messages": None} | row for row in read_table(path, kind)]
