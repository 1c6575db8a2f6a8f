"""Grade responses with lm-eval's checkers of IFEval: `python ifeval.py QUESTION.json ANSWER.json`.

Question: {"responses": [{"doc": {key, prompt, instruction_id_list, kwargs}, "response": text, "seed": int}]}.
Answer: {"answer": {"graded": [{prompt_level_strict_acc: bool, inst_level_strict_acc: [bool], both loose}],
"versions": {package: version}}}, or {"problem": text}.
"""

import json
import random
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

NEEDS = ("lm_eval", "langdetect", "nltk")
_PUNKT = "tokenizers/punkt_tab/english"


def problem_of_place() -> str | None:
    """What is missing on this machine; None if nothing is. Nothing is downloaded."""
    import nltk

    try:
        nltk.data.find(_PUNKT)
    except LookupError:
        return (
            f"IFEval: found no {_PUNKT} in NLTK's data, by which sentences are counted. On a machine with "
            f"network: {sys.executable} -m nltk.downloader -d FOLDER punkt_tab; then set NLTK_DATA=FOLDER "
            f"(docs/knowledge.md)"
        )
    return None


def main(responses: list[dict[str, Any]]) -> dict[str, Any]:
    """Grade each response; see the module's docstring."""
    missing = problem_of_place()
    if missing:
        return {"problem": missing}
    from langdetect import DetectorFactory
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT
    from lm_eval.tasks.ifeval.utils import process_results

    unknown = sorted({i for r in responses for i in r["doc"]["instruction_id_list"]} - set(INSTRUCTION_DICT))
    if unknown:
        return {
            "problem": f"IFEval: found the instructions {', '.join(unknown[:5])}, which lm-eval "
            f"{version('lm_eval')} does not check; expected those of google/IFEval"
        }
    DetectorFactory.seed = 0
    graded = []
    for response in responses:
        # lm-eval fills arguments that are missing by chance; strict and loose take the same.
        random.seed(response["seed"])
        try:
            found = process_results(response["doc"], [response["response"]])
        except Exception as error:  # whatever its checkers make of arguments that do not fit
            what = f"the arguments of the prompt {response['doc']['key']} do not fit its instructions"
            return {"problem": f"IFEval: {what} ({type(error).__name__}: {error})"}
        graded.append(found)
    return {"answer": {"graded": graded, "versions": {name: version(name) for name in NEEDS}}}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(main(**asked)), encoding="utf-8")
