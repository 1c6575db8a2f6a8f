"""What a job that samples one text costs: as alma runs it, against the same job in plain Python.

Run: make bench   (or: .venv/bin/python benchmarks/bench_startup.py [MODEL_DIR])
Needs a checkpoint; the default is results/default/models/base. Nearly all of the time goes into
importing vLLM, opening the engine and ending the process. The last line gives the ratio of CPU seconds.
"""

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
SCRIPT = "sample_responses.py"
REPEATS = 3


def run_job(way: str, model: str) -> None:
    """One job in this process, which is a child: "alma", or "plain" without what saves time."""
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
    if way == "alma":
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


def measure(way: str, model: str) -> tuple[float, float]:
    """Wall and CPU seconds of one child."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--child", way, model], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


def main(model: str) -> None:
    """Run both ways in turn, after one of each that is not counted, and print the means."""
    total = {"plain": 0.0, "alma": 0.0}
    for repeat in range(REPEATS + 1):
        for way in total:
            wall, cpu = measure(way, model)
            if repeat:
                total[way] += cpu / REPEATS
                print(f"{way}: {wall:.1f} s, {cpu:.1f} CPU seconds", flush=True)
    print(f"alma to plain, CPU seconds: {total['alma'] / total['plain']:.2f}")


if __name__ == "__main__":
    if "--child" in sys.argv:
        run_job(*sys.argv[2:])
    else:
        main(str(Path(sys.argv[1] if sys.argv[1:] else ROOT / "results/default/models/base").resolve()))
