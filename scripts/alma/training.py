"""Fine-tune a checkpoint with TRL: supervised, or on preference pairs.

Same inputs, same machine and same number of threads give the same bytes, also after a kill and a
restart (see `alma.workflow.resume`). The learning rate rises linearly over the `warmup` share of the steps
and falls along a cosine to a tenth of its peak; AdamW; gradients are clipped to norm 1.

On a CPU everything is float32. On a GPU full fine-tuning keeps float32 weights under bfloat16
autocast with gradient checkpointing, LoRA keeps the base in bfloat16, and the checkpoint is saved
in bfloat16. On several GPUs (`alma.sharded`) the job starts one process per GPU; the examples of a step
are the same.
"""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alma import sharded
from alma.checkpoints import eos_ids, load_model, save_checkpoint
from alma.csv_tables import write_csv_table
from alma.errors import InputError
from alma.example_store import read_examples, write_examples
from alma.ids import hashed_int
from alma.tokenizer import load_tokenizer
from alma.trace.provenance import file_hash, package_versions
from alma.trainable import freeze_below, lora_config
from alma.training_data import IGNORED, one_row, padded, preference_examples, sft_examples
from alma.workflow import resume, tracking
from alma.workflow.codehash import code_hash


def choose_device(device: str, gpus: int = 1) -> str:
    """ "cpu" or "cuda" for the config's `engine.device` (auto takes GPUs if there are any).

    Of more visible GPUs than `gpus` it takes the first.

    Raises:
        InputError: cuda is asked for and there is none, or there are fewer than `gpus`.
    """
    if device != "cpu":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible.split(",")[:gpus])
    import torch

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise InputError("engine.device: found cuda, but PyTorch sees no GPU; use auto or cpu")
    if there and device != "cpu" and torch.cuda.device_count() < gpus:
        raise InputError(f"gpus: found {gpus}, but PyTorch sees {torch.cuda.device_count()}")
    return "cuda" if there and device != "cpu" else "cpu"


def total_steps(examples: int, training: dict[str, Any]) -> int:
    """Optimizer steps of a training: epochs times the batches of an epoch, the last one short."""
    micro_batches = math.ceil(examples / training["micro_batch_size"])
    per_epoch = math.ceil(micro_batches * training["micro_batch_size"] / training["batch_size"])
    return math.ceil(training["epochs"] * per_epoch)


def arguments(
    training: dict[str, Any], *, steps: int, seed: int, device: str, folder: Path, processes: int = 1
) -> dict[str, Any]:
    """Keyword arguments of TRL's SFTConfig and DPOConfig.

    Args:
        training: the config's training (`$defs/training` of the schema).
        steps: optimizer steps in all.
        seed: 0 <= seed < 2**31; of the order of the examples and of LoRA's first weights.
        device: "cpu" or "cuda".
        folder: where the trainer saves its state.
        processes: between which each step's examples are dealt.
    """
    gpu = device == "cuda"
    values = {
        "output_dir": str(folder),
        "seed": seed,
        "data_seed": seed,
        "per_device_train_batch_size": training["micro_batch_size"],
        "gradient_accumulation_steps": training["batch_size"] // (training["micro_batch_size"] * processes),
        "num_train_epochs": training["epochs"],
        "learning_rate": training["learning_rate"],
        # This variant's first and last steps move the weights too; plain cosine starts and ends at 0.
        "lr_scheduler_type": "cosine_warmup_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": round(training["warmup"] * steps),
        "weight_decay": training["weight_decay"],
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "use_cpu": not gpu,
        "bf16": gpu,
        "gradient_checkpointing": gpu and training["method"] == "full",
        "max_length": None,  # too long examples are already left out
        "save_strategy": "steps",
        "save_steps": training["save_steps"],
        "save_total_limit": 2,  # a kill while one is written leaves the one before
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
    }
    return values | (sharded.fsdp_arguments() if processes > 1 else {})


@contextmanager
def _deterministic(device: str) -> Iterator[None]:
    """Deterministic kernels only, on a CPU; on a GPU equal bytes are not promised."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(device == "cpu" or before)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it only costs time here
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def _quiet() -> None:
    """No progress bars and no telemetry; the log has its own steady line."""
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def follow(name: str, key: str) -> Any:
    """Trainer callback: the line in the log, whole saves only, no save after the last step."""
    from transformers import TrainerCallback

    class Follow(TrainerCallback):
        def __init__(self) -> None:
            self.start = self.last = time.monotonic()
            self.first_step = self.first_tokens = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.start = time.monotonic()
            self.first_step, self.first_tokens = state.global_step, state.num_input_tokens_seen

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step >= state.max_steps:
                control.should_save = False  # the checkpoint itself follows

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            sharded.wait()  # each process has written its part
            if sharded.is_first():
                resume.mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" not in (logs or {}):
                return
            if not math.isfinite(logs["loss"]):
                raise InputError(
                    f"{key}.learning_rate: the loss is {logs['loss']} at step {state.global_step}; "
                    f"training has diverged with {args.learning_rate}, use a lower rate"
                )
            now, step, total = time.monotonic(), state.global_step, state.max_steps
            if (now - self.last < 5 and step < total) or not sharded.is_first():
                return
            self.last = now
            took = max(now - self.start, 1e-9)
            speed = (state.num_input_tokens_seen - self.first_tokens) / took
            left = took / max(step - self.first_step, 1) * (total - step)
            ending = f"{_clock(left)} left" if step < total else f"took {_clock(took)}"
            print(
                f"{name}: {step}/{total} steps, loss {logs['loss']:.4f}, {speed:.0f} tokens/s, {ending}",
                flush=True,
            )

    return Follow()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _trainer_class(base: Any, shuffle: bool = True) -> Any:
    """A TRL trainer class without model cards and telemetry, which may keep the order of the examples."""
    from torch.utils.data import SequentialSampler

    class Trainer(base):
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            if shuffle:
                return super()._get_train_sampler(*args, **kwargs)
            return SequentialSampler(self.train_dataset)

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            pass

        def _send_telemetry(self) -> None:
            pass

    return Trainer


def _loss_trainer_class(base: Any, loss_of: Any) -> Any:
    """`SFTTrainer` with a loss of our own.

    On a CPU TRL's fused output layer computes the logits of every position, of the prompt too; `row_loss`
    computes only those in the loss, through the model's own `logits_to_keep`. On a GPU the fused layer
    skips the others by itself, but it does not know soft targets.

    Args:
        loss_of: function of a model and a batch that gives the summed loss and the number of labels.
    """

    class LossTrainer(base):
        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            loss, count = loss_of(model, inputs)
            loss = loss / (count if num_items_in_batch is None else num_items_in_batch)
            # The labels are counted over all processes, whose gradients are averaged.
            return loss * sharded.count() if sharded.count() > 1 else loss

    return LossTrainer


def row_loss(model: Any, batch: dict[str, Any], cross_entropy: Any, term: Any = None) -> tuple[Any, int]:
    """Summed loss (nats, float32 scalar) of a batch of `one_row`, and the number of its labels.

    `term` gives, from the logits of a batch's ratings and the batch, what is added to the mean loss per
    label (`alma.judge_training.RatingTerms`).
    """
    targets = batch["shift_labels"][0]
    soft = batch.get("soft_columns")
    wanted = targets != IGNORED
    count = int(wanted.sum())
    if soft is not None:
        wanted = wanted.index_fill(0, soft, True)
        targets = targets.index_fill(0, soft, IGNORED)
    if term is not None:
        rated = batch["rated_columns"]
        wanted = wanted.index_fill(0, rated.flatten(), True)
    kept = wanted.nonzero().flatten()
    logits = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        attention_mask=batch.get("attention_mask"),
        logits_to_keep=kept,
        use_cache=False,
    ).logits[0]
    loss = cross_entropy(logits.float(), targets[kept], reduction="sum")
    if soft is not None:
        places = wanted.cumsum(0)[soft] - 1  # among those kept
        loss = loss + soft_loss(logits[places], batch)
    if term is not None:
        loss = loss + count * term(logits[wanted.cumsum(0)[rated] - 1], batch)
    return loss, count


def padded_loss(model: Any, batch: dict[str, Any], term: Any = None) -> tuple[Any, int]:
    """As `row_loss`, of a batch of `padded`."""
    from torch.nn.functional import cross_entropy

    targets = batch["shift_labels"]
    kept = targets != IGNORED
    count = int(kept.sum())
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).logits
    soft = (batch["soft_rows"], batch["soft_columns"]) if "soft_rows" in batch else None
    if soft is not None:
        kept[soft] = False
    loss = cross_entropy(logits[kept].float(), targets[kept], reduction="sum")
    if soft is not None:
        loss = loss + soft_loss(logits[soft], batch)
    if term is not None:
        loss = loss + count * term(logits[batch["rated_rows"], batch["rated_columns"]], batch)
    return loss, count


def soft_loss(logits: Any, batch: dict[str, Any]) -> Any:
    """Sum over soft targets of weight times cross-entropy (nats); one row of logits per soft target."""
    log_p = logits.float().log_softmax(-1).gather(1, batch["soft_tokens"][:, None])[:, 0]
    return -(batch["soft_weights"] * log_p).sum()


def takes_rows(model: Any, examples: list[dict[str, Any]], lay_out: Any = one_row) -> bool:
    """Whether a model gives the same loss for two examples in one row as for each one alone.

    It does not where attention is not plain (a sliding window, a recurrent layer), or where the
    model does not take a mask of its own; then batches are padded. The longest examples are tried,
    since a window shows only in those.

    Args:
        lay_out: function of examples that gives the row, `one_row` or `flat_row`.
    """
    import torch
    from torch.nn.functional import cross_entropy

    longest = [
        {name: example[name] for name in ("input_ids", "labels")}
        for example in sorted(examples, key=lambda example: -len(example["input_ids"]))[:2]
    ]
    alone = 0.0
    try:
        with torch.no_grad():
            for example in longest:
                ids = torch.tensor([example["input_ids"]], device=model.device)
                targets = torch.tensor(example["labels"][1:], device=model.device)
                logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
                alone += float(cross_entropy(logits, targets, reduction="sum"))
            batch = {name: value.to(model.device) for name, value in lay_out(longest).items()}
            together = float(row_loss(model, batch, cross_entropy)[0])
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        print(f"batches: padded, since the model does not take a row of examples ({error})")
        return False
    tolerance = 1e-3 if model.dtype == torch.float32 else 2e-2
    same = abs(together - alone) <= tolerance * abs(alone)
    if not same:
        print(f"batches: padded, since a row of examples changes the loss ({together} != {alone})")
    return same


def flat_row(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """The row that TRL makes of a micro-batch on GPUs: example after example, told apart by positions."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(examples)
    targets = torch.full_like(batch["labels"], IGNORED)
    targets[:, :-1] = batch["labels"][:, 1:]
    return {name: batch[name] for name in ("input_ids", "position_ids")} | {"shift_labels": targets}


def _tried(start: Any, examples: Any, lay_out: Any) -> bool:
    """`takes_rows` for a data set of examples.

    Of several processes the first tries it on a CPU, so there examples are cut to what any model computes in
    seconds, and a window, which does not show in those, is looked up.
    """
    from pyarrow.compute import list_value_length

    lengths = list_value_length(examples.data.column("input_ids")).to_pylist()
    longest = [examples[i] for i in sorted(range(len(lengths)), key=lambda i: -lengths[i])[:2]]
    if sharded.count() == 1:
        return takes_rows(start, longest, lay_out)
    config = start.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    window = bool(getattr(config, "sliding_window", None))
    windowed = set(kinds) != {"full_attention"} if kinds else window
    if lay_out is one_row and windowed:
        print("batches: padded, since the model has layers with a window")
        return False
    cut = [example["input_ids"][:64] for example in longest]
    halves = [{"input_ids": ids, "labels": [IGNORED] * (len(ids) // 2) + ids[len(ids) // 2 :]} for ids in cut]
    return sharded.told_by_first(lambda: takes_rows(start, halves, lay_out))


ATTENTION = "sdpa"  # what a model is loaded with; it needs no other package and takes every row


def check_attention(training: dict[str, Any]) -> None:
    """Raises InputError: `training.attention` needs what this environment does not have."""
    from transformers.utils import is_flash_attn_2_available, is_torch_flex_attn_available

    found = training.get("attention", ATTENTION)
    there = {"flash_attention_2": is_flash_attn_2_available, "flex_attention": is_torch_flex_attn_available}
    if found in there and not there[found]():
        raise InputError(
            f"training.attention: found {found}, but this environment does not have it "
            f"(flash_attention_2 needs a GPU and the package flash-attn); use {ATTENTION}"
        )


@dataclass(frozen=True)
class _Job:
    """What every process of a training knows: plain values."""

    model: Path
    checkpoint: Path
    curve: Path
    seed: list[Any]
    device: str
    training: dict[str, Any]
    key: str
    processes: int

    @property
    def folder(self) -> Path:
        return resume.resume_folder(self.checkpoint)

    def arguments(self, examples: int) -> dict[str, Any]:
        return arguments(
            self.training,
            steps=total_steps(examples, self.training),
            seed=hashed_int(*self.seed, bits=31),
            device=self.device,
            folder=self.folder,
            processes=self.processes,
        )


def _job(
    model: str | Path,
    checkpoint: str | Path,
    curve: str | Path,
    *,
    seed: list[Any],
    device: str,
    training: dict[str, Any],
    key: str,
    cpu_processes: int,
) -> _Job:
    gpus = training.get("gpus", 1)
    device = choose_device(device, gpus)
    processes = gpus if device == "cuda" else cpu_processes
    if training["batch_size"] % (training["micro_batch_size"] * processes):
        raise InputError(
            f"{key}.batch_size: found {training['batch_size']}, expected a multiple of "
            f"micro_batch_size x gpus ({training['micro_batch_size']} x {processes})"
        )
    if device == "cuda":
        check_attention(training)
    return _Job(Path(model), Path(checkpoint), Path(curve), seed, device, training, key, processes)


def _facts(job: _Job, examples: str, **more: Any) -> dict[str, Any]:
    """Everything that decides the result of a training, for `alma.workflow.resume`.

    `examples` is the hash of their file.
    """
    import torch

    unused = ("save_steps", "report_to", "gpus")
    return {
        "training": {k: v for k, v in job.training.items() if k not in unused},
        "weights": file_hash(job.model / "model.safetensors"),
        "examples": examples,
        "code": code_hash(Path(__file__)),
        "packages": package_versions(),
        "threads": torch.get_num_threads(),
        "seed": job.seed,
        "device": job.device,
        "processes": job.processes,
        **more,
    }


def _load(job: _Job) -> tuple[Any, Any, list[int]]:
    """Model, tokenizer and end-of-sequence ids of the checkpoint that training starts from."""
    half = job.device == "cuda" and job.training["method"] == "lora"
    loaded = load_model(job.model, "bfloat16" if half else "float32")
    freeze_below(loaded, job.training, job.key)
    tokenizer = load_tokenizer(job.model)
    return (
        loaded if job.processes > 1 else loaded.to(job.device),
        tokenizer,
        eos_ids(loaded, tokenizer),
    )


def _load_tokenizer(job: _Job) -> tuple[Any, list[int]]:
    """Tokenizer and end-of-sequence ids, without the weights."""
    from transformers import AutoConfig, GenerationConfig

    tokenizer = load_tokenizer(job.model)
    declared = SimpleNamespace(
        config=AutoConfig.from_pretrained(str(job.model), local_files_only=True, trust_remote_code=False),
        generation_config=GenerationConfig.from_pretrained(str(job.model), local_files_only=True),
    )
    return tokenizer, eos_ids(declared, tokenizer)


def _fit(job: _Job, fit: Any, make_examples: Any, known: dict[str, Any], options: dict[str, Any]) -> None:
    """Train, in this process or in several, and write checkpoint and curve.

    Args:
        fit: `_fit_supervised` or `_fit_preferences`.
        make_examples: function of the tokenizer and the end-of-sequence ids that gives an iterator.
        known: facts beside those of the job.
        options: what `fit` takes beside what all trainings have.
    """
    _quiet()
    if job.processes == 1:
        start, tokenizer, stop_ids = _load(job)
    else:
        tokenizer, stop_ids = _load_tokenizer(job)
    file = resume.data_folder(job.checkpoint, anew=True) / "examples.arrow"
    examples = write_examples(make_examples(tokenizer, stop_ids), file)
    state = resume.last_checkpoint(job.folder, _facts(job, examples, **known))
    if job.processes == 1:
        fit(job, start, tokenizer, read_examples(file), state, **options)
    else:
        print(f"training in {job.processes} processes", flush=True)
        sharded.launch(
            job.processes, _process, job, fit, file, state, options, device=job.device, folder=job.folder
        )
    resume.forget(job.checkpoint)


def _process(job: _Job, fit: Any, file: Path, state: Path | None, options: dict[str, Any]) -> None:
    """One of several processes of a training."""
    _quiet()
    start, tokenizer, _ = _load(job)
    fit(job, start, tokenizer, read_examples(file), state, **options)


def _attend(start: Any, job: _Job) -> None:
    """Give the model the attention of `training.attention`; a CPU keeps what it was loaded with."""
    wanted = job.training.get("attention", ATTENTION)
    if job.device == "cuda" and wanted != ATTENTION:
        start.set_attn_implementation(wanted)


def _run(trainer: Any, state: Path | None, job: _Job) -> None:
    """Train from a saved state, or from the start."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(follow(job.checkpoint.name, job.key))
    if sharded.is_first():
        tracking.attach(trainer, job.training.get("report_to", []), job.checkpoint)
        if state is not None:
            print(f"resume: from step {state.name.split('-')[1]}", flush=True)
    trainer.train(resume_from_checkpoint=str(state) if state else None)


def _finish(trainer: Any, tokenizer: Any, job: _Job) -> None:
    """Write checkpoint and curve."""
    import torch

    dtype = torch.bfloat16 if job.device == "cuda" else torch.float32
    if job.processes > 1:
        weights = sharded.gathered(trainer)
        model = _whole(job, weights, dtype) if sharded.is_first() else None
    else:
        model = trainer.accelerator.unwrap_model(trainer.model)
    if model is not None:
        logged = [row for row in trainer.state.log_history if "loss" in row]
        same = ("step", "epoch", "loss", "learning_rate")
        rows = [
            {name: row[name] for name in same} | {"tokens": int(row["num_input_tokens_seen"])}
            for row in logged
        ]
        write_csv_table(job.curve, "training_curve", rows)
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload()
        save_checkpoint(model.to(dtype), tokenizer, job.checkpoint)
    sharded.wait()


def _whole(job: _Job, weights: dict[str, Any], dtype: Any) -> Any:
    """The model with the weights that were gathered from all processes, on the CPU."""
    model = load_model(job.model, str(dtype).removeprefix("torch."))
    adapters = lora_config(model, job.training, job.key)
    if adapters is not None:
        from peft import get_peft_model

        model = get_peft_model(model, adapters)
    missing, unknown = model.load_state_dict(weights, strict=False)
    tied = (
        {name for name in missing if name.endswith("lm_head.weight")}
        if model.config.tie_word_embeddings
        else set()
    )
    if unknown or set(missing) - tied:
        raise ValueError(f"the weights of the processes are not those of the model: {missing}, {unknown}")
    return model


def _fit_supervised(
    job: _Job,
    start: Any,
    tokenizer: Any,
    examples: Any,
    state: Path | None,
    *,
    shuffle: bool,
    terms: Any,
) -> None:
    """Train on a data set of `sft_examples`."""
    from torch.nn.functional import cross_entropy
    from trl import SFTConfig, SFTTrainer

    openings, term = [], None
    if terms is not None:
        openings = terms.openings(tokenizer)
        term = partial(terms.loss, tokenizer=tokenizer)
    values = job.arguments(len(examples))
    trainer_class, collator = _trainer_class(SFTTrainer, shuffle), None
    own_loss = "soft" in examples.column_names or terms is not None
    on_cpu = job.device == "cpu" and job.processes == 1
    if own_loss or on_cpu:
        plain = on_cpu or job.training.get("attention", ATTENTION) == ATTENTION
        if plain and _tried(start, examples, one_row):
            collator = partial(one_row, openings=openings)
            in_row = partial(row_loss, cross_entropy=cross_entropy, term=term)
            trainer_class = _loss_trainer_class(trainer_class, in_row)
            values["include_num_input_tokens_seen"] = "all"  # a row has no padding, and its mask is 4D
        elif own_loss:
            trainer_class = _loss_trainer_class(trainer_class, partial(padded_loss, term=term))
            collator = partial(padded, pad_id=tokenizer.pad_token_id, openings=openings)
    elif _tried(start, examples, flat_row):
        values |= {"padding_free": True, "include_num_input_tokens_seen": "all"}
    _attend(start, job)
    if job.processes > 1:
        trainer_class = sharded.sharded(trainer_class, job.device, shuffle)
    with _deterministic(job.device):
        trainer = trainer_class(
            model=start,
            args=SFTConfig(
                **values,
                dataset_kwargs={"skip_prepare_dataset": True},
                remove_unused_columns=False,
            ),
            data_collator=collator,
            train_dataset=examples,
            processing_class=tokenizer,
            peft_config=lora_config(start, job.training, job.key),
        )
        _run(trainer, state, job)
        _finish(trainer, tokenizer, job)


def train_supervised(
    model: str | Path,
    rows: list[dict[str, Any]],
    checkpoint: str | Path,
    curve: str | Path,
    *,
    seed: list[Any],
    device: str,
    training: dict[str, Any],
    key: str,
    shuffle: bool = True,
    soft: Any = None,
    terms: Any = None,
    cpu_processes: int = 1,
) -> None:
    """Fine-tune a checkpoint on prompt-completion rows, with the loss on the completions.

    Args:
        model: folder of the checkpoint to start from.
        rows: `prompt` and `completion`, lists of messages.
        checkpoint: folder of the new checkpoint.
        curve: CSV with step, epoch (float), loss (mean of the step, nats per token), learning_rate,
            tokens (processed so far; a prefix that a micro-batch shares counts once).
        seed: names that the training's random numbers depend on.
        device: auto, cpu or cuda.
        training: the config's training.
        key: config key of the training, for messages.
        shuffle: whether each epoch has a seeded order of its own; else all have that of `rows`.
        soft: gives the soft targets of a row (`alma.training_data.sft_examples`).
        terms: what is added to the loss (`alma.judge_training.RatingTerms`), or None.
        cpu_processes: for tests: of a training on a CPU, as if it had so many GPUs.

    Raises:
        InputError: no example is short enough, the chat template does not fit, or the loss is no
            longer finite.
    """
    job = _job(
        model,
        checkpoint,
        curve,
        seed=seed,
        device=device,
        training=training,
        key=key,
        cpu_processes=cpu_processes,
    )
    rated = None if terms is None else terms.target
    _fit(
        job,
        _fit_supervised,
        lambda tokenizer, stop_ids: sft_examples(
            tokenizer, rows, stop_ids, training["max_length"], key, soft, rated
        ),
        {"shuffle": shuffle, "terms": repr(terms)},
        {"shuffle": shuffle, "terms": terms},
    )


def _fit_preferences(
    job: _Job, start: Any, tokenizer: Any, examples: Any, state: Path | None, *, beta: float
) -> None:
    """Train on a data set of `preference_examples`."""
    from trl import DPOConfig, DPOTrainer

    class PairTrainer(_trainer_class(DPOTrainer)):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset  # `preference_examples` has already rendered and checked the ids

    values = job.arguments(len(examples))
    many = job.processes > 1
    _attend(start, job)
    trainer_class = sharded.sharded(PairTrainer, job.device) if many else PairTrainer
    with _deterministic(job.device), sharded.without_weights_hash() if many else nullcontext():
        trainer = trainer_class(
            model=start,
            args=DPOConfig(**values, beta=beta, loss_type=["sigmoid"], precompute_ref_log_probs=True),
            train_dataset=examples,
            processing_class=tokenizer,
            peft_config=lora_config(start, job.training, job.key),
        )
        if many:
            trainer.add_callback(sharded.reference_callback(trainer))
        _run(trainer, state, job)
        _finish(trainer, tokenizer, job)


def train_preferences(
    model: str | Path,
    rows: list[dict[str, Any]],
    checkpoint: str | Path,
    curve: str | Path,
    *,
    seed: list[Any],
    device: str,
    training: dict[str, Any],
    beta: float,
    key: str,
    cpu_processes: int = 1,
) -> None:
    """Train a checkpoint on preference pairs with DPO; the reference is the checkpoint itself.

    Args:
        rows: `prompt`, `chosen` and `rejected`, lists of messages.
        beta: strength of the pull to the reference model (DPO's beta).
        The others are those of `train_supervised`; the curve's loss is DPO's, its tokens are those
            of both answers.

    Raises:
        InputError: as `train_supervised`, and where there is no preference pair.
    """
    if not rows:
        raise InputError(
            "training.objective: dpo has no preference pair to train on; every prompt of the rounds "
            "so far has fewer than two responses that the judge tells apart.\n"
            "  Raise samples_per_prompt or prompts_per_round, or look at the judge."
        )
    job = _job(
        model,
        checkpoint,
        curve,
        seed=seed,
        device=device,
        training=training,
        key=key,
        cpu_processes=cpu_processes,
    )
    _fit(
        job,
        _fit_preferences,
        lambda tokenizer, stop_ids: preference_examples(
            tokenizer, rows, stop_ids, training["max_length"], key
        ),
        {"beta": beta},
        {"beta": beta},
    )
