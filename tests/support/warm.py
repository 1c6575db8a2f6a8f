"""Processes that start warm: forks of one that has imported Snakemake and the tables' libraries already.

A start of Snakemake costs some three seconds of processor time for its imports alone, one of its jobs half a
second, and the tests start thousands of them. What runs is the same: a process of its own with its own
arguments, environment, working directory and output, in which nothing of the workflow is imported yet
(alma.workflow.forks, from which a run forks its own jobs with models too).
Two such processes take turns, each with its own order of sets (PYTHONHASHSEED), so that results which depend
on that order differ between runs here too. A third has imported vLLM and TRL as well, which cost an engine's
job more than ten seconds (vLLM itself forks workers after its import, so it bears that).

What a fork cannot show is a script that forgets to import what another has imported. So `finished_run` of
conftest.py runs every job in a process that starts anew, test_workflow.py trains, samples and scores in such
processes, and both compare bytes. pytest's option `--cold-starts` starts all anew.
"""

import contextlib
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# Under a name of its own: in a fork nothing of the workflow is imported.
_spec = importlib.util.spec_from_file_location("warm_forks", SCRIPTS / "alma" / "workflow" / "forks.py")
forks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(forks)

COLD = False  # --cold-starts
SOCKET = "ALMA_TEST_WARM"  # names the socket to a Snakemake that was started warm, for its jobs
# Imported before the first fork.
LIBRARIES = (
    *("snakemake.cli", "snakemake.report", "snakemake.executors.local", "snakemake.persistence"),
    *("snakemake.iocontainers", "snakemake.logging", "snakemake.script", "snakemake_logger_plugin_rich"),
    *("snakemake_executor_plugin_slurm", "jsonschema", "yaml", "jinja2", "numpy", "polars"),
    *("pyarrow", "pyarrow.parquet", "pyarrow.compute", "scipy.stats"),
)


def pytest_addoption(parser):
    parser.addoption("--cold-starts", action="store_true", help="start each Snakemake and each job anew")


def pytest_configure(config):
    global COLD
    COLD = config.getoption("--cold-starts")


def pytest_unconfigure():
    for server in _servers.values():
        server.close()
    _servers.clear()


# The side of the tests


def _server(kind):
    """A process from which others are forked; of the third kind, for jobs with models."""
    from alma.library_variables import for_every_job, for_the_engine
    from alma.workflow.warm_start import MODULES

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "SNAKEMAKE_"))}
    environment = kept | for_every_job(1) | {"PYTHONHASHSEED": str(kind)}
    if kind == MODELS:
        environment |= for_the_engine(gpu=False)
    modules = (*LIBRARIES, *MODULES) if kind == MODELS else LIBRARIES
    return forks.Server(modules, environment, program=__file__)


_servers = {}
_turns = itertools.cycle((1, 2))
MODELS = 3


def run(command, *, cwd, env=None, stdin="", models=False):
    """What `subprocess.run` does with the two outputs as text, for `python -m snakemake` and scripts.

    Args:
        command: begins with the interpreter. env: that of this process, if None. stdin: what is read.
        models: whether its jobs load models; on a machine with a GPU these start anew.
    """
    env = dict(os.environ) if env is None else env
    if COLD or (models and shutil.which("nvidia-smi")):
        return subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True)
    turn = MODELS if models else next(_turns)
    if turn not in _servers:
        _servers[turn] = _server(turn)
    _servers[turn].wait()
    path = _servers[turn].path
    with contextlib.ExitStack() as files:
        read, out, errors = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        read.write(stdin)
        read.flush()
        os.lseek(read.fileno(), 0, os.SEEK_SET)
        descriptors = [f.fileno() for f in (read, out, errors)]
        started = forks.Fork(path, command[1:], cwd, env | {SOCKET: path}, descriptors)
        try:
            status = started.wait()
        finally:
            started.close()
        printed = [os.pread(f.fileno(), os.fstat(f.fileno()).st_size, 0).decode() for f in (out, errors)]
    return subprocess.CompletedProcess(command, status, *printed)


# In a fork


def forks_its_jobs(path):
    """Let Snakemake start its scripts as forks, where it would start an interpreter for them."""

    class Subprocess:
        def __getattr__(self, name):
            return getattr(subprocess, name)

        @staticmethod
        def Popen(command, *, env, **options):
            words = re.fullmatch(r"set -euo pipefail; +(\S+) (\S+/\.snakemake/scripts/\S+\.py)", command)
            if words is None or words[1] != sys.executable:
                return subprocess.Popen(command, env=env, **options)
            return forks.Fork(path, [words[2]], os.getcwd(), env, [0, 1, 2])

    sys.modules["snakemake.shell"].sp = Subprocess()  # the package has a class of that name too


def play(arguments):
    """Be `python -m snakemake ...`, or a script."""
    path = os.environ.pop(SOCKET, "")
    if arguments[:2] != ["-m", "snakemake"]:
        forks.run_script(arguments)
        return
    import snakemake.cli

    forks_its_jobs(path)
    sys.path[0] = os.getcwd()
    sys.argv = [snakemake.__file__.replace("__init__", "__main__"), *arguments[2:]]
    snakemake.cli.main()


if __name__ == "__main__":
    forks.main(sys.argv[1], sys.argv[2:], play)
