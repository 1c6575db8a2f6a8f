"""What selection costs: alma's expressions, the same in pandas, and row by row in plain Python.

Run: make bench   (or: .venv/bin/python benchmarks/bench_tables.py [RESPONSES])
Needs no model. Responses (200,000) are made up: 200 per prompt, of three checkpoints, in blocks of 20
samples, 80 words on average, one in seven a repeat. Each way runs five times, as a process of its own with
one thread, and writes the same bytes, or the benchmark fails. CPU seconds are those of the work, without
imports; the peak is the whole process's memory, in which pandas and polars are imported for every way. The
last lines give medians, and ratios to the way row by row. All ways share alma's rules for texts (`is_echo`,
`folded`).
"""

import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]
REPEATS = 5
SAMPLES, BLOCK, CHECKPOINTS = 200, 20, ("sft-0", "sft-1", "round-2")
OPTIONS: dict[str, Any] = {"seed": [0, 2], "selection": "best", "tie_tolerance": 1e-6}


def made_up(folder: Path, responses: int) -> None:
    """Files of one shard: prompts, and responses and scores per checkpoint and block."""
    from alma.ids import content_id
    from alma.tables import write_table

    dice = random.Random(0)
    vocabulary = [
        "".join(dice.choices("abcdefghijklmnoprstuvwyz", k=dice.randint(2, 9))) for _ in range(5000)
    ]
    words = dice.choices(vocabulary, k=200_000)

    def text(least: int, most: int) -> str:
        start, length = dice.randrange(len(words) - most), dice.randint(least, most)
        return " ".join(words[start : start + length]).capitalize() + "."

    prompts = [{"prompt_id": content_id(i), "prompt": text(6, 30)} for i in range(responses // SAMPLES)]
    more = {"source": "synthetic", "examples": [], "checks": "[]", "cluster": 0}
    write_table(folder / "prompts", "round_prompt", [row | more for row in prompts])
    for block, (place, checkpoint) in itertools.product(range(SAMPLES // BLOCK), enumerate(CHECKPOINTS)):
        rows, scores = [], []
        for prompt, sample in itertools.product(prompts, range(block * BLOCK, (block + 1) * BLOCK)):
            if sample % len(CHECKPOINTS) != place:
                continue
            repeated = rows and dice.random() < 1 / 7
            ids = {"response_id": content_id(prompt["prompt_id"], sample), "prompt_id": prompt["prompt_id"]}
            rows.append(
                ids
                | {"checkpoint": checkpoint, "sample": sample, "seed": dice.getrandbits(31), "tokens": 100}
                | {"response": rows[-1]["response"].upper() if repeated else text(10, 150)}
                | {"finish_reason": "length" if dice.random() < 0.1 else "stop"}
            )
            score = None if dice.random() < 0.01 else round(dice.uniform(0, 10), 2)
            scores.append(ids | {"score": score, "mass": 1.0, "p": [1 / 11] * 11})
        write_table(folder / f"responses/{checkpoint}-{block}", "response", rows)
        write_table(folder / f"scores/{checkpoint}-{block}", "score", scores)


def with_alma(prompts: Path, responses: list[Path], scores: list[Path], out: Path) -> None:
    """The script of the rule."""
    import select_responses

    select_responses.main(prompts, responses, scores, out, **OPTIONS)


def row_by_row(prompts: Path, responses: list[Path], scores: list[Path], out: Path) -> None:
    """Lists of dicts, one prompt after the other."""
    from select_by_rows import select

    from alma.tables import read_table, read_tables, write_table

    by_id = {row["response_id"]: row["score"] for row in read_tables(scores, "score")}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in read_tables(responses, "response"):
        found.setdefault(row["prompt_id"], []).append(row | {"score": by_id[row["response_id"]]})
    asked = read_table(prompts, "round_prompt")
    chosen = [select(row, found.get(row["prompt_id"], []), **OPTIONS) for row in asked]
    write_table(out, "selected", [row for row in chosen if row])


def with_pandas(prompts: Path, responses: list[Path], scores: list[Path], out: Path) -> None:
    """All rows of the shard in one data frame."""
    import pandas as pd
    import pyarrow as pa

    from alma.duplicates import folded
    from alma.ids import hashed_ints
    from alma.selection import is_echo
    from alma.tables import SCHEMAS, write_columns

    seed, tolerance = OPTIONS["seed"], OPTIONS["tie_tolerance"]

    def table(paths: list[Path], columns: list[str]) -> Any:
        return pd.concat([pd.read_parquet(path, columns=columns) for path in paths])

    asked = table([prompts], ["prompt_id", "prompt"])
    rows = table(responses, ["response_id", "prompt_id", "sample", "response", "finish_reason"])
    rows = rows.merge(table(scores, ["response_id", "score"]), on="response_id").merge(asked, on="prompt_id")
    rows = rows[(rows["finish_reason"] == "stop") & rows["score"].notna()]
    said = [
        any(char.isalnum() for char in response) and not is_echo(prompt, response)
        for prompt, response in zip(rows["prompt"], rows["response"], strict=True)
    ]
    rows = rows[said].sort_values(["sample", "response_id"])
    rows["text"] = rows["response"].map(folded)
    rows["weight"] = rows.groupby(["prompt_id", "text"])["response_id"].transform("size")
    rows = rows.drop_duplicates(["prompt_id", "text"])
    drawn = zip(hashed_ints((seed, "random"), rows["response_id"]), rows["weight"], strict=True)
    rows["random"] = [1.0 - ((number + 1) / 2**63) ** (1.0 / weight) for number, weight in drawn]
    groups = rows.groupby("prompt_id")
    rows["candidates"] = groups["response_id"].transform("size").astype("int32")
    tied = rows[rows["score"] >= groups["score"].transform("max") - tolerance].copy()
    tied["tie"] = hashed_ints((seed, "best"), tied["response_id"])
    chosen = tied.sort_values("tie").drop_duplicates("prompt_id")
    names = {"response": "chosen", "score": "chosen_score", "response_id": "chosen_id"}
    chosen = chosen[["prompt_id", "candidates", *names]].rename(columns=names)
    pairs = rows.merge(chosen[["prompt_id", "chosen_score"]], on="prompt_id")
    pairs = pairs[pairs["score"] < pairs["chosen_score"] - tolerance]
    rejected = pairs.sort_values("random").drop_duplicates("prompt_id")
    names = {"response": "rejected", "score": "rejected_score", "response_id": "rejected_id"}
    rejected = rejected[["prompt_id", *names]].rename(columns=names)
    found = asked.merge(chosen, on="prompt_id").merge(rejected, on="prompt_id", how="left")
    schema = SCHEMAS["selected"]
    whole = pa.Table.from_pandas(found[schema.names], preserve_index=False)
    write_columns(out, "selected", whole.replace_schema_metadata().cast(schema))


WAYS = {"row by row": row_by_row, "pandas": with_pandas, "alma": with_alma}


def one_run(way: str, folder: Path, out: Path) -> None:
    """Select in this process, which is a child, and print its seconds and its peak memory in GB."""
    from alma.workflow.job import limit_threads

    limit_threads(1)
    import pandas  # noqa: F401
    import polars  # noqa: F401

    files = [sorted((folder / name).iterdir()) for name in ("responses", "scores")]
    wall, cpu = time.perf_counter(), time.process_time()
    WAYS[way](folder / "prompts", *files, out)
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps([*seconds, peak]))


def main(responses: int) -> None:
    """Run the ways in turn and print the medians."""
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_up(folder, responses)
        written = set()
        for _ in range(REPEATS):
            for way in WAYS:
                command = [sys.executable, __file__, "--child", way, name, str(folder / "out")]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
                written.add((folder / "out").read_bytes())
        assert len(written) == 1, "the ways do not write the same table"
    base = [median(values) for values in zip(*found["row by row"], strict=True)]
    for way, runs in found.items():
        wall, cpu, peak = (median(values) for values in zip(*runs, strict=True))
        print(
            f"{way + ':':12} {wall:.1f} s, {cpu:.1f} CPU seconds ({cpu / base[1]:.2f}), "
            f"peak {peak:.2f} GB ({peak / base[2]:.2f})"
        )


if __name__ == "__main__":
    if "--child" in sys.argv:
        one_run(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
