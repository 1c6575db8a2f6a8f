"""IFEval (arXiv 2311.07911): prompts with instructions that lm-eval's programs check."""

from collections.abc import Iterable
from typing import Any

from alma.label_sets.item import Dropped, Item, Read, asked
from alma.seed_formats import Row

NO_INSTRUCTIONS = "no list of instructions with the arguments of each"


def instructions(values: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]] | None:
    """Ids of a row's instructions and the arguments of each; None where it has none that belong together."""
    ids, arguments = values.get("instruction_id_list"), values.get("kwargs")
    if not isinstance(ids, list) or not isinstance(arguments, list) or not ids or len(ids) != len(arguments):
        return None
    if not all(isinstance(name, str) for name in ids) or not all(isinstance(a, dict) for a in arguments):
        return None
    return ids, arguments


def ifeval(rows: Iterable[Row]) -> Read:
    """key, prompt, instruction_id_list (list of texts), kwargs (list of objects, one per instruction)."""
    for where, values, _ in rows:
        if instructions(values) is None:
            yield Dropped(where, NO_INSTRUCTIONS)
        else:
            yield Item(where, asked(values.get("prompt")), [])
