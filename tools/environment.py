"""Lets a command of this folder be started with any Python: it goes on in the workflow's own."""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def use_environment(program: str) -> None:
    """Go on in the workflow's environment where the Python that was found first is another one.

    Args:
        program: path of the command. Its folder's neighbor `scripts/` is put on the path.
    """
    python = os.path.join(os.path.dirname(HERE), ".venv", "bin", "python")
    if any(importlib.util.find_spec(name) is None for name in ("pyarrow", "snakemake")):
        name = os.path.basename(program)
        if "ALMA_TOOL" in os.environ or not os.path.exists(python):
            sys.exit(f"error: {name} needs the workflow's environment (make run sets it up in .venv)")
        os.environ["ALMA_TOOL"] = "1"
        os.execv(python, [python, os.path.abspath(program), *sys.argv[1:]])
    sys.path.insert(0, os.path.join(os.path.dirname(HERE), "scripts"))
