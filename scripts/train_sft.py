"""Fine-tune the base model on the seed pairs; one checkpoint for each training seed.

Reads:
    models/base/: the base model.
    rounds/1/dataset.parquet: prompt and completion, lists of messages.
Writes:
    models/sft-{index}/: the checkpoint.
    tables/training/sft-{index}.csv (`training_curve` of `alma.csv_schemas`).
Params:
    seed (list that ends with the index), device (auto, cpu, cuda), training (training.sft).
"""

from pathlib import Path
from typing import Any


def main(
    model: str | Path,
    dataset: str | Path,
    checkpoint: str | Path,
    curve: str | Path,
    *,
    seed: list[Any],
    device: str,
    training: dict[str, Any],
) -> None:
    """Fine-tune `model` on the pairs of `dataset`."""
    from alma.tables import read_table
    from alma.training import train_supervised

    train_supervised(
        model,
        read_table(dataset, "dataset"),
        checkpoint,
        curve,
        seed=seed,
        device=device,
        training=training,
        key="training.sft",
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.dataset,
            Path(snakemake.output.model[0]).parent,
            snakemake.output.curve,
            **config,
        )
