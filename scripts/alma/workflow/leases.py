"""GPUs of this machine for the jobs that run on it side by side: never two jobs on one GPU.

Snakemake counts GPUs (`--resources gpu=8`) and assigns none, so every job would take the first. Here each GPU
is a file with a lock of the operating system (flock): a job holds the locks of its GPUs, as many as its
resource `gpu` says or none, and CUDA_VISIBLE_DEVICES names them. The processes that the job spawns
(multiprocessing) hold the locks with it, and the kernel frees them with the last of these processes, however
it ends. The files stay; they hold nothing.

What CUDA_VISIBLE_DEVICES names before (numbers, UUIDs, or parts of MIG) are the GPUs to choose from. A
scheduler sets it: a job that was given as many as it asks for takes these. Locks count within one job of a
scheduler, since GPUs of two such jobs may have the same number.

Linux only, standard library only. ALMA_GPU_LEASES names another folder for the locks than /tmp/alma-gpus; it
must be the same for all jobs of the machine, and on a disk of this machine.
"""

import contextlib
import fcntl
import os
import random
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import Any

from alma.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SCHEDULER_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID")  # each scheduler's own variable
_LISTED = re.compile(r"\s*(?:GPU (\d+)|MIG .*Device +\d+): .*?\(UUID: *([^)\s]+)\)")

_held: list[int] = []  # descriptors of the locks; open for the life of the process


@dataclass(frozen=True)
class Gpu:
    """A GPU (or a part of one, MIG) to choose from.

    Args:
        given: how CUDA_VISIBLE_DEVICES names it.
        name: the same for all jobs of this machine that may take it.
    """

    given: str
    name: str


def _listed() -> dict[str, list[str]]:
    """{number of a GPU: its UUID and those of its parts (MIG)}, empty where nvidia-smi cannot tell."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        match = _LISTED.match(line)
        if match and match[1] is not None:
            found[match[1]] = [match[2]]
        elif match and found:
            found[next(reversed(found))].append(match[2])
    return found


def _scope() -> str:
    """What marks the locks of one job of a scheduler; empty without a scheduler."""
    return "".join(f"{os.environ[name]}-" for name in _SCHEDULER_JOBS if name in os.environ)


def gpus() -> list[Gpu] | None:
    """The GPUs that jobs of this machine may take; None where nobody can tell.

    Like CUDA, it reads CUDA_VISIBLE_DEVICES up to the first entry that names no GPU.
    """
    listed, visible, scope = _listed(), os.environ.get(VISIBLE), _scope()
    if visible is None:
        if not listed:
            return None
        # A GPU with parts is used by its parts alone.
        return [Gpu(uuid, scope + uuid) for uuids in listed.values() for uuid in uuids[1:] or uuids]
    known = [uuid for uuids in listed.values() for uuid in uuids]
    found: dict[str, Gpu] = {}
    for word in (part.strip() for part in visible.split(",")):
        if word.isdecimal():
            if listed and str(int(word)) not in listed:
                break
            name = listed[str(int(word))][0] if listed else str(int(word))
        elif word.startswith(("GPU-", "MIG-")):
            # CUDA takes the beginning of a UUID, if there is no other that begins so.
            whole = [uuid for uuid in known if uuid.startswith(word)]
            name = whole[0] if len(whole) == 1 else word
        else:
            break
        found.setdefault(name, Gpu(word, scope + name))
    return list(found.values())


def _open(path: Path) -> int:
    """Descriptor of a lock file, which may be another user's."""
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                os.fchmod(made, 0o644)  # whatever the umask says: to lock it, others only read it
                os.close(made)


def _folder() -> Path:
    folder = Path(os.environ.get("ALMA_GPU_LEASES", "/tmp/alma-gpus"))
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)  # for all users of the machine
    return folder


def try_to_hold(count: int, choice: list[Gpu]) -> list[Gpu]:
    """Hold the locks of `count` GPUs that nobody holds, or none; the GPUs, or an empty list.

    One process at a time looks, so that two that want several never hold a part each.
    """
    folder = _folder()
    gate = _open(folder / "gate")
    taken: list[Gpu] = []
    descriptors: list[int] = []
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for gpu in choice:
            descriptor = _open(folder / re.sub(r"[^\w.-]", "_", gpu.name))
            descriptors.append(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptors.pop())
                continue
            taken.append(gpu)
            if len(taken) == count:
                _held.extend(descriptors)
                descriptors = []
                return taken
        return []
    finally:
        for descriptor in (*descriptors, gate):
            os.close(descriptor)


def _spawned_with_locks(start: Callable[..., Any]) -> Callable[..., Any]:
    """multiprocessing's own start of a process, which closes all files but those it is told to keep."""

    def spawn(path: Any, args: Any, passfds: Any) -> Any:
        return start(path, args, sorted({*passfds, *_held}))

    return spawn


def lease(count: int, tell: Callable[[str], None] = print) -> None:
    """Wait for `count` GPUs, hold them for the life of this process, and name them to CUDA.

    Args:
        count: the job's resource `gpu`; nothing is done for 0.
        tell: gets a line where the job waits, or where nobody can tell which GPUs there are.

    Raises:
        InputError: the machine, or CUDA_VISIBLE_DEVICES, has fewer.
    """
    if count < 1:
        return
    choice = gpus()
    if choice is None:
        tell("nvidia-smi lists no GPU and CUDA_VISIBLE_DEVICES is not set: this job holds none")
        return
    if len(choice) < count:
        where = f"{VISIBLE} ({os.environ[VISIBLE]!r}) names" if VISIBLE in os.environ else "nvidia-smi lists"
        raise InputError(f"GPUs: the job asks for {count} (its resource gpu), and {where} {len(choice)}")
    taken = try_to_hold(count, choice)
    if not taken:
        tell(f"waiting for {count} of {len(choice)} GPUs, which other jobs of this machine hold")
    while not taken:
        time.sleep(random.uniform(0.5, 1.5))  # jitter: jobs that wait do not all look at once
        taken = try_to_hold(count, choice)
    if hasattr(util, "spawnv_passfds"):  # else the job's own process alone holds them
        util.spawnv_passfds = _spawned_with_locks(util.spawnv_passfds)
    os.environ[VISIBLE] = ",".join(gpu.given for gpu in taken)
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # numbers as nvidia-smi gives them
