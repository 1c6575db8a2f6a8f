"""Programs that run in lm-eval's environment (envs/lm_eval.sh): files go in, files come out.

lm-eval is in no job's own environment. A program below is started with that environment's Python; it gets the
path of a JSON file with its question and writes another with its answer.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.lm_eval_programs import harness, ifeval

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".venv-lm-eval" / "bin" / "python"
VARIABLE = "ALMA_LM_EVAL"  # names another Python that has lm_eval[ifeval]
PROGRAMS = {"harness": harness, "ifeval": ifeval}
_SHOWN = 15  # last lines of what a program printed before it failed


def python() -> Path:
    """Python of lm-eval's environment.

    Raises:
        InputError: there is none.
    """
    place = Path(os.environ.get(VARIABLE) or PLACE)
    if not place.is_file():
        raise InputError(
            f"lm-eval's environment: found no {place}, expected its Python. Make it with "
            f"`bash envs/lm_eval.sh`, or name the Python of another one with lm_eval[ifeval] in {VARIABLE} "
            f"(docs/knowledge.md)."
        )
    return place


def ask(program: str, question: dict[str, Any]) -> Any:
    """The answer of a program of lm-eval's environment; what it prints is in the job's log.

    Args:
        program: of `PROGRAMS`.
        question: what its `main` gets, as JSON.

    Raises:
        InputError: there is no such environment, or the program says what is wrong, or it fails.
    """
    interpreter = python()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("question.json", "answer.json")]
        files[0].write_text(json.dumps(question), encoding="utf-8")
        # PYTHONHASHSEED: lm-eval goes through sets here and there.
        environment = os.environ | {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false"}
        command = [str(interpreter), str(PROGRAMS[program].__file__), *map(str, files)]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        printed = done.stdout.decode("utf-8", "replace")
        print(printed, end="", flush=True)
        if done.returncode or not files[1].is_file():
            last = "\n".join(f"  {line}" for line in printed.strip().splitlines()[-_SHOWN:])
            raise InputError(f"lm-eval ({interpreter}) ended with the exit status {done.returncode}:\n{last}")
        answer = json.loads(files[1].read_text(encoding="utf-8"))
    if "problem" in answer:
        raise InputError(answer["problem"])
    return answer["answer"]
