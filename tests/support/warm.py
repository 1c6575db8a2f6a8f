"""Processes that start warm: forks of one that has imported Snakemake and the tables' libraries already.

A start of Snakemake costs some three seconds of processor time for its imports alone, one of its jobs half a
second, and the tests start thousands of them. What runs is the same: a process of its own with its own
arguments, environment, working directory and output, in which nothing of the workflow is imported yet.
Two such processes take turns, each with its own order of sets (PYTHONHASHSEED), so that results which depend
on that order differ between runs here too. A third has imported vLLM and TRL as well, which cost an engine's
job more than ten seconds (vLLM itself forks workers after its import, so it bears that).

What a fork cannot show is a script that forgets to import what another has imported. So `finished_run` of
conftest.py runs every job in a process that starts anew, test_workflow.py trains, samples and scores in such
processes, and both compare bytes. pytest's option `--cold-starts` starts all anew.
"""

import atexit
import contextlib
import io
import itertools
import json
import os
import re
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from unittest import mock

COLD = False  # --cold-starts
SOCKET = "ALMA_TEST_WARM"  # names the socket to a Snakemake that was started warm, for its jobs
# Imported before the first fork.
LIBRARIES = (
    *("snakemake.cli", "snakemake.report", "snakemake.executors.local", "snakemake.persistence"),
    *("snakemake.iocontainers", "snakemake.logging", "snakemake.script", "snakemake_logger_plugin_rich"),
    *("snakemake_executor_plugin_slurm", "jsonschema", "yaml", "jinja2", "numpy", "polars"),
    *("pyarrow", "pyarrow.parquet", "pyarrow.compute", "scipy.stats"),
)
# What is not there any more in another version is imported by the job.
MODEL_LIBRARIES = (
    *("torch", "transformers", "transformers.models.llama.modeling_llama", "datasets", "accelerate", "peft"),
    *("trl.trainer.sft_trainer", "trl.trainer.dpo_trainer", "vllm.entrypoints.llm"),
    *("vllm.v1.worker.cpu_worker", "vllm.model_executor.models.llama", "vllm.model_executor.model_loader"),
    *("vllm.v1.core.sched.scheduler", "vllm.v1.attention.backends.cpu_attn", "compressed_tensors"),
    *("vllm.entrypoints.launchers.cli_args", "vllm.model_executor.layers.quantization.online.base"),
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


class Server:
    """A process from which others are forked; of the third kind, for jobs with models."""

    def __init__(self, kind):
        self.folder = tempfile.mkdtemp(prefix="warm-")
        self.path = f"{self.folder}/socket"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "SNAKEMAKE_"))}
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        environment = kept | threads | {"PYTHONHASHSEED": str(kind), "POLARS_MAX_THREADS": "1"}
        if kind == MODELS:
            environment |= _environment_of_engines()
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.path, str(kind)], env=environment, stdin=subprocess.PIPE
        )
        while not os.path.exists(self.path):
            if self.process.poll() is not None:
                raise RuntimeError("the process that others are forked from did not start")
            time.sleep(0.05)

    def close(self):
        self.process.stdin.close()  # which it waits for
        self.process.wait()
        shutil.rmtree(self.folder)


def _environment_of_engines():
    """What vLLM reads when it is imported."""
    from alma import engine

    with mock.patch.dict(os.environ, clear=True):
        engine._prepare_environment(gpu=False, kv_cache_gib=1)
        return dict(os.environ)


_servers: dict[int, Server] = {}
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
        _servers[turn] = Server(turn)
    path = _servers[turn].path
    with contextlib.ExitStack() as files:
        read, out, errors = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        read.write(stdin)
        read.flush()
        os.lseek(read.fileno(), 0, os.SEEK_SET)
        started = Fork(
            path, command[1:], cwd, env | {SOCKET: path}, [f.fileno() for f in (read, out, errors)]
        )
        try:
            status = started.wait()
        finally:
            started.close()
        printed = [os.pread(f.fileno(), os.fstat(f.fileno()).st_size, 0).decode() for f in (out, errors)]
    return subprocess.CompletedProcess(command, status, *printed)


class Fork:
    """A process that the server at `path` forks: what the tests and Snakemake need of a `Popen`."""

    def __init__(self, path, arguments, cwd, env, descriptors):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        told = json.dumps([arguments, str(cwd), env]).encode()
        socket.send_fds(self.socket, [len(told).to_bytes(8, "big")], descriptors)
        self.socket.sendall(told)
        self.answers = self.socket.makefile()
        self.pid = int(self.answers.readline())

    def wait(self):
        status = int(self.answers.readline())
        self.close()
        return status

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)

    def close(self):
        """Also ends the process, if it has not ended."""
        self.answers.close()
        self.socket.close()


# The side of the process that others are forked from


def _receive(connection):
    """A request: its arguments, working directory and environment, and the descriptors sent with it."""
    size, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        return [*json.loads(stream.read(int.from_bytes(size, "big"))), descriptors]


def serve(path):
    """Fork a process for each request, and tell its number and how it ended. Returns in the forks alone."""
    ready = selectors.DefaultSelector()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{path}.new")
    listening.listen(64)
    os.rename(f"{path}.new", path)
    ready.register(listening, selectors.EVENT_READ)
    ready.register(0, selectors.EVENT_READ)  # closed when the tests have ended
    running = {}  # descriptor of a process: (its number, the connection); and of the connection likewise
    while True:
        for key, _ in ready.select():
            if key.fileobj is listening:
                connection, _ = listening.accept()
                request = _receive(connection)
                number = os.fork()
                if number == 0:
                    for other in (listening, connection, *(c for _, c in running.values())):
                        os.close(other.fileno())
                        other.detach()
                    for process in running:
                        os.close(process)
                    ready.close()
                    return request
                for descriptor in request[-1]:
                    os.close(descriptor)
                connection.sendall(f"{number}\n".encode())
                process = os.pidfd_open(number)
                running[process] = number, connection
                ready.register(process, selectors.EVENT_READ)
                ready.register(connection, selectors.EVENT_READ, process)
            elif key.fd in running:
                number, connection = running.pop(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
                with contextlib.suppress(OSError):
                    connection.sendall(f"{status}\n".encode())
                ready.unregister(key.fd)
                os.close(key.fd)
                with contextlib.suppress(KeyError):
                    ready.unregister(connection)
                connection.close()
            elif key.fd == 0:
                for number, _ in running.values():
                    os.kill(number, signal.SIGKILL)
                os._exit(0)
            else:  # who asked for it is gone
                os.kill(running[key.data][0], signal.SIGKILL)
                ready.unregister(key.fileobj)


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
            return Fork(path, [words[2]], os.getcwd(), env, [0, 1, 2])

    sys.modules["snakemake.shell"].sp = Subprocess()  # the package has a class of that name too


def play(arguments, cwd, env, descriptors):
    """Become the process that was asked for; returns its exit status."""
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    path = os.environ.pop(SOCKET, "")
    try:
        if arguments[:2] == ["-m", "snakemake"]:
            import snakemake.cli

            forks_its_jobs(path)
            sys.path[0] = cwd
            sys.argv = [snakemake.__file__.replace("__init__", "__main__"), *arguments[2:]]
            snakemake.cli.main()
        else:
            sys.path[0] = str(Path(arguments[0]).parent)
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main(path, kind):
    import gc
    import importlib
    import random

    for name in LIBRARIES:
        importlib.import_module(name)
    for name in MODEL_LIBRARIES if kind == MODELS else ():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    del sys.path[0]  # this file's folder
    sys.path.insert(0, "")
    gc.collect()
    gc.freeze()
    request = serve(path)
    random.seed()
    status = play(*request)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
