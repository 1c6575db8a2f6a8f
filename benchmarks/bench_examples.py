"""Memory, disk and time of a training's data for more and more examples, up to its second step.

Run: .venv/bin/python benchmarks/bench_examples.py [MODEL_DIR [EXAMPLES ...]]
Needs a checkpoint for its tokenizer; the default is results/default/models/base. `train_round` itself runs,
each time in a process of its own, on made-up rounds of up to 50,000 examples of about 300 tokens, with a
model of two narrow layers, and is stopped after two steps: what is measured is what grows with the examples.
The weights of a real model come on top. The last line gives the growth per 100,000 examples.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

ROUND = 50_000
WORDS = (45, 160)  # of a prompt and of a completion
TRAINING = {
    **{"method": "full", "last_layers": None, "epochs": 2, "batch_size": 8, "micro_batch_size": 2},
    **{"learning_rate": 1e-5, "weight_decay": 0.0, "warmup": 0.1, "max_length": 2048, "save_steps": 1000},
}


class _EnoughError(Exception):
    """The training has done its two steps."""


def write_rounds(folder: Path, count: int) -> list[str]:
    """Tables of so many examples in all; their words are those of the embedded labels."""
    import pyarrow as pa

    from alma.tables import SCHEMAS, assistant, user, write_columns

    words = (ROOT / "data" / "sft.jsonl").read_text(encoding="utf-8").split()
    dice, files = random.Random(0), []

    def row(number: int) -> dict[str, Any]:
        prompt, completion = (" ".join(dice.choices(words, k=length)) for length in WORDS)
        return {"prompt_id": str(number), "prompt": user(prompt), "completion": assistant(completion)}

    for start in range(0, count, ROUND):
        rows = [row(number) for number in range(start, min(start + ROUND, count))]
        files.append(str(folder / f"{start}.parquet"))
        write_columns(files[-1], "dataset", pa.Table.from_pylist(rows, schema=SCHEMAS["dataset"]))
    return files


def small_model(tokenizer_of: Path, folder: Path) -> None:
    """A checkpoint of two narrow layers with the tokenizer of another one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from alma.checkpoints import save_checkpoint
    from alma.tokenizer import load_tokenizer

    config = AutoConfig.from_pretrained(str(tokenizer_of), local_files_only=True)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 64, 128, 2
    config.num_attention_heads = config.num_key_value_heads = 4
    config.head_dim = 16
    torch.manual_seed(0)
    save_checkpoint(AutoModelForCausalLM.from_config(config), load_tokenizer(tokenizer_of), folder)


def train(model: Path, files: list[str], folder: Path, answer: Any) -> None:
    """Run `train_round` up to its second step; puts MiB at the peak so far, bytes and CPU seconds."""
    import train_round
    from transformers import TrainerCallback

    from alma import training
    from alma.training import write_examples

    sys.stdout = open("/dev/null", "w")  # noqa: SIM115

    def peak() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()  # getrusage knows the parent's as well
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    found: dict[str, float] = {"before": peak()}
    begin = time.process_time()

    def written(examples: Any, file: Path) -> str:
        found["rows"] = peak()
        digest = write_examples(examples, file)
        found["written"], found["bytes"] = peak(), file.stat().st_size
        return digest

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 2:
                raise _EnoughError

    training.write_examples = written
    training.follow = lambda *given: Stop()
    names = {"seed": [0, "round", 11], "device": "cpu", "objective": "best_of_n", "training": TRAINING}
    try:
        train_round.main(model, files, folder / "models" / "round-11", folder / "curve.csv", **names)
    except _EnoughError:
        found["steps"], found["seconds"] = peak(), time.process_time() - begin
    answer.put(found)


def asked(count: int) -> int:
    """`mem_mb` that `train_round` asks for, with the embedded model and so many examples in eleven rounds."""
    from alma.workflow.config import check_config, run_configs
    from alma.workflow.sizes import Sizes

    config = {
        "base_model": {"source": "package:smollm2-135m"},
        "rounds": 11,
        "prompts_per_round": count // 10,
        "prompts": {"clusters": count},
        "labels": {name: str(ROOT / "data" / f"{name}.jsonl") for name in ("sft", "judge")},
        "evaluation": {"benchmarks": {"everyday": str(ROOT / "data" / "eval.jsonl")}},
    }
    check_config(config)
    return Sizes(run_configs(config)[config["run"]], on_gpu=False).mem_mb("train_round", 12_000)


def main(model: Path, counts: list[int]) -> None:
    """Print one line per number of examples, and the growth."""
    context, lines = multiprocessing.get_context("spawn"), []
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            small_model(model, folder / "models" / "base")
            files = write_rounds(folder, count)
            answer = context.Queue()
            process = context.Process(target=train, args=(folder / "models" / "base", files, folder, answer))
            process.start()
            found = answer.get()
            process.join()
        lines.append(found)
        print(
            f"{count:,} examples: MiB {found['before']:.0f} before, {found['rows']:.0f} with the rows, "
            f"{found['written']:.0f} when they are written ({found['bytes'] / 2**20:.0f} MiB on disk), "
            f"{found['steps']:.0f} after two steps; {found['seconds']:.0f} CPU s; "
            f"asked for {asked(count):,} MB",
            flush=True,
        )
    if len(counts) > 1:
        parts = (counts[-1] - counts[0]) / 100_000
        rate = {key: (lines[-1][key] - lines[0][key]) / parts for key in ("steps", "bytes", "seconds")}
        print(
            f"per 100,000 examples: {rate['steps']:.0f} MiB of memory, "
            f"{rate['bytes'] / 2**20:.0f} MiB on disk, {rate['seconds']:.0f} CPU s"
        )


if __name__ == "__main__":
    given = sys.argv[1:]
    base = Path(given[0]) if given else ROOT / "results/default/models/base"
    if not (base / "tokenizer.json").is_file():
        sys.exit(f"bench_examples: {base} holds no tokenizer.json, expected a checkpoint")
    main(base, list(map(int, given[1:])) or [20_000, 80_000])
