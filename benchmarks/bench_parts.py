"""What saved parts cost a sampling job: at the end of each the engine runs empty (engine.save_responses).

Run: make bench   (or: .venv/bin/python benchmarks/bench_parts.py [MODEL_DIR]; --count needs no model)
Needs a checkpoint; the default is results/default/models/base. The lengths of the responses are drawn
(exponential, four tenths of the limit on average, as tools/plan assumes), so that the model's own habits do
not count. First the engine's steps are counted without a model, for a sampling job of the paper's size: a
sequence that ends makes room for the next. Then vLLM's steps and CPU seconds are measured, for all responses
at once and in parts of several sizes, in units of `engine.max_num_seqs`; the default of 10,000 is 39 times
the default of 256. More steps are as much more time where a step takes the same time for any number of
sequences, and less where a step of few sequences is shorter.
"""

import heapq
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

SEQUENCES, TOKENS, TURNS = 8, 96, 117
SIZES = (4, 13, 39)  # each divides TURNS or nearly so
ENGINE = {
    "device": "cpu",
    "dtype": "auto",
    "max_model_len": 256,
    "max_num_seqs": SEQUENCES,
    "kv_cache_gib": 1,
    "gpu_memory_utilization": 0.5,
    "tensor_parallel_size": 1,
}


def drawn(count: int, most: int) -> list[int]:
    """Tokens of responses."""
    dice = random.Random(0)
    return [min(most, 1 + int(dice.expovariate(1 / (0.4 * most)))) for _ in range(count)]


def steps_of(lengths: list[int], sequences: int, size: int) -> int:
    """Steps of an engine that decodes so many sequences side by side, in parts of at most `size`."""
    total, count = 0, -(-len(lengths) // size)
    for part in range(count):
        ends = [0] * sequences
        for length in lengths[part * len(lengths) // count : (part + 1) * len(lengths) // count]:
            heapq.heappush(ends, heapq.heappop(ends) + length)
        total += max(ends)
    return total


def count() -> None:
    """Steps of one of the paper's sampling jobs (config/llama3-8b.yaml), at once and in parts."""
    lengths = drawn(167_500, 1024)
    whole = steps_of(lengths, 256, len(lengths))
    for size in (2_500, 10_000, 40_000):
        more = steps_of(lengths, 256, size) / whole - 1
        print(f"counted, {len(lengths)} responses, 256 at a time: parts of {size}: {more:+.1%} steps")


def main(model: str) -> None:
    """Sample the same texts whole and in parts, and print both."""
    from alma.workflow.job import limit_threads

    limit_threads(1)
    from alma.engine import Request, open_engine
    from alma.workflow import parts

    engine = open_engine(model, ENGINE)
    ids = engine.tokenizer("Write a short story about rain.")["input_ids"]
    lengths = drawn(SEQUENCES * TURNS, TOKENS)
    requests = [Request(ids, 1000 + 37 * i, 1.0, 1.0, length) for i, length in enumerate(lengths)]
    steps, step = [0], engine.llm.llm_engine.step

    def counted() -> list:
        steps[0] += 1
        return step()

    engine.llm.llm_engine.step = counted
    engine.generate(requests[:16], "warm-up")
    texts, found = None, {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (None, *SIZES):
            steps[0], start = 0, time.process_time()
            parts.begin(Path(folder) / f"{size}", size and size * SEQUENCES, {})
            done = [answer.text for answer in engine.generate(requests)]
            found[size] = steps[0], time.process_time() - start
            assert texts in (None, done), "a text depends on the part that it is sampled in"
            texts = done
    whole = found[None]
    print(f"at once: {whole[0]} steps, {whole[1]:.1f} CPU seconds, {sum(lengths)} tokens")
    for size in SIZES:
        more = [value / known - 1 for value, known in zip(found[size], whole, strict=True)]
        print(f"parts of {size} x max_num_seqs: {more[0]:+.1%} steps, {more[1]:+.1%} CPU seconds")


if __name__ == "__main__":
    count()
    given = [word for word in sys.argv[1:] if word != "--count"]
    folder = Path(given[0]) if given else ROOT / "results" / "default" / "models" / "base"
    if "--count" in sys.argv:
        sys.exit()
    if not (folder / "model.safetensors").is_file():
        sys.exit(f"{folder}: no checkpoint there; run `make run` first, or name the folder of one")
    main(str(folder))
