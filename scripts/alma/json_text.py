"""Parse JSON that strangers wrote."""

import json
from typing import Any

# Real data has a handful of levels; far more is made to exhaust the stack of whatever walks over it.
MAX_DEPTH = 100


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; which of two values of one key is meant, nobody can know."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:60]!r} stands twice")
    return made


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, has more than `MAX_DEPTH` levels, or an object holds a key twice.
    """
    too_deep = f"more than {MAX_DEPTH} nested brackets"
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [node for node in level if isinstance(node, dict | list)]
        if not level:
            return value
        level = [v for node in level for v in (node.values() if isinstance(node, dict) else node)]
    raise ValueError(too_deep)
