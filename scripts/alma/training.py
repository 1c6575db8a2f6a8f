"""Fine-tune a checkpoint with TRL: supervised, or on preference pairs.

Same inputs, same machine and same number of threads give the same bytes, also after a kill and a
restart (see `alma.workflow.resume`). The learning rate rises linearly over the `warmup` share of the steps
and falls along a cosine to a tenth of its peak; AdamW; gradients are clipped to norm 1.

On a CPU everything is float32. On a GPU full fine-tuning keeps float32 weights under bfloat16
autocast with gradient checkpointing, LoRA keeps the base in bfloat16, and the checkpoint is saved
in bfloat16.
"""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from alma.checkpoints import eos_ids, load_model, save_checkpoint
from alma.csv_tables import write_csv_table
from alma.errors import InputError
from alma.ids import content_id, hashed_int
from alma.tokenizer import load_tokenizer
from alma.trace.provenance import file_hash, package_versions
from alma.trainable import freeze_below, lora_config
from alma.training_data import IGNORED, one_row, padded, preference_examples, sft_examples
from alma.workflow import resume, tracking
from alma.workflow.codehash import code_hash


def choose_device(device: str) -> str:
    """ "cpu" or "cuda" for the config's `engine.device` (auto takes a GPU if there is one).

    One job trains on one GPU; of several visible ones it takes the first.

    Raises:
        InputError: cuda is asked for and there is none.
    """
    if device != "cpu":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]
    import torch

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise InputError("engine.device: found cuda, but PyTorch sees no GPU; use auto or cpu")
    return "cuda" if there and device != "cpu" else "cpu"


def total_steps(examples: int, training: dict[str, Any]) -> int:
    """Optimizer steps of a training: epochs times the batches of an epoch, the last one short."""
    micro_batches = math.ceil(examples / training["micro_batch_size"])
    per_epoch = math.ceil(micro_batches * training["micro_batch_size"] / training["batch_size"])
    return math.ceil(training["epochs"] * per_epoch)


def arguments(
    training: dict[str, Any], *, steps: int, seed: int, device: str, folder: Path
) -> dict[str, Any]:
    """Keyword arguments of TRL's SFTConfig and DPOConfig.

    Args:
        training: the config's training (`$defs/training` of the schema).
        steps: optimizer steps in all.
        seed: 0 <= seed < 2**31; of the order of the examples and of LoRA's first weights.
        device: "cpu" or "cuda".
        folder: where the trainer saves its state.
    """
    gpu = device == "cuda"
    return {
        "output_dir": str(folder),
        "seed": seed,
        "data_seed": seed,
        "per_device_train_batch_size": training["micro_batch_size"],
        "gradient_accumulation_steps": training["batch_size"] // training["micro_batch_size"],
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
            if now - self.last < 5 and step < total:
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


def _loss_trainer_class(base: Any, loss_of: Any, *, trl_where_hard: bool) -> Any:
    """`SFTTrainer` with a loss of our own.

    On a CPU TRL's fused output layer computes the logits of every position, of the prompt too; `row_loss`
    computes only those in the loss, through the model's own `logits_to_keep`. On a GPU the fused layer
    skips the others by itself, but it does not know soft targets.

    Args:
        loss_of: function of a model and a batch that gives the summed loss and the number of labels.
        trl_where_hard: leave batches without soft targets to TRL's loss.
    """

    class LossTrainer(base):
        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            if trl_where_hard and "soft_columns" not in inputs:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            loss, count = loss_of(model, inputs)
            return loss / (count if num_items_in_batch is None else num_items_in_batch)

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
        attention_mask=batch["attention_mask"],
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


def takes_rows(model: Any, examples: list[dict[str, list[int]]]) -> bool:
    """Whether a model gives the same loss for two examples in `one_row` as for each one alone.

    It does not where attention is not plain (a sliding window, a recurrent layer), or where the
    model does not take a mask of its own; then batches are padded. The longest examples are tried,
    since a window shows only in those.
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
            batch = {name: value.to(model.device) for name, value in one_row(longest).items()}
            together = float(row_loss(model, batch, cross_entropy)[0])
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        print(f"batches: padded, since the model does not take a row of examples ({error})")
        return False
    tolerance = 1e-3 if model.dtype == torch.float32 else 2e-2
    same = abs(together - alone) <= tolerance * abs(alone)
    if not same:
        print(f"batches: padded, since a row of examples changes the loss ({together} != {alone})")
    return same


def _facts(model: Path, training: dict[str, Any], examples: list[Any], **more: Any) -> dict[str, Any]:
    """Everything that decides the result of a training, for `alma.workflow.resume`."""
    import torch

    return {
        "training": {k: v for k, v in training.items() if k not in ("save_steps", "report_to")},
        "weights": file_hash(model / "model.safetensors"),
        "examples": content_id(examples),
        "code": code_hash(Path(__file__)),
        "packages": package_versions(),
        "threads": torch.get_num_threads(),
        **more,
    }


def _run(trainer: Any, state: Path | None, checkpoint: Path, training: dict[str, Any], key: str) -> None:
    """Train from a saved state, or from the start."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(follow(checkpoint.name, key))
    tracking.attach(trainer, training.get("report_to", []), checkpoint)
    if state is not None:
        print(f"resume: from step {state.name.split('-')[1]}", flush=True)
    trainer.train(resume_from_checkpoint=str(state) if state else None)


def _finish(trainer: Any, tokenizer: Any, checkpoint: Path, curve: str | Path, device: str) -> None:
    """Write checkpoint and curve; then the resume state is no longer needed."""
    import torch

    logged = [row for row in trainer.state.log_history if "loss" in row]
    same = ("step", "epoch", "loss", "learning_rate")
    rows = [
        {name: row[name] for name in same} | {"tokens": int(row["num_input_tokens_seen"])} for row in logged
    ]
    write_csv_table(curve, "training_curve", rows)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model = model.to(torch.bfloat16 if device == "cuda" else torch.float32)
    save_checkpoint(model, tokenizer, checkpoint)
    resume.forget(Path(trainer.args.output_dir))


def _load(model: str | Path, training: dict[str, Any], device: str, key: str) -> tuple[Any, Any, list[int]]:
    """Model, tokenizer and end-of-sequence ids of the checkpoint that training starts from."""
    _quiet()
    half = device == "cuda" and training["method"] == "lora"
    loaded = load_model(model, "bfloat16" if half else "float32")
    freeze_below(loaded, training, key)
    tokenizer = load_tokenizer(model)
    return loaded.to(device), tokenizer, eos_ids(loaded, tokenizer)


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

    Raises:
        InputError: no example is short enough, the chat template does not fit, or the loss is no
            longer finite.
    """
    device = choose_device(device)
    start, tokenizer, stop_ids = _load(model, training, device, key)
    rated, openings, term = None, [], None
    if terms is not None:
        rated, openings = terms.target, terms.openings(tokenizer)
        term = partial(terms.loss, tokenizer=tokenizer)
    examples = sft_examples(tokenizer, rows, stop_ids, training["max_length"], key, soft, rated)

    from datasets import Dataset
    from torch.nn.functional import cross_entropy
    from trl import SFTConfig, SFTTrainer

    checkpoint = Path(checkpoint)
    folder = resume.resume_folder(checkpoint)
    facts = _facts(
        Path(model), training, examples, seed=seed, device=device, shuffle=shuffle, terms=repr(terms)
    )
    state = resume.last_checkpoint(folder, facts)
    number = hashed_int(*seed, bits=31)
    steps = total_steps(len(examples), training)
    values = arguments(training, steps=steps, seed=number, device=device, folder=folder)
    trainer_class, in_rows = _trainer_class(SFTTrainer, shuffle), takes_rows(start, examples)
    collator: Any = partial(one_row, openings=openings) if in_rows else None
    if not in_rows and ("soft" in examples[0] or terms is not None):
        in_batch = partial(padded_loss, term=term)
        trainer_class = _loss_trainer_class(trainer_class, in_batch, trl_where_hard=False)
        collator = partial(padded, pad_id=tokenizer.pad_token_id, openings=openings)
    if in_rows:
        in_row = partial(row_loss, cross_entropy=cross_entropy, term=term)
        hard = device != "cpu" and terms is None
        trainer_class = _loss_trainer_class(trainer_class, in_row, trl_where_hard=hard)
        values["include_num_input_tokens_seen"] = "all"  # a row has no padding, and its mask is 4D
    with _deterministic(device):
        trainer = trainer_class(
            model=start,
            args=SFTConfig(
                **values,
                dataset_kwargs={"skip_prepare_dataset": True},
                remove_unused_columns=False,
            ),
            data_collator=collator,
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
            peft_config=lora_config(start, training, key),
        )
        _run(trainer, state, checkpoint, training, key)
    _finish(trainer, tokenizer, checkpoint, curve, device)


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
    device = choose_device(device)
    start, tokenizer, stop_ids = _load(model, training, device, key)
    examples = preference_examples(tokenizer, rows, stop_ids, training["max_length"], key)

    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class PairTrainer(_trainer_class(DPOTrainer)):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset  # `preference_examples` has already rendered and checked the ids

    checkpoint = Path(checkpoint)
    folder = resume.resume_folder(checkpoint)
    facts = _facts(Path(model), training, examples, seed=seed, device=device, beta=beta)
    state = resume.last_checkpoint(folder, facts)
    number = hashed_int(*seed, bits=31)
    steps = total_steps(len(examples), training)
    values = arguments(training, steps=steps, seed=number, device=device, folder=folder)
    with _deterministic(device):
        trainer = PairTrainer(
            model=start,
            args=DPOConfig(**values, beta=beta, loss_type=["sigmoid"], precompute_ref_log_probs=True),
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
            peft_config=lora_config(start, training, key),
        )
        _run(trainer, state, checkpoint, training, key)
    _finish(trainer, tokenizer, checkpoint, curve, device)
