"""Where the time of a finished run's jobs went: into engine and trainer, or around them.

Run: make bench   (or: .venv/bin/python benchmarks/bench_overhead.py [RUN])
Needs a finished run; the default is `default`, what `make run` makes. Two sources: Snakemake's benchmark
file of each job (wall seconds), and the line of its log that says how long the engine or the trainer took.
The rest of a job is imports, the engine's start, checks, tables, and the end of the process. What Snakemake
itself takes beside the jobs is not in it; `time make run` tells. Wall time counts as core time only on a
machine with nothing else to do, and with jobs of one thread.
"""

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPAN = re.compile(r"took (?:(\d+)h )?(?:(\d+)min )?(?:(\d+)s)?(?:(\d+):(\d+):(\d+))?")


def seconds(words: re.Match[str]) -> int:
    """Of "took 1h 02min", "took 3min 25s", "took 40s" or "took 0:04:21"."""
    hours, minutes, rest, *clock = (int(part or 0) for part in words.groups())
    return 3600 * (hours + clock[0]) + 60 * (minutes + clock[1]) + rest + clock[2]


def main(run: str) -> None:
    """Print a line per rule, most core-seconds first, and the share of all."""
    folder = ROOT / "results" / run
    inside, whole, jobs = defaultdict(float), defaultdict(float), defaultdict(int)
    for path in sorted((folder / "benchmarks").rglob("*.tsv")):
        name = path.relative_to(folder / "benchmarks").with_suffix("")
        with path.open() as handle:
            wall = sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
        log = folder / "logs" / name.with_suffix(".log")
        took = sum(seconds(found) for found in SPAN.finditer(log.read_text(errors="replace")))
        rule = name.parts[0]
        whole[rule] += wall
        inside[rule] += min(took, wall)
        jobs[rule] += 1
    if not whole:
        sys.exit(f"bench_overhead: {folder} holds no finished job, expected a run (make run)")
    print(f"{'rule':22}  jobs  seconds  engine or trainer  around it")
    for rule in sorted(whole, key=lambda rule: -whole[rule]):
        rest = whole[rule] - inside[rule]
        print(f"{rule:22}{jobs[rule]:6}{whole[rule]:9.0f}{inside[rule]:19.0f}{rest:11.0f}")
    total, used = sum(whole.values()), sum(inside.values())
    print(f"{'all':22}{sum(jobs.values()):6}{total:9.0f}{used:19.0f}{total - used:11.0f}")
    print(f"outside engine and trainer: {1 - used / total:.1%}")


if __name__ == "__main__":
    given = sys.argv[1] if sys.argv[1:] else "default"
    main(given if "/" not in given else "default")  # a MODEL_DIR is for the other benchmarks
