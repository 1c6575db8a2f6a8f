"""Sets of conversations whose messages are {from, value}: ShareGPT and those written in its form."""

from collections.abc import Iterable
from typing import Any

from alma.label_sets.item import Answer, Dropped, Item, Messages, Read, is_blank
from alma.seed_formats import Row

COLUMNS = ("conversations", "conversation", "items")
ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "claude", "model"), "assistant"),
    "system": "system",
}
UNKNOWN_ROLE = "a role that is neither user, assistant nor system"
UNORDERED = "turns that do not alternate between user and assistant"


def _turns(found: Any) -> Messages | None:
    """Messages of a {from, value} conversation; None where one has another role or form."""
    turns = []
    for message in found if isinstance(found, list) else []:
        if not isinstance(message, dict):
            return None
        name = message.get("from", message.get("role"))
        role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
        if role is None:
            return None
        turns.append({"role": role, "content": message.get("value", message.get("content"))})
    return turns


def sharegpt(rows: Iterable[Row]) -> Read:
    """conversations (list of {from, value}); optional system (text), dataset or source (text).

    What stands before the first user turn and after the last answer is cut off: exports begin in the middle
    of a conversation, and end with an unanswered question.
    """
    for where, values, _ in rows:
        turns = _turns(next((values[name] for name in COLUMNS if name in values), None))
        if turns is None:
            yield Dropped(where, UNKNOWN_ROLE)
            continue
        system = [turn for turn in turns if turn["role"] == "system" and not is_blank(turn["content"])]
        spoken = [turn for turn in turns if turn["role"] != "system"]
        if not system and not is_blank(values.get("system")):
            system = [{"role": "system", "content": values["system"]}]
        if len(system) > 1:
            yield Dropped(where, "several system messages")
            continue
        while spoken and spoken[0]["role"] == "assistant":
            spoken = spoken[1:]
        while spoken and spoken[-1]["role"] == "user":
            spoken = spoken[:-1]
        if not spoken:
            yield Dropped(where, "no question with an answer")
        elif any(turn["role"] != ("user", "assistant")[i % 2] for i, turn in enumerate(spoken)):
            yield Dropped(where, UNORDERED)
        else:
            answer = Answer(spoken[-1]["content"])
            yield Item(where, system + spoken[:-1], [answer], values.get("dataset", values.get("source")))
