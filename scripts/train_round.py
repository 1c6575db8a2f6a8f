"""Train a round's model: supervised on all data sets so far, or with DPO on the preference pairs.

Reads:
    models/base/ (best_of_n) or models/sft-0/ (dpo, where it is also the reference).
    rounds/1..r/dataset.parquet: prompt, completion (best_of_n), or
    rounds/2..r/preferences.parquet: prompt, chosen, rejected (dpo); lists of messages.
Writes:
    models/round-{round}/: the checkpoint.
    tables/training/round-{round}.csv (`training_curve` of `alma.csv_schemas`).
Params:
    seed (list that ends with the round), device (auto, cpu, cuda), objective (best_of_n or dpo),
    training (training.sft or training.dpo), beta (dpo only).
"""

from pathlib import Path
from typing import Any


def main(
    model: str | Path,
    datasets: list[str] | list[Path],
    checkpoint: str | Path,
    curve: str | Path,
    *,
    seed: list[Any],
    device: str,
    objective: str,
    training: dict[str, Any],
    beta: float | None = None,
) -> None:
    """Train `model` on `datasets`, in the order of the rounds."""
    from alma.tables import read_tables
    from alma.training import train_preferences, train_supervised

    if objective == "best_of_n":
        train_supervised(
            model,
            read_tables(datasets, "dataset"),
            checkpoint,
            curve,
            seed=seed,
            device=device,
            training=training,
            key="training.sft",
        )
        return
    if beta is None:
        raise ValueError("objective dpo needs beta")
    train_preferences(
        model,
        read_tables(datasets, "preferences"),
        checkpoint,
        curve,
        seed=seed,
        device=device,
        training=training,
        beta=beta,
        key="training.dpo",
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            list(snakemake.input.datasets),
            Path(snakemake.output.model[0]).parent,
            snakemake.output.curve,
            **config,
        )
