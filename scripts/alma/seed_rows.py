"""One row of a seed file: its texts, score, conversation and checks, or what is wrong with them.

Each function takes a row of `alma.seed_formats` and a list of problems. It returns what the row says, or
None after it has added a line that names file, row and column, what was found and what is expected.
"""

import contextlib
import json
import math
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

from alma.checks import validate_checks
from alma.errors import NOTHING, problem
from alma.json_text import parse_json
from alma.seed_formats import Row
from alma.tables import assistant, user

Problems = list[str]
Messages = list[dict[str, str]]

# More than any context holds: such a text would only be tokenized for long, then left out.
MAX_TEXT = 1_000_000

# A number in a CSV cell; Python alone reads "1_0", "nan" and digits of other scripts as numbers.
_NUMBER = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)? *", re.ASCII | re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")


# values


def text_fault(value: Any) -> str | None:
    """What is expected instead of `value` where a text is wanted; None if it is fine."""
    if not isinstance(value, str):
        return "text"
    if not value.strip():
        return "text that is not blank"
    if len(value) > MAX_TEXT:
        return f"text of at most {MAX_TEXT:,} characters"
    if "\0" in value:
        return "text without NUL characters"
    if _SURROGATE.search(value):
        return "text without halves of surrogate pairs (it cannot be written as UTF-8)"
    return None


def take_text(row: Row, column: str, problems: Problems) -> str | None:
    """The text in a column; None, and a problem, where there is none that can be used."""
    where, values, _ = row
    if column not in values:
        problems.append(problem(where, column, NOTHING, "text"))
        return None
    fault = text_fault(values[column])
    if fault:
        problems.append(problem(where, column, values[column], fault))
        return None
    return values[column]


def take_optional(row: Row, column: str, problems: Problems) -> str | None:
    """The text in a column that may be absent or blank; a problem where it is anything but text."""
    value = row.values.get(column, "")
    return None if isinstance(value, str) and not value.strip() else take_text(row, column, problems)


def take_score(row: Row, scale: list[float], problems: Problems, key: str = "judge.scale") -> float | None:
    """The score of a row on 0-10; `scale` is what the file uses, `key` what says so."""
    low, high = scale
    expected = f"a number from {low:g} to {high:g} ({key})"
    value = row.values.get("score", NOTHING)
    number = math.nan
    as_text = row.text_only and isinstance(value, str) and _NUMBER.fullmatch(value)
    if as_text or (isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not low <= number <= high:  # false for NaN
        problems.append(problem(row.where, "score", value, expected))
        return None
    return min((number - low) * 10 / (high - low), 10.0)  # rounding may end a hair above


def _contents_fault(value: Any) -> str | None:
    """What is expected instead of `value` where a list of messages is wanted, of any roles."""
    if not isinstance(value, list) or not value:
        return "a list of messages"
    for i, message in enumerate(value):
        if not isinstance(message, dict) or not {"role", "content"} <= set(message):
            return f"a role and a content in message {i + 1}"
        fault = text_fault(message["content"])
        if fault:
            return f"{fault} in message {i + 1}"
    return None


def check_messages(value: Any) -> str | None:
    """What is expected instead of `value` where a list of messages is wanted; None if it is fine."""
    fault = _contents_fault(value)
    if fault:
        return fault
    roles = [message["role"] for message in value]
    turns = roles[1:] if roles[0] == "system" else roles
    if turns != [("user", "assistant")[i % 2] for i in range(len(turns))] or not turns:
        shown = ", ".join(map(str, roles[:8]))
        return f"the roles user, assistant, user, ... after at most one system message, not {shown}"
    return None


def asked_fault(value: Any) -> str | None:
    """What is expected instead of `value` where a prompt of messages is wanted; None if it is fine.

    It ends with the user's. Where the model itself answers between two user messages, one follows the other.
    """
    fault = _contents_fault(value)
    if fault:
        return fault
    roles = [message["role"] for message in value]
    turns = roles[1:] if roles[0] == "system" else roles
    named = all(role in ("user", "assistant") for role in turns)
    twice = any(a == b == "assistant" for a, b in pairwise(turns))
    if not named or twice or not turns or turns[0] != "user" or turns[-1] != "user":
        shown = ", ".join(map(str, roles[:8]))
        return f"the roles user, assistant, .., user after at most one system message, not {shown}"
    return None


def only_text(messages: list[dict[str, Any]]) -> Messages:
    """Messages without any key besides role and content."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def prompt_key(messages: Messages) -> str:
    """The text that a prompt's id is taken over: of a single user turn the text itself."""
    if len(messages) == 1:
        return messages[0]["content"]
    turns = [[message["role"], message["content"]] for message in messages]
    return json.dumps(turns, ensure_ascii=False)


# conversations and checks


def _loads(value: Any) -> Any:
    """Parsed JSON where a cell holds a list as text (CSV, some Parquet files), else the value."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value


def _conversation(row: Row, problems: Problems) -> tuple[Messages, Messages] | None:
    where, values, _ = row
    messages = _loads(values["messages"])
    fault = check_messages(messages)
    if fault is None and messages[-1]["role"] != "assistant":
        fault = "messages that end with the assistant's"
    if fault:
        problems.append(problem(where, "messages", values["messages"], fault))
        return None
    return only_text(messages[:-1]), only_text(messages[-1:])


def _prompt_completion(row: Row, answer: str, problems: Problems) -> tuple[Messages, Messages] | None:
    """Prompt and completion, each a text or a list of messages."""
    where, values, _ = row
    parts: dict[str, Messages] = {}
    for column, one_turn in (("prompt", user), (answer, assistant)):
        value = values.get(column)
        if isinstance(value, list):
            # Faults of the order are found below, in the whole conversation.
            parts[column] = value
        else:
            text = take_text(row, column, problems)
            if text is not None:
                parts[column] = one_turn(text)
    if len(parts) < 2:
        return None
    whole = parts["prompt"] + parts[answer]
    fault = check_messages(whole)
    if fault is None and whole[-1]["role"] != "assistant":
        fault = "messages that end with the assistant's"
    if fault is None and len(parts[answer]) != 1:
        fault = "a completion of one message"
    if fault:
        problems.append(problem(where, f"prompt and {answer}", whole, fault))
        return None
    return only_text(parts["prompt"]), only_text(parts[answer])


def _instruction(row: Row, problems: Problems) -> tuple[Messages, Messages] | None:
    instruction = take_text(row, "instruction", problems)
    output = take_text(row, "output", problems)
    before = len(problems)
    extra = take_optional(row, "input", problems)
    if instruction is None or output is None or len(problems) > before:
        return None
    return user(instruction if extra is None else f"{instruction}\n\n{extra}"), assistant(output)


def sft_pair(row: Row, problems: Problems) -> tuple[Messages, Messages] | None:
    """Prompt and completion of one SFT row, in any of its formats."""
    where, values, _ = row
    if "messages" in values:
        return _conversation(row, problems)
    answers = [column for column in ("response", "completion") if column in values]
    if len(answers) == 2 and values["response"] != values["completion"]:
        expected = "either response or completion, or equal ones"
        problems.append(problem(where, "completion", values["completion"], expected))
        return None
    if "prompt" in values or answers:
        return _prompt_completion(row, answers[0] if answers else "response", problems)
    if "instruction" in values or "output" in values:
        return _instruction(row, problems)
    expected = "messages, or prompt and response or completion, or instruction and output"
    problems.append(problem(where, "columns", sorted(values), expected))
    return None


def take_asked(row: Row, problems: Problems, *, rated: bool = False) -> Messages | None:
    """What an evaluation row, or one with an answer of its own, asks: its `prompt`, or else its `messages`.

    Args:
        rated: the row has an answer, so every earlier turn of the user must have one too.
    """
    where, values, _ = row
    if "prompt" in values or "messages" not in values:
        text = take_text(row, "prompt", problems)
        return None if text is None else user(text)
    messages = _loads(values["messages"])
    fault = asked_fault(messages)
    if fault is None and rated:
        fault = check_messages([*messages, *assistant("-")])
    if fault:
        problems.append(problem(where, "messages", values["messages"], fault))
        return None
    return only_text(messages)


def take_checks(row: Row, problems: Problems) -> str | None:
    """The checks of an evaluation row as canonical JSON text."""
    where, values, _ = row
    given = values.get("checks", [])
    checks = _loads(given)
    if isinstance(checks, list):
        # A table's column of structs gives every check the keys of all checks, most of them null.
        checks = [
            {k: v for k, v in check.items() if v is not None} if isinstance(check, dict) else check
            for check in checks
        ]
    faults = validate_checks(checks)
    text = json.dumps(checks, sort_keys=True, ensure_ascii=False, default=str)
    if not faults and (text_fault(text) or "\\u0000" in text):
        faults = [f"{text_fault(text) or 'text without NUL characters'}"]
    if faults:
        expected = f"a list of checks ({'; '.join(faults)})"
        problems.append(problem(where, "checks", given, expected))
        return None
    return text
