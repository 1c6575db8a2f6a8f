"""Filters and duplicates of prompts: time and peak memory of each job, for more and more shards of one size.

Run: .venv/bin/python benchmarks/bench_prompts.py [MODEL_DIR [SHARD_SIZE [SHARDS ...]]]
Needs a checkpoint for its tokenizer; the default is results/default/models/base. Half of the prompts are
sentences of words drawn at random with the frequencies of a language (Zipf); a quarter repeats one of them in
other letters or punctuation, and a quarter has some of its words exchanged. Each job is a process of its own.
"""

import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

WORDS = 20_000


def some_prompts(shard: int, count: int) -> list[dict[str, Any]]:
    """Rows of a `raw_prompt` table."""
    from alma.ids import content_id

    words = [f"w{i}" for i in range(WORDS)]
    weights = [1 / (i + 10) for i in range(WORDS)]
    dice = random.Random(shard)
    texts: list[str] = []
    for number in range(count):
        kind = number % 4
        if kind < 2:
            text = "Please " + " ".join(dice.choices(words, weights, k=dice.randint(8, 30))) + "."
        else:
            own = dice.choice(texts).split()
            for _ in range(0 if kind == 2 else dice.randint(1, 3)):
                own[dice.randrange(len(own))] = dice.choice(words)
            text = " ".join(own).upper() + "!"
        texts.append(text)
    return [
        {
            "prompt_id": content_id("prompt", text),
            "prompt": text,
            "source": "synthetic",
            "examples": [],
            "finish_reason": "stop",
            "logprob": -round(dice.random(), 4),
        }
        for text in texts
    ]


def write_raw(path: str, shard: int, count: int) -> None:
    """One shard of raw prompts."""
    from alma.tables import write_table

    write_table(path, "raw_prompt", some_prompts(shard, count))


def _measured(job: Callable[..., None], arguments: Any, keys: Any, answer: Any) -> None:
    sys.stdout = open("/dev/null", "w")  # noqa: SIM115
    begin = time.process_time()
    job(*arguments, **keys)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.put((time.process_time() - begin, peak))


def measured(job: Callable[..., None], *arguments: Any, **keys: Any) -> tuple[float, float]:
    """CPU seconds and peak memory (MiB) of a job in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_measured, args=(job, arguments, keys, answer))
    process.start()
    found = answer.get()
    process.join()
    return found


def chain(folder: Path, model: Path, size: int, shards: int) -> dict[str, tuple[float, float]]:
    """{rule: largest CPU seconds and peak memory of its jobs} of a run of so many shards."""
    import compare_prompts
    import drop_duplicates
    import filter_prompts
    import unique_prompts

    from alma.tables import write_table

    def files(kind: str) -> list[str]:
        return [str(folder / f"{kind}{i}.parquet") for i in range(shards)]

    for name, kind in (("sft", "sft"), ("judge", "seed_prompt"), ("pairs", "judge_pair"), ("eval", "eval")):
        write_table(folder / f"{name}.parquet", kind, [])
    labels = [str(folder / f"{name}.parquet") for name in ("sft", "judge", "pairs", "eval")]
    band = {"perplexity_band": [0, 0.95]}
    of_text = {"seed": 0, "min_words": 4, "require_end": True, "min_function_words": 0, "blocked": []}
    of_text |= {"require_constraint": False, "overlap": 0.5, "max_model_len": 2048, "max_tokens": 512}
    found: dict[str, list[tuple[float, float]]] = {}
    for i in range(shards):
        raw, out = str(folder / "raw.parquet"), (files("filtered")[i], files("signatures")[i])
        measured(write_raw, raw, i, size)
        tokenizer = str(model / "tokenizer.json")
        one = measured(filter_prompts.main, raw, *labels, tokenizer, *out, **of_text)
        found.setdefault("filter_prompts", []).append(one)
    for i in range(shards):
        keys = {"part": i, "parts": shards, "near_duplicate": 0.7} | band
        out = files("duplicates")[i], files("near")[i]
        one = measured(compare_prompts.main, files("signatures"), files("filtered"), *out, **keys)
        found.setdefault("compare_prompts", []).append(one)
    out = [str(folder / name) for name in ("kept.parquet", "filters.csv", "quality.csv")]
    inputs = files("filtered"), files("duplicates"), files("near")
    found["drop_duplicates"] = [measured(drop_duplicates.main, *inputs, *out, **band)]
    for i in range(shards):
        one = measured(unique_prompts.main, files("filtered")[i], out[0], files("unique")[i], shard=i)
        found.setdefault("unique_prompts", []).append(one)
    return {rule: (max(s for s, _ in all_), max(m for _, m in all_)) for rule, all_ in found.items()}


def main(model: Path, size: int, counts: list[int]) -> None:
    """Print one line per rule and number of shards."""
    for shards in counts:
        with tempfile.TemporaryDirectory() as folder:
            found = chain(Path(folder), model, size, shards)
            removed = (Path(folder) / "filters.csv").read_text().split()
        print(f"{shards} shards of {size} prompts; {', '.join(r for r in removed if 'duplicate' in r)}")
        for rule, (seconds, peak) in found.items():
            print(f"  {rule}: at most {seconds:.1f} CPU s and {peak:.0f} MiB per job", flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    base = Path(given[0]) if given else ROOT / "results/default/models/base"
    if not (base / "tokenizer.json").is_file():
        sys.exit(f"bench_prompts: {base} holds no tokenizer.json, expected a checkpoint")
    main(base, int(given[1]) if given[1:] else 20_000, list(map(int, given[2:])) or [1, 2, 4, 8])
