"""Training curves for an experiment tracker while a training runs: TensorBoard, Weights & Biases, trackio.

`training.report_to` names the trackers. What they are sent changes no weight (tested), so nothing here is
part of a result. The callbacks are those of transformers.
"""

import importlib.util
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alma.errors import InputError, fail_with

# The packages of a tracker; any one of them will do, and the first is the one that is named.
PACKAGES = {"tensorboard": ("tensorboardX", "tensorboard"), "wandb": ("wandb",), "trackio": ("trackio",)}
PROJECT = "alma"


def missing_packages(report_to: list[str], key: str = "training.report_to") -> list[str]:
    """A line for each tracker of the config whose package is not installed."""
    return [
        f"{key}: found {name}, but the package {PACKAGES[name][0]} is not installed; install it "
        f"beside the workflow (.venv/bin/python -m pip install {PACKAGES[name][0]}) or take {name} out"
        for name in report_to
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name])
    ]


def tensorboard_folder(checkpoint: Path) -> Path:
    """results/{run}/logs/tensorboard/{checkpoint}, of results/{run}/models/{checkpoint}."""
    return checkpoint.parents[1] / "logs" / "tensorboard" / checkpoint.name


def _tensorboard(folder: Path) -> Any:
    """The callback that writes the curve to a folder, from which that of an earlier training is removed."""
    from transformers.integrations import TensorBoardCallback

    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    return TensorBoardCallback(SummaryWriter(str(folder)))


def _earlier_steps(trackers: list[Any]) -> Any:
    """Callback that hands the trackers what a resumed training logged before it was killed.

    So every start of a training has the whole curve, whatever of it the killed one had sent.
    """
    from transformers import TrainerCallback

    class EarlierSteps(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for row in list(state.log_history):
                logs = {name: value for name, value in row.items() if name != "step"}
                for tracker in trackers:
                    tracker.on_log(args, replace(state, global_step=row["step"]), control, logs=logs)

    return EarlierSteps()


def attach(trainer: Any, report_to: list[str], checkpoint: Path) -> None:
    """Add the callbacks of the trackers to a trainer.

    Args:
        trainer: a transformers `Trainer` that has not started.
        report_to: names of `PACKAGES`.
        checkpoint: folder of the checkpoint that the training will write (results/{run}/models/{checkpoint}).

    Raises:
        InputError: a package is missing, or Weights & Biases has no key.
    """
    fail_with(missing_packages(report_to), "trackers that cannot be used")
    if not report_to:
        return
    run = checkpoint.parents[1]
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    trainer.args.project, trainer.args.run_name = PROJECT, f"{run.name}/{checkpoint.name} {started}"
    trackers: list[Any] = []
    if "tensorboard" in report_to:
        trackers.append(_tensorboard(tensorboard_folder(checkpoint)))
    if "wandb" in report_to:
        from transformers.integrations import WandbCallback

        os.environ.setdefault("WANDB_PROJECT", PROJECT)
        os.environ.setdefault("WANDB_DIR", str(run / "logs"))
        _check_wandb_key()
        trackers.append(WandbCallback())
    if "trackio" in report_to:
        from transformers.integrations import TrackioCallback

        trackers.append(TrackioCallback())
    for callback in (*trackers, _earlier_steps(trackers)):
        trainer.add_callback(callback)


def _check_wandb_key() -> None:
    """Stop before the training where Weights & Biases would ask for a key that nobody can type."""
    import wandb

    if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.login(prompt=False):
        raise InputError(
            "training.report_to: found wandb, but there is no key for it; "
            "log in (.venv/bin/wandb login), or set WANDB_MODE=offline and send the curves later (wandb sync)"
        )
