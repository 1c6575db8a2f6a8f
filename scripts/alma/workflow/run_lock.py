"""Tell the lock of a killed run from that of a live one.

Snakemake locks a working directory with files that a killed process leaves behind. Here every run
also holds a lock of the operating system on one file, which ends with its process however that ends.
So a run that finds nobody holding it knows that Snakemake's files are left over, and removes them.
Standard library only.
"""

import contextlib
import fcntl
import os
import shutil
import socket
from pathlib import Path

_FOLDER = Path(".snakemake")
_held: list[int] = []  # open for the life of the process; jobs do not inherit it


def hold(folder: Path = _FOLDER) -> bool:
    """Hold the lock for the life of this process; remove what a killed run left.

    Nothing is removed while another run is alive, or where the last one ran on another machine,
    whose locks cannot be seen from here.

    Returns:
        Whether a killed run's lock was removed.
    """
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / "alma.lock", os.O_RDWR | os.O_CREAT, 0o644)
    removed, host = False, socket.gethostname().encode()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locks = folder / "locks"
        if os.read(descriptor, 1000) == host and locks.is_dir() and any(locks.iterdir()):
            shutil.rmtree(locks)
            removed = True
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, host, 0)
    except OSError:
        pass  # another run is alive, or the file system has no such locks: Snakemake's own decide
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    _held.append(descriptor)
    return removed


def release() -> None:
    """Let the lock go before the process ends: for a command that only reads the Snakefile."""
    while _held:
        os.close(_held.pop())


def another_run_is_alive(folder: Path = _FOLDER) -> bool:
    """Whether another process holds the lock of this working directory now."""
    try:
        descriptor = os.open(folder / "alma.lock", os.O_RDWR)
    except OSError:
        return False  # no run has begun here
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no such locks on this file system: Snakemake's own decide
    finally:
        os.close(descriptor)
    return False
