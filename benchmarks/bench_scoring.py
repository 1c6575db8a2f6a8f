"""Responses scored a second by the judge, as the workflow scores them and in other ways.

Run: make bench   (or: .venv/bin/python benchmarks/bench_scoring.py [MODEL_DIR [PROMPTS [REPEATS]]])
Needs a finished judge; the default is results/default/models/judge. All ways score the same responses (four
to each of PROMPTS prompts, 6) in one process; the first five on one engine, whose prefix cache is emptied
before each:

exact             score_pairs with `judge.reading: exact`: two passes, prompts side by side
fast              the same with `fast`: one pass
shuffled          `fast` in random order, each response read without the cache
as text           the judge writes its rating, which is then read from the text: an integer
prompt_logprobs   eleven requests per response, each with one rating as the end of its prompt
transformers      one response at a time in float32, all ratings teacher-forced: the reference

Printed are medians of responses per second and per CPU second, ratios to `exact`, and how far the scores lie
from the reference.
"""

import json
import math
import random
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

ENGINE = {
    "device": "cpu",
    "dtype": "auto",
    "max_model_len": 512,
    "max_num_seqs": 64,
    "kv_cache_gib": 1,
    "gpu_memory_utilization": 0.5,
    "tensor_parallel_size": 1,
}
Pairs = list[tuple[str, str]]
Scores = list[float | None]


def pairs(prompts: int, responses: int = 4) -> Pairs:
    """(prompt, response) pairs from the embedded judge seeds: every prompt with several responses."""
    rows = [json.loads(line) for line in (ROOT / "data" / "judge.jsonl").read_text().splitlines()]
    texts = list(dict.fromkeys(row["prompt"] for row in rows))[:prompts]
    return [
        (text, rows[(7 * i + j) % len(rows)]["response"])
        for i, text in enumerate(texts)
        for j in range(responses)
    ]


def reference(model: Any, tokenizer: Any, texts: Pairs) -> Scores:
    """Expected ratings from transformers."""
    import torch

    from alma.chat_template import prompt_ids
    from alma.judging import PREFILL, expected_rating, judge_messages, rating_probabilities, rating_tokens

    scores: Scores = []
    for prompt, response in texts:
        ids = prompt_ids(tokenizer, judge_messages(prompt, response), PREFILL)
        log_p = []
        for rating in rating_tokens(tokenizer):
            with torch.inference_mode():
                logits = model(torch.tensor([[*ids, *rating]]), logits_to_keep=len(rating) + 1).logits[0]
            steps = logits.log_softmax(-1)
            log_p.append(sum(steps[i, token].item() for i, token in enumerate(rating)))
        scores.append(expected_rating(rating_probabilities(log_p)[0]))
    return scores


def ours(engine: Any, texts: Pairs, reading: str) -> Scores:
    """Scores of the workflow."""
    from alma.judging import score_pairs

    return [row["score"] for row in score_pairs(engine, texts, min_mass=0.0, reading=reading)]


def shuffled(engine: Any, texts: Pairs) -> Scores:
    """The requests of `fast`, in random order and without the prefix cache."""
    import vllm

    from alma.chat_template import prompt_ids
    from alma.judging import (
        PREFILL,
        expected_rating,
        first_tokens,
        judge_messages,
        rating_probabilities,
        rating_tokens,
    )

    order = random.Random(0).sample(range(len(texts)), len(texts))
    prompts = [prompt_ids(engine.tokenizer, judge_messages(*texts[i]), PREFILL) for i in order]
    real = vllm.SamplingParams
    vllm.SamplingParams = partial(real, skip_reading_prefix_cache=True)
    try:
        found = engine.rating_logprobs(prompts, first_tokens(rating_tokens(engine.tokenizer)), "shuffled")
    finally:
        vllm.SamplingParams = real
    scores: Scores = [None] * len(texts)
    for i, log_p in zip(order, found, strict=True):
        scores[i] = expected_rating(rating_probabilities(log_p)[0])
    return scores


def as_text(engine: Any, texts: Pairs) -> Scores:
    """The rating that the judge writes; None where it writes none."""
    from alma.chat_template import prompt_ids
    from alma.engine import Request
    from alma.judging import judge_messages

    requests = [
        Request(prompt_ids(engine.tokenizer, judge_messages(*pair)), 0, 0.0, 1.0, 12) for pair in texts
    ]
    ratings = [re.search(r"\[\[(\d+)\]\]", done.text) for done in engine.generate(requests, "as text")]
    return [float(rating[1]) if rating else None for rating in ratings]


def from_prompt_logprobs(engine: Any, texts: Pairs) -> Scores:
    """Expected ratings from the log-probabilities of eleven prompts per response."""
    from vllm import SamplingParams

    from alma.chat_template import prompt_ids
    from alma.judging import PREFILL, expected_rating, judge_messages, rating_probabilities, rating_tokens

    ratings = rating_tokens(engine.tokenizer)
    prompts = [
        {"prompt_token_ids": [*prompt_ids(engine.tokenizer, judge_messages(*pair), PREFILL), *rating]}
        for pair in texts
        for rating in ratings
    ]
    params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    log_p = [
        math.fsum(done.prompt_logprobs[-place][rating[-place]].logprob for place in range(1, len(rating) + 1))
        for done, rating in zip(
            engine.llm.generate(prompts, params, use_tqdm=False), ratings * len(texts), strict=True
        )
    ]
    return [
        expected_rating(rating_probabilities(log_p[i : i + len(ratings)])[0])
        for i in range(0, len(log_p), len(ratings))
    ]


def main(model_dir: Path, prompts: int = 6, repeats: int = 1) -> None:
    """Time all ways in turn and print the figures."""
    from alma.workflow.job import limit_threads

    limit_threads(2)
    from alma.checkpoints import load_model
    from alma.engine import open_engine

    texts = pairs(prompts)
    engine = open_engine(model_dir, ENGINE)
    model = load_model(model_dir, "float32")
    ways: dict[str, Callable[[Pairs], Scores]] = {
        "exact": partial(ours, engine, reading="exact"),
        "fast": partial(ours, engine, reading="fast"),
        "shuffled": partial(shuffled, engine),
        "as text": partial(as_text, engine),
        "prompt_logprobs": partial(from_prompt_logprobs, engine),
        "transformers": partial(reference, model, engine.tokenizer),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    scores: dict[str, Scores] = {}
    ways["fast"](texts[:2])  # not counted
    for _ in range(repeats):
        for name, way in ways.items():
            engine.llm.reset_prefix_cache()
            start = time.perf_counter(), time.process_time()
            scores[name] = way(texts)
            ends = time.perf_counter(), time.process_time()
            rates[name].append(tuple(len(texts) / (b - a) for a, b in zip(start, ends, strict=True)))
    print(f"{model_dir}: {len(texts)} responses, medians of {repeats}")
    exact = median(cpu for _, cpu in rates["exact"])
    for name in ways:
        wall, cpu = (median(values) for values in zip(*rates[name], strict=True))
        errors = [
            abs(a - b) for a, b in zip(scores[name], scores["transformers"], strict=True) if a is not None
        ]
        print(
            f"{name + ':':17} {wall:.2f} responses/s, {cpu:.2f} per CPU second (ratio {cpu / exact:.2f}); "
            f"error mean {fmean(errors):.1e}, largest {max(errors):.1e}; "
            f"without a score {len(texts) - len(errors)}"
        )


if __name__ == "__main__":
    given = sys.argv[1:]
    folder = Path(given[0]) if given else ROOT / "results" / "default" / "models" / "judge"
    if not (folder / "model.safetensors").is_file():
        sys.exit(f"{folder}: no checkpoint there; run `make run` first, or name the folder of a judge")
    main(folder, *(int(number) for number in given[1:]))
