"""What bfloat16 costs a judge's scores, and what an output layer in float32 gives back.

Run: make bench   (or: .venv/bin/python benchmarks/bench_judge_dtype.py [MODEL_DIR])
Needs a judge of a run; the default is results/default/models/judge. The run's held-out rows are scored
with vLLM three times: all in float32 (the reference), all in bfloat16, and with bfloat16 weights and the
output layer in float32 (`judge.dtype: auto` on a GPU). Printed are the errors of the score (0-10), the
pairs of responses that change their order (to one prompt, and of all responses), and the accuracy on the
pairs of one prompt whose labels differ.
"""

import json
import math
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

ENGINE = {
    "device": "auto",
    "max_model_len": 768,
    "max_num_seqs": 64,
    "kv_cache_gib": 1,
    "gpu_memory_utilization": 0.5,
    "tensor_parallel_size": 1,
}
WAYS = {
    "float32": {"dtype": "float32", "head_dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16", "head_dtype": "bfloat16"},
    "bfloat16, output layer in float32": {"dtype": "bfloat16", "head_dtype": "float32"},
}


def heldout(folder: Path) -> list[dict[str, Any]]:
    """The held-out rows of the run that a judge belongs to, one per response."""
    from score_heldout import heldout_rows

    from alma.tables import read_table

    return heldout_rows(read_table(folder.parents[1] / "seeds" / "judge_heldout.parquet", "judge"))


def score(folder: Path, way: str) -> None:
    """Score the held-out rows in one way, in a process of its own; JSON on the last line."""
    from alma.workflow.job import limit_threads

    limit_threads(2)
    from alma.engine import open_engine
    from alma.judging import score_pairs

    pairs = [(row["prompt"], row["response"]) for row in heldout(folder)]
    results = score_pairs(open_engine(folder, ENGINE | WAYS[way]), pairs, min_mass=0.0)
    print(json.dumps([result["score"] for result in results]), flush=True)


def compare(rows: list[dict[str, Any]], exact: list[float], scores: list[float]) -> str:
    """One line: errors of `scores` against `exact`, and what becomes of the pairs of one prompt."""
    errors = sorted(abs(a - b) for a, b in zip(exact, scores, strict=True))
    by_prompt: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_prompt.setdefault(row["prompt_id"], []).append(i)
    pairs = [pair for group in by_prompt.values() for pair in combinations(group, 2)]
    anywhere = list(combinations(range(len(rows)), 2))

    def flipped(pairs: list[tuple[int, int]]) -> str:
        count = sum((exact[i] - exact[j]) * (scores[i] - scores[j]) < 0 for i, j in pairs)
        return f"{count} of {len(pairs)}"

    labels = [(i, j) for i, j in pairs if rows[i]["label"] != rows[j]["label"]]
    right = fmean(
        0.5 if scores[i] == scores[j] else (rows[i]["label"] > rows[j]["label"]) == (scores[i] > scores[j])
        for i, j in labels
    )
    p95 = errors[math.ceil(0.95 * len(errors)) - 1]
    return (
        f"error mean {fmean(errors):.4f}, 95% {p95:.4f}, largest {errors[-1]:.4f}; order flipped in "
        f"{flipped(pairs)} pairs of one prompt, {flipped(anywhere)} of all; accuracy {right:.3f}"
    )


def main(folder: Path) -> None:
    """Score in every way and print a line for each."""
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, str(folder), way]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{way}: {done.stderr[-2000:]}")
        found[way] = json.loads(done.stdout.splitlines()[-1])
    rows = heldout(folder)
    print(f"{folder}: {len(rows)} held-out responses, scores against float32")
    for way, scores in found.items():
        print(f"{way}: {compare(rows, found['float32'], scores)}")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "default" / "models" / "judge"
    if not (folder / "model.safetensors").is_file():
        sys.exit(f"{folder}: no checkpoint there; run `make run` first, or name the folder of a judge")
    if len(sys.argv) > 2:
        score(folder, sys.argv[2])
    else:
        main(folder)
