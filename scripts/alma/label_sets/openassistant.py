"""OpenAssistant's trees of messages (oasst1, oasst2), as trees or as the flat list of messages on the hub."""

from collections.abc import Iterable, Iterator
from typing import Any

from alma.label_sets.item import Answer, Dropped, Item, Messages, Read
from alma.seed_formats import Row

ROLES = {"prompter": "user", "assistant": "assistant"}
Node = dict[str, Any]


def _name(value: Any) -> str:
    """An id or a role as a key; in a damaged row it may be anything."""
    return value if isinstance(value, str) else ""


def _replies(node: Node) -> list[Node]:
    found = node.get("replies")
    return [reply for reply in found if isinstance(reply, dict)] if isinstance(found, list) else []


def _roots(rows: list[Row]) -> list[tuple[str, Node]]:
    """(place, root) of every tree; the replies of a message are in `replies`, as in the files of trees."""
    roots: list[tuple[str, Node]] = []
    flat: dict[str, tuple[str, Node]] = {}
    for where, values, _ in rows:
        if isinstance(values.get("prompt"), dict):
            roots.append((where, values["prompt"]))
        elif _name(values.get("message_id")):
            flat[values["message_id"]] = (where, {**values, "replies": []})
        else:
            roots.append((where, {"role": None}))  # no reply can name it
    for where, node in flat.values():
        parent = flat.get(_name(node.get("parent_id")))
        if parent is not None:
            parent[1]["replies"].append(node)
        elif node.get("parent_id") is None:
            roots.append((where, node))
        else:
            roots.append((where, {"role": None}))  # its parent is in another split or part
    return roots


def _is_kept(node: Node) -> bool:
    """Whether a message was neither deleted nor rejected by the reviewers."""
    return not node.get("deleted") and node.get("review_result") is not False


def _answers(node: Node) -> list[Answer]:
    """The replies to a message with a score by their rank among those that are ranked: 10 is the best.

    A reply that is not ranked has no score; where it is the only one, no rank is needed to choose it.
    """
    replies = [reply for reply in _replies(node) if _is_kept(reply)]
    ranked = [reply for reply in replies if isinstance(reply.get("rank"), int | float)]
    ranked.sort(key=lambda reply: reply["rank"])
    if len(ranked) < 2:
        return [Answer(reply.get("text")) for reply in (ranked or replies[:1])]
    return [Answer(r.get("text"), (10 * (1 - i / (len(ranked) - 1)),)) for i, r in enumerate(ranked)]


def _walk(where: str, root: Node) -> Iterator[Item | Dropped]:
    """One item per message of a prompter that was answered, with the turns before it."""
    waiting: list[tuple[Node, Messages]] = [(root, [])]
    while waiting:
        node, before = waiting.pop()
        role = ROLES.get(_name(node.get("role")))
        if role is None:
            yield Dropped(where, "a message without its tree")
            continue
        if not _is_kept(node):
            yield Dropped(where, "deleted or rejected in review, with all replies")
            continue
        turns = [*before, {"role": role, "content": node.get("text")}]
        waiting += [(reply, turns) for reply in reversed(_replies(node))]
        if role == "user":
            answers = _answers(node)
            if answers:
                yield Item(where, turns, answers, root.get("lang"))
            else:
                yield Dropped(where, "a message without an answer")


def openassistant(rows: Iterable[Row]) -> Read:
    """message_id, parent_id, role, text, lang, rank, deleted, review_result; or trees of them in prompt."""
    for where, root in _roots(list(rows)):
        yield from _walk(where, root)
