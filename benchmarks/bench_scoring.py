"""Responses scored a second by the judge: vLLM as the workflow runs it, against plain transformers.

Run: make bench   (or: .venv/bin/python benchmarks/bench_scoring.py [MODEL_DIR])
Needs a finished checkpoint; the default is results/default/models/judge. Both ways score the same
responses to the same prompts in the same process; printed are the ratio and the largest difference between
the scores. The last line compares the two readings of a rating (`judge.reading`) on more responses than the
engine's cache holds, where the second pass of `exact` cannot take the first one's.
"""

import json
import sys
import time
from pathlib import Path

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


def pairs(prompts: int = 12, responses: int = 8) -> list[tuple[str, str]]:
    """(prompt, response) pairs from the embedded judge seeds: every prompt with several responses."""
    rows = [json.loads(line) for line in (ROOT / "data" / "judge.jsonl").read_text().splitlines()]
    texts = list(dict.fromkeys(row["prompt"] for row in rows))[:prompts]
    return [
        (text, rows[(7 * i + j) % len(rows)]["response"])
        for i, text in enumerate(texts)
        for j in range(responses)
    ]


def reference_scores(model_dir: Path, texts: list[tuple[str, str]]) -> list[float]:
    """Expected ratings from transformers, one response at a time, all ratings teacher-forced."""
    import torch

    from alma.chat_template import prompt_ids
    from alma.checkpoints import load_model
    from alma.judging import PREFILL, expected_rating, judge_messages, rating_probabilities, rating_tokens
    from alma.tokenizer import load_tokenizer

    model, tokenizer = load_model(model_dir, "float32"), load_tokenizer(model_dir)
    scores = []
    for prompt, response in texts:
        ids = prompt_ids(tokenizer, judge_messages(prompt, response), PREFILL)
        log_p = []
        for rating in rating_tokens(tokenizer):
            with torch.inference_mode():
                logits = model(torch.tensor([[*ids, *rating]]), logits_to_keep=len(rating) + 1).logits[0]
            steps = logits.log_softmax(-1)
            log_p.append(sum(steps[i, token].item() for i, token in enumerate(rating)))
        p, _ = rating_probabilities(log_p)
        scores.append(expected_rating(p))
    return scores


def main(model_dir: Path) -> None:
    """Time both ways and print the figures."""
    from alma.workflow.job import limit_threads

    limit_threads(2)
    from alma.engine import open_engine
    from alma.judging import score_pairs

    texts = pairs()
    engine = open_engine(model_dir, ENGINE)
    score_pairs(engine, texts[:2], min_mass=0.0, what="warm-up")
    start = time.perf_counter()
    ours = [row["score"] for row in score_pairs(engine, texts, min_mass=0.0)]
    middle = time.perf_counter()
    theirs = reference_scores(model_dir, texts)
    end = time.perf_counter()
    fast, slow = len(texts) / (middle - start), len(texts) / (end - middle)
    worst = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    print(f"vLLM, shared prefixes cached: {fast:.2f} responses/s")
    print(f"transformers, one by one:     {slow:.2f} responses/s")
    print(f"ratio {fast / slow:.2f}, largest difference of a score {worst:.1e}")
    many = pairs(prompts=60)
    seconds, scores = {}, {}
    for reading in ("exact", "fast"):
        engine.llm.reset_prefix_cache()
        start = time.process_time()
        scores[reading] = [r["score"] for r in score_pairs(engine, many, min_mass=0.0, reading=reading)]
        seconds[reading] = time.process_time() - start
    errors = [abs(a - b) for a, b in zip(scores["exact"], scores["fast"], strict=True)]
    print(
        f"{len(many)} responses: exact {seconds['exact']:.0f} CPU seconds, fast {seconds['fast']:.0f}, "
        f"ratio {seconds['exact'] / seconds['fast']:.2f}; difference of a score: mean "
        f"{sum(errors) / len(errors):.1e}, largest {max(errors):.1e}"
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "default" / "models" / "judge"
    if not (folder / "model.safetensors").is_file():
        sys.exit(f"{folder}: no checkpoint there; run `make run` first, or name the folder of a judge")
    main(folder)
