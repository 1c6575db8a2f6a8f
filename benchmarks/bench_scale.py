"""How the plan of a run and a run with nothing to do grow with its number of jobs.

Run: make bench   (or: .venv/bin/python benchmarks/bench_scale.py [PROMPTS_PER_ROUND ...])

Three rounds of so many prompts, one prompt per shard, so 18 jobs per prompt; the files are made
empty and `snakemake --touch --forceall` records them as made, so nothing is computed. A run with nothing to
do is measured with a plan, and then once more, where nothing has changed since that plan. The last lines give
the CPU seconds per 1,000 jobs and the ratio to the smallest run.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTED = "nothing has changed since the last plan"  # scripts/alma/workflow/unchanged.py
CONFIG = """\
run: scale
base_model: {{source: "hub:example/base-1b@0000000000000000000000000000000000000000"}}
engine: {{device: cpu}}
labels: {{sft: {root}/data/sft.jsonl, judge: {root}/data/judge.jsonl}}
prompts: {{clusters: 100000, raw_per_shard: 1000000}}
rounds: 3
prompts_per_round: {prompts}
prompts_per_shard: 1
samples_per_prompt: 6
samples_per_block: 6
evaluation: {{benchmarks: {{everyday: {root}/data/eval.jsonl}}}}
"""


def snakemake(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """CPU seconds, wall seconds and output of one call."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(folder)]
    command += ["--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", "1"]
    command += ["--configfile", str(folder / "scale.yaml"), *arguments]
    environment = os.environ | {"ALMA_CACHE": str(folder / "cache")}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall, done.stdout + done.stderr


def make_files(folder: Path) -> None:
    """Every output of the run, empty, in an order of time that makes none stale: all at once."""
    _, _, plan = snakemake(folder, "--summary")
    names = [line.split("\t")[0] for line in plan.splitlines() if line.startswith("results/")]
    now = time.time() - 60
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (now, now))


def measure(prompts: int) -> tuple[int, float, float]:
    """Print what a run of so many prompts per round costs.

    Returns:
        Its jobs, and the CPU seconds of a run with nothing to do: with a plan, and where nothing has changed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scale.yaml").write_text(CONFIG.format(root=ROOT, prompts=prompts))
        cpu, wall, plan = snakemake(folder, "-n", "--quiet", "rules")
        jobs = int(re.search(r"^total\s+(\d+)", plan, re.MULTILINE)[1])  # type: ignore[index]
        print(f"{jobs:,} jobs: plan {cpu:.1f} CPU s ({wall:.1f} s)", flush=True)
        make_files(folder)
        cpu, wall, _ = snakemake(folder, "--touch", "--forceall")
        print(f"  recording them as made {cpu:.1f} CPU s ({wall:.1f} s)", flush=True)
        time.sleep(3)  # so that no file is as new as the next process
        planned, wall, text = snakemake(folder)
        if "Nothing to be done" not in text:
            sys.exit(f"the run was not finished:\n{text[-2000:]}")
        print(f"  nothing to do, planned {planned:.1f} CPU s ({wall:.1f} s)", flush=True)
        cpu, wall, text = snakemake(folder)
        if NOTED not in text:
            sys.exit(f"nothing was noted:\n{text[-2000:]}")
        print(f"  nothing to do, nothing changed {cpu:.1f} CPU s ({wall:.1f} s)", flush=True)
        return jobs, planned, cpu


def main(sizes: list[int]) -> None:
    """Measure each size and print the growth."""
    found = [measure(prompts) for prompts in sizes]
    for jobs, *seconds in found:
        for name, cpu, first in zip(("planned", "nothing changed"), seconds, found[0][1:], strict=True):
            rate, ratio = 1000 * cpu / jobs, cpu / first
            print(f"{jobs:,} jobs, {name}: {rate:.2f} CPU s per 1,000 jobs, {ratio:.1f} times the first")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [90, 330, 1650])
