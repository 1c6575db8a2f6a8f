"""Fork processes from one that has imported slow libraries already.

`python forks.py SOCKET MODULE ...` imports the modules and then listens at a UNIX socket. Each request there
(`Fork`) becomes a process of its own, with its own arguments, environment, working directory and files; only
what was imported is shared, until one of them writes to it. The server ends, and ends its forks, when its
standard input is closed: it never outlives who started it. Standard library only.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import random
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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


class Server:
    """A process from which others are forked; it is ready some seconds after this returns."""

    def __init__(self, modules: Iterable[str], env: Mapping[str, str], program: str = __file__) -> None:
        """
        Args:
            modules: names of what it imports; one that is not there is left out.
            env: its environment, which libraries read when they are imported.
            program: file that calls `main`.
        """
        folder = tempfile.mkdtemp(prefix="warm-")  # for this user alone
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # where the server was killed
        self.path = f"{folder}/socket"
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [sys.executable, program, self.path, *modules],
            env=env,
            stdin=subprocess.PIPE,
            stdout=quiet,
            stderr=quiet,
        )

    def ready(self) -> bool:
        """Whether it has imported all, and has not ended."""
        return os.path.exists(self.path) and self.process.poll() is None

    def wait(self) -> None:
        """Until it is ready.

        Raises:
            OSError: it has ended.
        """
        while not os.path.exists(self.path):
            if self.process.poll() is not None:
                raise OSError(f"the process that others are forked from ended with {self.process.returncode}")
            time.sleep(0.05)

    def close(self) -> None:
        """End it, and what was forked from it."""
        assert self.process.stdin
        if not self.ready():  # it has no forks yet, and would see the end of its input only when it is
            self.process.kill()
        self.process.stdin.close()
        self.process.wait()


class Fork:
    """A process forked by a server: what its parent needs of a `subprocess.Popen`."""

    def __init__(
        self, path: str, arguments: list[str], cwd: str, env: Mapping[str, str], descriptors: list[int]
    ) -> None:
        """
        Args:
            path: the server's socket. arguments: a script and what follows it.
            descriptors: its standard input, output and error.

        Raises:
            OSError: no server is there.
        """
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(path)
            told = json.dumps([arguments, str(cwd), dict(env)]).encode()
            socket.send_fds(self.socket, [len(told).to_bytes(8, "big")], descriptors)
            self.socket.sendall(told)
            self.answers = self.socket.makefile()
            self.pid = int(self.answers.readline() or 0)
        except OSError:
            self.socket.close()
            raise
        if not self.pid:
            self.close()
            raise OSError("the process that others are forked from has ended")

    def wait(self) -> int:
        """How it ended, as in `Popen.returncode`."""
        line = self.answers.readline()
        self.close()
        if line:
            return int(line)
        with contextlib.suppress(ProcessLookupError):  # the server was killed
            self.kill()
        return -signal.SIGKILL

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def close(self) -> None:
        """Also ends the process, if it has not ended."""
        self.answers.close()
        self.socket.close()


# In the server


def _receive(connection: socket.socket) -> list[Any]:
    """A request: its arguments, working directory and environment, and the descriptors sent with it."""
    size, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        return [*json.loads(stream.read(int.from_bytes(size, "big"))), descriptors]


def _serve(path: str) -> list[Any]:
    """Fork a process for each request, and tell its number and how it ended. Returns in the forks alone."""
    ready = selectors.DefaultSelector()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{path}.new")
    listening.listen(64)
    os.rename(f"{path}.new", path)
    ready.register(listening, selectors.EVENT_READ)
    ready.register(0, selectors.EVENT_READ)
    running: dict[int, tuple[int, socket.socket]] = {}  # descriptor of a process: its number, who asked
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
            elif key.fd == 0:  # who started it is gone, or wants no more
                for number, _ in running.values():
                    os.kill(number, signal.SIGKILL)
                shutil.rmtree(os.path.dirname(path), ignore_errors=True)
                os._exit(0)
            else:  # who asked for it is gone
                os.kill(running[key.data][0], signal.SIGKILL)
                ready.unregister(key.fileobj)


# In a fork


def run_script(arguments: list[str]) -> None:
    """What `python SCRIPT ...` does, in a process that has begun already."""
    sys.path[0] = str(Path(arguments[0]).parent)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def _play(
    run: Callable[[list[str]], None],
    arguments: list[str],
    cwd: str,
    env: dict[str, str],
    descriptors: list[int],
) -> int:
    """Become the process that was asked for; returns its exit status."""
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    try:
        run(arguments)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:  # of a terminal: Snakemake says what there is to say
        return 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main(path: str, modules: Iterable[str], run: Callable[[list[str]], None] = run_script) -> None:
    """Import, then serve; does not return.

    Args:
        path: of the socket. modules: names of what is imported.
        run: called in a fork with the arguments of its request.
    """
    del sys.path[0]  # this program's folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: it is for those who have work to end
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.path.insert(0, "")
    gc.collect()
    gc.freeze()  # else the collector of a fork writes to all that is shared
    status = _play(run, *_serve(path))
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
