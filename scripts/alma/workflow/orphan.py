"""End a job whose run is gone.

A killed Snakemake leaves its jobs running. The next run would start the same job beside the old one,
on the same files and processors. So a job looks every second whether the Snakemake that started it is
still there. Linux only (it reads /proc); elsewhere nothing is watched.
"""

import os
import threading
import time
from pathlib import Path

SECONDS = 1.0


def _stat(pid: int) -> tuple[int, str] | None:
    """Parent and start time of a process, None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[19]


def _is_snakemake(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:4]
    except OSError:
        return False
    return any(Path(word).name == "snakemake" or word.endswith("snakemake/__main__.py") for word in words)


def snakemake_above() -> tuple[int, str] | None:
    """Process id and start time of the Snakemake that this process is a job of, None if there is none."""
    pid = os.getppid()
    while pid > 1:
        found = _stat(pid)
        if found is None:
            return None
        if _is_snakemake(pid):
            return pid, found[1]
        pid = found[0]
    return None


def watch() -> None:
    """Start a thread that ends this process (status 1) when its Snakemake is gone."""
    above = snakemake_above()
    if above is None:
        return

    def look() -> None:
        while (found := _stat(above[0])) is not None and found[1] == above[1]:
            time.sleep(SECONDS)
        print("error: the run that started this job was ended; the next run makes it again", flush=True)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
