"""Tokens sampled a second: the engine part of a sampling job, against vLLM's `LLM.generate` called directly.

Run: make bench   (or: .venv/bin/python benchmarks/bench_sampling.py [MODEL_DIR])
Needs a checkpoint; the default is results/default/models/base. One process, one engine, the same prompts,
seeds and parameters; the prefix cache is emptied before each run, and the ways take turns, five times:

direct          LLM.generate on token ids and finished parameters, without a progress bar
job             Engine.generate as scripts/sample_responses.py calls it: parameters made, progress in the log,
                completions as rows; so few responses are not saved in parts
job, 4 parts    the same where `engine.save_responses` cuts the job in four: each part is written to disk, and
                at the end of each the engine runs empty (bench_parts.py tells what that costs a large job)

All ways must give the same texts, or the benchmark fails. The start of the engine does not count. Printed
are medians of tokens per second and per CPU second, and their ratios to the direct way.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

REPEATS, PROMPTS, SAMPLES, TOKENS = 5, 16, 2, 32
UNITS = ("tokens/s", "tokens per CPU second")
ENGINE = {
    "device": "auto",
    "dtype": "auto",
    "max_model_len": 512,
    "max_num_seqs": 32,
    "kv_cache_gib": 1,
    "gpu_memory_utilization": 0.5,
    "tensor_parallel_size": 1,
}


def planned(engine: Any) -> list[Any]:
    """The requests of a sampling job: the first evaluation prompts, each with several samples."""
    from sample_responses import plan_requests

    from alma.chat_template import prompt_ids
    from alma.engine import Request
    from alma.ids import content_id
    from alma.tables import user

    lines = (ROOT / "data" / "eval.jsonl").read_text(encoding="utf-8").splitlines()[:PROMPTS]
    texts = {content_id(text): text for text in (json.loads(line)["prompt"] for line in lines)}
    ids = {name: prompt_ids(engine.tokenizer, user(text)) for name, text in texts.items()}
    plan = plan_requests([{"prompt_id": name} for name in texts], list(range(SAMPLES)), 0, 2, "sft-0")
    return [Request(ids[row["prompt_id"]], row["seed"], 0.7, 1.0, TOKENS) for row in plan]


def ways(engine: Any, requests: list[Any], folder: Path) -> dict[str, Callable[[], list[tuple[str, int]]]]:
    """Functions that sample all requests and give (text, tokens) of each."""
    from vllm import SamplingParams

    from alma.workflow import parts

    prompts = [{"prompt_token_ids": request.token_ids} for request in requests]
    params = [
        SamplingParams(seed=r.seed, temperature=r.temperature, top_p=r.top_p, max_tokens=r.max_tokens)
        for r in requests
    ]

    def direct() -> list[tuple[str, int]]:
        done = [one.outputs[0] for one in engine.llm.generate(prompts, params, use_tqdm=False)]
        return [(answer.text, len(answer.token_ids)) for answer in done]

    def job(size: int) -> list[tuple[str, int]]:
        output = folder / "responses.parquet"
        parts.begin(output, size, {})
        with contextlib.redirect_stdout(io.StringIO()):
            done = engine.generate(requests, "sampling sft-0")
        parts.forget(output)
        return [(answer.text, answer.tokens) for answer in done]

    return {
        "direct": direct,
        "job": lambda: job(10_000),
        "job, 4 parts": lambda: job(-(-len(requests) // 4)),
    }


def main(model: str) -> None:
    """Time all ways in turn and print the figures."""
    from alma.workflow.job import limit_threads

    limit_threads(1)  # as the demonstration's jobs; several threads wait for the slowest on a busy machine
    from alma.engine import open_engine

    engine = open_engine(model, ENGINE)
    requests = planned(engine)
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = ways(engine, requests, Path(folder))
        texts = runs["direct"]()  # not counted
        tokens = sum(count for _, count in texts)
        for _ in range(REPEATS):
            for name, run in runs.items():
                engine.llm.reset_prefix_cache()
                start = time.perf_counter(), time.process_time()
                if run() != texts:
                    sys.exit(f"{name}: other texts than LLM.generate gave the first time")
                wall.setdefault(name, []).append(tokens / (time.perf_counter() - start[0]))
                cpu.setdefault(name, []).append(tokens / (time.process_time() - start[1]))
                print(f"{name}: {wall[name][-1]:.1f} {UNITS[0]}", flush=True)
    print(f"{model}: {len(requests)} responses, {tokens} tokens, medians of {REPEATS}")
    for name in runs:
        rates = [(median(values[name]), median(values["direct"])) for values in (wall, cpu)]
        cells = [
            f"{own:.1f} {unit} (ratio {own / theirs:.3f})"
            for unit, (own, theirs) in zip(UNITS, rates, strict=True)
        ]
        print(f"{name + ':':14} {', '.join(cells)}")


if __name__ == "__main__":
    checkpoint = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "default" / "models" / "base"
    if not (checkpoint / "model.safetensors").is_file():
        sys.exit(f"{checkpoint}: no checkpoint there; run `make run` first, or name the folder of one")
    main(str(checkpoint))
