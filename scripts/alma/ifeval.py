"""IFEval's documents, and what lm-eval's checkers say of responses to them."""

from typing import Any

from alma.errors import fail_with
from alma.ids import content_id, hashed_int
from alma.label_sets.ifeval import instructions
from alma.lm_eval import ask
from alma.seed_formats import read_rows
from alma.seed_rows import text_fault

COLUMNS = {"key", "prompt", "instruction_id_list", "kwargs"}
LEVELS = ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose")
Followed = dict[str, list[bool]]  # {strict, loose: one value per instruction}


def documents(name: str, source: str) -> dict[str, dict[str, Any]]:
    """{prompt_id: document, as lm-eval's checkers take it}; rows that cannot be used are left out.

    Args:
        name: of the benchmark. source: a path, or `hub:OWNER/NAME@REVISION[:SPLIT]`.

    Raises:
        InputError: the source cannot be read, or has other columns.
    """
    problems: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    for where, values, _ in read_rows(source, COLUMNS, problems, [tuple(sorted(COLUMNS - {"key"}))]):
        known = instructions(values)
        if known is None or text_fault(values.get("prompt")):
            continue
        doc = {"key": values.get("key", where), "prompt": values["prompt"]}
        doc |= {"instruction_id_list": known[0], "kwargs": known[1]}
        found.setdefault(content_id("prompt", values["prompt"]), doc)
    fail_with(problems, f"evaluation.benchmarks.{name} cannot be used; nothing was written:")
    return found


def graded(rows: list[tuple[str, dict[str, Any], str]], seed: int) -> tuple[list[Followed], dict[str, str]]:
    """Which instructions each response follows, and the versions of the packages that say so.

    Args:
        rows: prompt_id, document and response.
        seed: what an argument that a document lacks is filled with hangs on it and on the prompt alone.

    Raises:
        InputError: see `alma.lm_eval.ask`.
    """
    responses = [
        {"doc": doc, "response": response, "seed": hashed_int("ifeval", seed, prompt_id)}
        for prompt_id, doc, response in rows
    ]
    answer = ask("ifeval", {"responses": responses})
    followed = [
        {kind: found[f"inst_level_{kind}_acc"] for kind in ("strict", "loose")} for found in answer["graded"]
    ]
    return followed, answer["versions"]
