"""Run the GPU paths on the embedded model, in minutes, and print what passes and how fast it is.

Run: make gpu-check   (or: .venv/bin/python tools/gpu_check.py; --dry runs the same steps on a CPU, smaller)

Every step is a process of its own, as a job is. The last lines tell tokens per second; `gpu-check.json` holds
them for `tools/plan --figures`, which is of use where `--model` names a checkpoint of the size to be run.
Exit status: 0 where all that ran passed, 1 where a step failed or there is no GPU.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from alma.workflow.devices import cuda_build, gpus_here

Options = dict[str, Any]
Result = dict[str, Any]  # note; of some steps: tokens (per second), kind (of tools/plan)


class Skipped(Exception):
    """A step that this machine cannot run, with the reason."""


def rows_of(name: str) -> list[Any]:
    """Rows of an embedded data set."""
    return [json.loads(line) for line in (ROOT / "data" / f"{name}.jsonl").read_text().splitlines()]


def defaults() -> Options:
    """A config with the schema's defaults."""
    from alma.workflow.config import check_config

    config: Options = {"base_model": "data", "labels": {"sft": "data/sft.jsonl", "judge": "data/judge.jsonl"}}
    config["evaluation"] = {"benchmarks": {"everyday": "data/eval.jsonl"}}
    check_config(config)
    return config


def engine_options(options: Options, **more: Any) -> Options:
    """The config's `engine` for a step: small, since other jobs may hold a part of the GPU."""
    small = {"max_model_len": 768, "kv_cache_gib": 1, "gpu_memory_utilization": 0.6}
    return defaults()["engine"] | small | {"device": options["device"]} | more


def asked(engine: Any, count: int, max_tokens: int) -> list[Any]:
    """Requests for texts, with a seed each."""
    from alma.chat_template import prompt_ids
    from alma.engine import Request

    prompts = [row["prompt"] for row in rows_of("sft") if isinstance(row.get("prompt"), str)]
    ids = [prompt_ids(engine.tokenizer, [{"role": "user", "content": text}]) for text in prompts]
    return [Request(ids[i % len(ids)], 1000 + 37 * i, 1.0, 0.95, max_tokens) for i in range(count)]


def opened(options: Options, **more: Any) -> tuple[Any, float]:
    """An engine, and the seconds until it was ready."""
    start = time.perf_counter()
    from alma.engine import open_engine

    engine = open_engine(options["model"], engine_options(options, **more))
    return engine, time.perf_counter() - start


def timed(engine: Any, requests: list[Any], what: str) -> tuple[list[Any], float]:
    """Completions, and tokens per second."""
    engine.llm.reset_prefix_cache()
    start = time.perf_counter()
    found = engine.generate(requests, what)
    return found, sum(done.tokens for done in found) / (time.perf_counter() - start)


# the steps


def device(options: Options) -> Result:
    """PyTorch sees the device, and computes in its type."""
    import torch

    if options["device"] == "cpu":
        return {"note": f"CPU, {os.cpu_count()} cores, PyTorch {torch.__version__}"}
    facts = torch.cuda.get_device_properties(0)
    assert torch.cuda.is_bf16_supported(), "the GPU has no bfloat16"
    x = torch.ones(1024, 1024, dtype=torch.bfloat16, device="cuda")
    assert float((x @ x)[0, 0]) == 1024
    count = torch.cuda.device_count()
    return {
        "note": f"{count} x {facts.name}, {facts.total_memory / 2**30:.0f} GiB, PyTorch {torch.__version__}"
    }


def leases(options: Options) -> Result:
    """Two jobs that want all GPUs: the second waits until the first has ended."""
    if options["device"] == "cpu":
        raise Skipped("a CPU is not leased")
    count = (
        len(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))
        if "CUDA_VISIBLE_DEVICES" in os.environ
        else gpus_here()
    )
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from alma.workflow.leases import lease;"
        "lease(int(sys.argv[2])); print('held', flush=True); time.sleep(float(sys.argv[3]))"
    )
    command = [sys.executable, "-c", program, str(ROOT / "scripts"), str(count)]
    first = subprocess.Popen([*command, "4"], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and "held" in first.stdout.readline()
    second = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=120)
    assert first.wait() == 0 and second.returncode == 0, second.stderr
    assert "waiting for" in second.stdout, "two jobs held the same GPUs"
    return {"note": f"{count} GPUs, never two jobs on one"}


def sampling(options: Options) -> Result:
    """Texts, again, and in another order; how many are the same is told and not asked for."""
    engine, start = opened(options)
    requests = asked(engine, options["requests"], options["max_tokens"])
    engine.generate(requests[:8], "warm-up")
    first, rate = timed(engine, requests, "sampling")
    assert all(done.tokens > 0 for done in first)
    again, _ = timed(engine, requests, "again")
    other, _ = timed(engine, requests[::-1], "in reverse")
    same = sum(a.text == b.text for a, b in zip(first, again, strict=True))
    turned = sum(a.text == b.text for a, b in zip(first, other[::-1], strict=True))
    note = f"ready in {start:.0f} s; the same texts: again {same}, reversed {turned} of {len(first)}"
    return {"tokens": rate, "kind": "decode", "note": note}


def parts(options: Options) -> Result:
    """The same texts, saved in four parts: what the engine loses as it runs empty at each."""
    from alma.workflow import parts as saved

    engine, _ = opened(options)
    requests = asked(engine, options["requests"], options["max_tokens"])
    engine.generate(requests[:8], "warm-up")
    _, whole = timed(engine, requests, "whole")
    saved.begin(
        Path(options["folder"]) / "parts" / "out", math.ceil(len(requests) / 4), {"check": time.time()}
    )
    _, cut = timed(engine, requests, "in parts")
    return {"tokens": cut, "note": f"{cut / whole:.2f} of the rate in one part"}


def scoring(options: Options) -> Result:
    """Ratings, against transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    from alma.chat_template import prompt_ids
    from alma.judging import PREFILL, first_tokens, judge_messages, rating_tokens

    engine, start = opened(options, head_dtype="float32")
    rows = rows_of("judge")
    ratings = first_tokens(rating_tokens(engine.tokenizer))
    ids = [prompt_ids(engine.tokenizer, judge_messages(r["prompt"], r["response"]), PREFILL) for r in rows]
    ids = [i for i in ids if len(i) < 700][: options["requests"]]
    engine.rating_logprobs(ids[:4], ratings, "warm-up")
    engine.llm.reset_prefix_cache()
    begun = time.perf_counter()
    found = engine.rating_logprobs(ids, ratings, "scoring")
    rate = sum(map(len, ids)) / (time.perf_counter() - begun)
    model = AutoModelForCausalLM.from_pretrained(options["model"], dtype=torch.float32)
    worst = 0.0
    for tokens, values in list(zip(ids, found, strict=True))[:8]:
        with torch.inference_mode():
            logits = model(torch.tensor([tokens]), logits_to_keep=1).logits[0, -1].float().log_softmax(-1)
        pairs = zip(ratings, values, strict=True)
        worst = max(worst, *(abs(logits[r[0]].exp().item() - math.exp(v)) for r, v in pairs if len(r) == 1))
    assert worst < (0.001 if options["device"] == "cpu" else 0.05), f"a probability is {worst:.3f} off"
    note = f"ready in {start:.0f} s; a rating's probability is at most {worst:.1e} off"
    return {"tokens": rate, "kind": "prefill", "note": note}


def embedding(options: Options) -> Result:
    """Vectors of prompts."""
    from alma.pooling import embed_texts, load_encoder

    texts = [row["prompt"] for row in rows_of("judge")][: options["requests"]]
    tokenizer, encoder = load_encoder(options["model"], options["device"])
    start = time.perf_counter()
    found = embed_texts(tokenizer, encoder, texts)
    rate = len(texts) / (time.perf_counter() - start)
    assert len(found) == len(texts) and all(math.isfinite(v) for v in found[0])
    return {"note": f"{rate:.0f} prompts/s"}


def _trained(options: Options, **changes: Any) -> Result:
    """A short training; its loss and its rate."""
    from alma.csv_tables import read_csv_table
    from alma.training import train_preferences, train_supervised

    pairs = rows_of("judge")
    user = [[{"role": "user", "content": row["prompt"]}] for row in pairs]
    said = [[{"role": "assistant", "content": row["response"]}] for row in pairs]
    count, dpo = options["examples"], changes.pop("dpo", False)
    small = {"epochs": 1, "batch_size": 8, "micro_batch_size": 4, "max_length": 768}
    training = defaults()["training"]["dpo" if dpo else "sft"] | small | changes
    name = f"check-{'dpo' if dpo else training['method']}"
    folder = Path(options["folder"])
    values: Options = {
        "seed": [0, name],
        "device": options["device"],
        "training": training,
        "key": "training",
    }
    start = time.perf_counter()
    if dpo:
        rows = [
            {"prompt": u, "chosen": c, "rejected": r} for u, c, r in zip(user, said, said[1:], strict=False)
        ]
        train_preferences(
            options["model"], rows[:count], folder / name, folder / f"{name}.csv", beta=0.1, **values
        )
    else:
        rows = [{"prompt": u, "completion": c} for u, c in zip(user, said, strict=True)]
        train_supervised(options["model"], rows[:count], folder / name, folder / f"{name}.csv", **values)
    spent = time.perf_counter() - start
    curve = read_csv_table(folder / f"{name}.csv", "training_curve")
    assert all(math.isfinite(float(row["loss"])) for row in curve)
    tokens = float(curve[-1]["tokens"]) / spent
    memory = ""
    if options["device"] != "cpu":
        import torch

        memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the GPU at most"
    return {"tokens": tokens, "note": f"{len(curve)} steps, loading and saving included{memory}"}


def train_full(options: Options) -> Result:
    """Supervised, all weights."""
    return _trained(options) | {"kind": "train"}


def second_start(options: Options) -> Result:
    """The engine with the checkpoint of `train_full`: it takes the graphs that the base model compiled."""
    model = Path(options["folder"]) / "check-full"
    if not (model / "SHA256SUMS").exists():
        raise Skipped("needs the checkpoint of train_full")
    engine, start = opened(options | {"model": str(model)})
    requests = asked(engine, 8, options["max_tokens"])
    assert all(done.tokens for done in engine.generate(requests))
    return {"note": f"ready in {start:.0f} s, to compare with sampling's"}


def train_lora(options: Options) -> Result:
    """Supervised, LoRA."""
    return _trained(options, method="lora")


def train_dpo(options: Options) -> Result:
    """Preference pairs."""
    return _trained(options, dpo=True, micro_batch_size=2)


def two_gpus(options: Options) -> Result:
    """One engine over two GPUs."""
    count = 0 if options["device"] == "cpu" else gpus_here()
    if count < 2:
        raise Skipped(f"needs two GPUs, found {count}")
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    engine, start = opened(options, tensor_parallel_size=2)
    requests = asked(engine, options["requests"], options["max_tokens"])
    _, rate = timed(engine, requests, "sampling on two")
    return {"tokens": rate, "note": f"ready in {start:.0f} s"}


STEPS: dict[str, Callable[[Options], Result]] = {
    step.__name__: step
    for step in (
        device,
        leases,
        sampling,
        parts,
        scoring,
        embedding,
        train_full,
        second_start,
        train_lora,
        train_dpo,
        two_gpus,
    )
}


def run_step(name: str, options: Options) -> None:
    """A step in this process; its result goes to a file."""
    from alma.workflow.job import limit_threads

    limit_threads(4 if options["device"] != "cpu" else 1)
    try:
        found = {"result": "pass"} | STEPS[name](options)
    except Skipped as reason:
        found = {"result": "skipped", "note": str(reason)}
    (Path(options["folder"]) / f"{name}.json").write_text(json.dumps(found))


def checked(name: str, options: Options) -> Result:
    """A step in a process of its own, with its log beside its result."""
    folder = Path(options["folder"])
    (folder / f"{name}.json").unlink(missing_ok=True)
    start = time.perf_counter()
    with (folder / f"{name}.log").open("w") as log:
        command = [sys.executable, __file__, "--child", name, json.dumps(options)]
        status = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT).returncode
    try:
        found = json.loads((folder / f"{name}.json").read_text())
    except FileNotFoundError:
        last = ((folder / f"{name}.log").read_text().strip().splitlines() or ["it printed nothing"])[-1]
        found = {"result": "FAIL", "note": f"status {status}: {last[:70]} ({folder / name}.log)"}
    return found | {"seconds": time.perf_counter() - start}


def table(results: dict[str, Result]) -> str:
    """One line per step."""
    lines = [f"{'step':<14}{'result':<9}{'tokens/s':>10}{'seconds':>9}  what was seen"]
    for name, found in results.items():
        rate = f"{found['tokens']:,.0f}" if "tokens" in found else "-"
        lines.append(f"{name:<14}{found['result']:<9}{rate:>10}{found['seconds']:>9.0f}  {found['note']}")
    return "\n".join(lines)


def base_model(folder: Path) -> str:
    """The embedded base model as a checkpoint, made once."""
    model = folder / "base"
    if not (model / "SHA256SUMS").exists():
        program = (
            "import sys; sys.path.insert(0, 'scripts'); import base_model;"
            "base_model.main(sys.argv[1], source='package:smollm2-135m',"
            "chat_template='templates/chatml.jinja', accept_terms=False)"
        )
        subprocess.run([sys.executable, "-c", program, str(model)], cwd=ROOT, check=True)
    return str(model)


def missing_gpu() -> str | None:
    """Why no GPU path can be run here; None where it can."""
    if not gpus_here():
        return "nvidia-smi lists no GPU on this machine"
    if not cuda_build():
        return "the environment holds PyTorch's CPU build (ENV=cuda bash envs/setup.sh makes the other)"
    return None


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="gpu-check", description="The GPU paths on a small model, in minutes."
    )
    parser.add_argument("--dry", action="store_true", help="the same steps on a CPU, smaller")
    parser.add_argument("--model", help="folder of a checkpoint (default: the embedded base model)")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), help="some of the steps")
    parser.add_argument("--folder", default=".cache/gpu-check", help="where logs and results go")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run the steps; returns the exit status."""
    options = arguments(given)
    why = None if options.dry else missing_gpu()
    if why:
        print(f"gpu-check: no GPU: {why}. Nothing was checked (--dry runs the steps on a CPU).")
        return 1
    folder = Path(options.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"requests": 8, "max_tokens": 16, "examples": 8} if options.dry else {}
    values = {"device": "cpu" if options.dry else "cuda", "folder": str(folder), "requests": 2048}
    values |= {"max_tokens": 128, "examples": 160, **sizes}
    values["model"] = str(Path(options.model).absolute()) if options.model else base_model(folder)
    results: dict[str, Result] = {}
    for name in options.only:
        print(f"gpu-check: {name} ...", flush=True)
        results[name] = checked(name, values)
    figures = {found["kind"]: found["tokens"] for found in results.values() if "kind" in found}
    (folder / "gpu-check.json").write_text(json.dumps(figures | {"results": results}, indent=1))
    print(table(results))
    failed = [name for name, found in results.items() if found["result"] == "FAIL"]
    what = "a dry run on a CPU, no GPU path" if options.dry else f"figures: {folder}/gpu-check.json"
    names = ": " * bool(failed) + ", ".join(failed)
    print(f"gpu-check: {len(failed)} of {len(results)} steps failed{names} ({what})")
    return int(bool(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_step(sys.argv[2], json.loads(sys.argv[3]))
    else:
        sys.exit(main())
