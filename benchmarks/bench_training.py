"""Judge examples trained a second: padded batches, batches as one row, and only the upper layers.

Run: make bench   (or: .venv/bin/python benchmarks/bench_training.py [MODEL_DIR])
Needs a checkpoint; the default is results/default/models/base. Each way does forward and backward
passes over the same examples with one thread, no optimizer step; the last lines give the ratios to
padded batches and the largest relative difference of the loss.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
MICRO_BATCH = 6  # as in config.yaml


def judge_rows(count: int) -> list[dict[str, Any]]:
    """The first judge seeds, in the form of seeds/judge.parquet."""
    lines = (ROOT / "data" / "judge.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return [
        {"prompt_id": row["prompt"], "response_id": str(i), "annotator": 0}
        | {name: row[name] for name in ("prompt", "response", "score")}
        for i, row in enumerate(rows)
    ]


def padded_loss(model: Any, examples: list[dict[str, list[int]]]) -> Any:
    """Summed loss of a padded batch, logits of all positions, as a plain trainer computes it."""
    import torch
    from torch.nn.functional import cross_entropy

    from alma.training_data import IGNORED

    longest = max(len(example["input_ids"]) for example in examples)

    def filled(name: str, value: int) -> Any:
        return torch.tensor([e[name] + [value] * (longest - len(e[name])) for e in examples])

    mask = torch.tensor([[1] * len(e["input_ids"]) + [0] * (longest - len(e["input_ids"])) for e in examples])
    logits = model(input_ids=filled("input_ids", 0), attention_mask=mask, use_cache=False).logits
    labels = filled("labels", IGNORED)[:, 1:]
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels.flatten(), reduction="sum")


def main(model_dir: Path, count: int = 24) -> None:
    """Time the three ways and print the figures."""
    from alma.workflow.job import limit_threads

    limit_threads(1)
    from torch.nn.functional import cross_entropy

    from alma.checkpoints import eos_ids, load_model
    from alma.judge_training import human_ratings, judge_conversations
    from alma.tokenizer import load_tokenizer
    from alma.trainable import freeze_below
    from alma.training import row_loss
    from alma.training_data import one_row, sft_examples

    model, tokenizer = load_model(model_dir, "float32"), load_tokenizer(model_dir)
    conversations = judge_conversations(human_ratings(judge_rows(count)), [0])
    examples = list(sft_examples(tokenizer, conversations, eos_ids(model, tokenizer), 512, "judge.training"))
    batches = [examples[i : i + MICRO_BATCH] for i in range(0, len(examples), MICRO_BATCH)]

    def timed(loss_of: Callable[[Any], Any]) -> tuple[float, float]:
        model.zero_grad()
        start, total = time.perf_counter(), 0.0
        for batch in batches:
            loss = loss_of(batch)
            loss.backward()
            total += loss.item()
        return len(examples) / (time.perf_counter() - start), total

    def in_row(batch: Any) -> Any:
        return row_loss(model, one_row(batch), cross_entropy)[0]

    timed(in_row)  # warm-up
    ways = {"padded batches": timed(lambda batch: padded_loss(model, batch)), "one row": timed(in_row)}
    half = model.config.num_hidden_layers // 2
    freeze_below(model, {"last_layers": half}, "judge.training")
    ways[f"one row, last {half} layers"] = timed(in_row)
    base, base_loss = ways["padded batches"]
    for name, (speed, _) in ways.items():
        print(f"{name + ':':28} {speed:.2f} examples/s, ratio {speed / base:.2f}")
    worst = max(abs(loss / base_loss - 1) for _, loss in ways.values())
    print(f"largest relative difference of the loss {worst:.1e}")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "default" / "models" / "base"
    if not (folder / "model.safetensors").is_file():
        sys.exit(f"{folder}: no checkpoint there; run `make run` first, or name the folder of a model")
    main(folder)
