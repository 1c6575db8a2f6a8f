"""Tokens trained a second: alma's supervised training, against a bare TRL script with and without packing.

Run: make bench   (or: .venv/bin/python benchmarks/bench_trainer.py [MODEL_DIR [PAIRS [REPEATS]]])
Needs a checkpoint; the default is results/default/models/base. All ways make one epoch of full fine-tuning on
the first PAIRS (24) of data/sft.jsonl, in batches of 4, with fused AdamW, in float32 and with one thread:

TRL             SFTTrainer on prompts and completions, padded batches
TRL, packed     the same with packing=True, rows of 512 tokens
alma            alma.training.train_supervised as train_sft calls it (bench_training.py takes it apart)

Timed is `Trainer.train` alone, without loading and saving, each way in a process of its own. Printed are
tokens per second and per CPU second, medians, and their ratios to the bare script; tokens are those of the
examples, padding left out.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
WAYS = ("TRL", "TRL, packed", "alma")
TRAINING = {
    "method": "full",
    "last_layers": None,
    "learning_rate": 1.0e-5,
    "epochs": 1,
    "batch_size": 4,
    "micro_batch_size": 4,
    "max_length": 512,
    "warmup": 0.1,
    "weight_decay": 0.0,
    "save_steps": 1000,
}


def rows(count: int) -> list[dict[str, Any]]:
    """Prompts and completions, as lists of messages."""
    lines = (ROOT / "data" / "sft.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    return [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["response"]}],
        }
        for row in map(json.loads, lines)
    ]


def bare(model: str, data: list[dict[str, Any]], folder: Path, packing: bool) -> None:
    """A TRL script as its documentation has it, on a CPU."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=1 if packing else TRAINING["batch_size"],
        learning_rate=TRAINING["learning_rate"],
        optim="adamw_torch_fused",
        packing=packing,
        max_length=TRAINING["max_length"],
        model_init_kwargs={"dtype": "float32"},
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    SFTTrainer(model=model, args=config, train_dataset=Dataset.from_list(data)).train()


def child(way: str, model: str, count: int) -> None:
    """Train in one way; the last line says seconds, CPU seconds and tokens."""
    from alma.workflow.job import limit_threads

    limit_threads(1)
    import transformers

    from alma.checkpoints import eos_ids, load_model
    from alma.tokenizer import load_tokenizer
    from alma.training import train_supervised
    from alma.training_data import sft_examples

    spent: list[float] = []
    train = transformers.Trainer.train

    def timed(*args: Any, **options: Any) -> Any:
        start = time.perf_counter(), time.process_time()
        done = train(*args, **options)
        spent[:] = [time.perf_counter() - start[0], time.process_time() - start[1]]
        return done

    transformers.Trainer.train = timed
    data = rows(count)
    tokenizer = load_tokenizer(model)
    stops = eos_ids(load_model(model, "float32"), tokenizer)
    tokens = sum(len(example["input_ids"]) for example in sft_examples(tokenizer, data, stops, 512, "sft"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if way == "alma":
            options: dict[str, Any] = {"seed": [0], "device": "cpu", "training": TRAINING, "key": "sft"}
            train_supervised(model, data, folder / "sft-0", folder / "curve.csv", **options)
        else:
            bare(model, data, folder, way == "TRL, packed")
    print(json.dumps([*spent, tokens]), flush=True)


def main(model: str, count: int = 24, repeats: int = 1) -> None:
    """Run all ways in turn and print the figures."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            command = [sys.executable, __file__, "--child", way, model, str(count)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{way}: {done.stderr[-3000:]}")
            wall, cpu, tokens = json.loads(done.stdout.splitlines()[-1])
            found[way].append((tokens / wall, tokens / cpu))
    print(f"{model}: {count} pairs, {tokens} tokens, medians of {repeats}")
    base = [median(values) for values in zip(*found["TRL"], strict=True)]
    for way in WAYS:
        wall, cpu = (median(values) for values in zip(*found[way], strict=True))
        print(
            f"{way + ':':13} {wall:.1f} tokens/s (ratio {wall / base[0]:.2f}), "
            f"{cpu:.1f} per CPU second (ratio {cpu / base[1]:.2f})"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        sys.exit()
    given = sys.argv[1:]
    checkpoint = Path(given[0]) if given else ROOT / "results" / "default" / "models" / "base"
    if not (checkpoint / "model.safetensors").is_file():
        sys.exit(f"{checkpoint}: no checkpoint there; run `make run` first, or name the folder of a model")
    main(str(checkpoint), *(int(number) for number in given[1:]))
