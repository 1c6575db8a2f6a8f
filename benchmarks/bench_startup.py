"""What a job that samples one text costs: as alma runs it, against the same job in plain Python.

Run: make bench   (or: .venv/bin/python benchmarks/bench_startup.py [MODEL_DIR])
Needs a checkpoint; the default is results/default/models/base. Nearly all of the time goes into
importing vLLM, opening the engine and ending the process. Ways, which take turns:

plain   an interpreter of its own, without what saves time
cold    an interpreter of its own, as alma runs it with ALMA_WARM_START=0 and on a cluster
warm    a fork of a process that has the libraries (`alma.workflow.warm_start`); their import is told apart

The last lines give medians, and their ratios in CPU seconds.
"""

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
SCRIPT = "sample_responses.py"
REPEATS = 5


def run_job(way: str, model: str) -> None:
    """One job in this process, which is a child: as alma runs it, or "plain" without what saves time."""
    from alma.workflow.codehash import code_hash
    from alma.workflow.job import job

    spec = {"script": SCRIPT, "code": code_hash(ROOT / "scripts" / SCRIPT), "threads": 1, "config": {}}
    facts = SimpleNamespace(
        rule="bench",
        log=["log"],
        params=SimpleNamespace(spec=json.dumps(spec)),
        wildcards={},
        input=[],
        output=[],
    )
    if way != "plain":
        globals()["snakemake"] = facts  # what tells a job that the process is its own
    else:
        gc.freeze = gc.set_threshold = lambda *_: None  # type: ignore[assignment]
    with job(facts):
        from alma.engine import Request, open_engine

        options = {
            "device": "cpu",
            "kv_cache_gib": 1,
            "dtype": "auto",
            "max_model_len": 512,
            "max_num_seqs": 4,
            "tensor_parallel_size": 1,
        }
        engine = open_engine(model, options)
        ids = engine.tokenizer("Hello")["input_ids"]
        engine.generate([Request(ids, seed=1, temperature=1.0, top_p=1.0, max_tokens=4)])


def ended_children(server: int) -> float:
    """CPU seconds of the processes that a process has waited for."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def measure(way: str, model: str, server: Any) -> tuple[float, float]:
    """Wall and CPU seconds of one job."""
    from alma.workflow.forks import Fork

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if way == "warm":
            before = ended_children(server.process.pid)
            environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
            command = [__file__, "--child", way, model]
            if Fork(server.path, command, folder, environment, [0, 1, 2]).wait():
                sys.exit("bench_startup: the fork failed")
            return time.perf_counter() - start, ended_children(server.process.pid) - before
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, __file__, "--child", way, model], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return time.perf_counter() - start, cpu


def main(model: str) -> None:
    """Run the ways in turn, after one of each that is not counted, and print the medians."""
    from alma.library_variables import for_every_job, for_the_engine
    from alma.workflow.forks import Server
    from alma.workflow.warm_start import MODULES

    start = time.perf_counter()
    server = Server(MODULES, os.environ | for_every_job(1) | for_the_engine(gpu=False))
    server.wait()
    print(f"the process to fork from was ready after {time.perf_counter() - start:.1f} s", flush=True)
    taken: dict[str, list[float]] = {"plain": [], "cold": [], "warm": []}
    for repeat in range(REPEATS + 1):
        for way, seconds in taken.items():
            wall, cpu = measure(way, model, server)
            if repeat:
                seconds.append(cpu)
                print(f"{way}: {wall:.1f} s, {cpu:.1f} CPU seconds", flush=True)
    server.close()
    plain = median(taken["plain"])
    for way, seconds in taken.items():
        print(f"{way}: {median(seconds):.1f} CPU seconds, {median(seconds) / plain:.2f} of plain")


if __name__ == "__main__":
    if "--child" in sys.argv:
        run_job(*sys.argv[2:])
    else:
        main(str(Path(sys.argv[1] if sys.argv[1:] else ROOT / "results/default/models/base").resolve()))
