"""Cancel what a killed run left in Slurm's queue, before the next run submits the same jobs.

A Snakemake that is killed at once cancels nothing: its jobs wait, run and write on, and the next run, which
knows nothing of them, would start the same jobs beside them. The executor plugin names all jobs of a run by a
random number behind `slurm-jobname-prefix`, and they keep the folder of the run, so they can be told from
those of other runs. Standard library only.
"""

import getpass
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from alma.errors import InputError

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# States from which no job comes back. A job that is being taken down (COMPLETING) still has processes.
_OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
}


def _ask(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise InputError(f"{words[0]} was not found: start the run where Slurm's commands are") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{words[0]} gave no answer in 120 s; is Slurm up?") from None
    if done.returncode:
        raise InputError(f"{words[0]} failed: {done.stderr.strip()}")
    return done.stdout


def left(prefix: str, folder: Path) -> list[str]:
    """Ids of this user's jobs that runs in this folder have submitted and that are not over.

    Args:
        prefix: the runs' `slurm-jobname-prefix`; jobs of an empty one are found too.
        folder: the working directory of the runs.
    """
    name = re.compile(rf"(?:{re.escape(prefix)}_)?{_UUID}")
    found = []
    lines = _ask(
        "squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%j|%Z"
    )
    for line in lines.splitlines():
        number, state, job, place = line.split("|", 3)
        if state not in _OVER and name.fullmatch(job) and Path(place).resolve() == folder.resolve():
            found.append(number)
    return found


def cancel(
    prefix: str, folder: Path, tell: Callable[[str], None] = print, patience: float = 600.0
) -> list[str]:
    """Cancel the jobs that a killed run left, and wait until none of them has a process.

    Call it only while no other run of this folder is alive, so behind Snakemake's lock.

    Args:
        prefix, folder: as for `left`.
        tell: gets a line where there are any.
        patience: seconds to wait for their end.

    Returns:
        Ids of the jobs.

    Raises:
        InputError: Slurm does not answer, or jobs are still there in the end.
    """
    jobs = rest = left(prefix, folder)
    if not jobs:
        return []
    tell(f"alma: the last run left {len(jobs)} jobs in Slurm's queue; they are canceled ({' '.join(jobs)})")
    end = time.monotonic() + patience
    while rest:
        if time.monotonic() > end:
            raise InputError(
                f"jobs that the last run left are still there {patience:.0f} s after scancel: "
                f"{' '.join(rest)}"
            )
        _ask("scancel", *rest)
        time.sleep(1)
        rest = left(prefix, folder)
    return jobs
