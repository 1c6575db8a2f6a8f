"""Train the judge on the human scores: the base model learns to answer with a rating.

Reads:
    models/base/: the base model.
    seeds/judge.parquet: prompt, response, score (float64 0-10), one row per annotator.
Writes:
    models/judge-seed/: the checkpoint.
    tables/training/judge-seed.csv (`training_curve` of `alma.csv_schemas`).
Params:
    seed (list), device (auto, cpu, cuda), training (judge.training), loss (judge.loss),
    balance (none or within_prompt).
"""

from pathlib import Path
from typing import Any


def main(
    model: str | Path,
    seeds: str | Path,
    checkpoint: str | Path,
    curve: str | Path,
    *,
    seed: list[Any],
    device: str,
    training: dict[str, Any],
    loss: dict[str, float],
    balance: str,
) -> None:
    """Train `model` to give the scores of `seeds`."""
    from alma.judge_training import balanced, human_ratings, judge_conversations, rating_targets, rating_terms
    from alma.tables import read_table
    from alma.training import train_supervised

    rows = balanced(human_ratings(read_table(seeds, "judge")), balance, seed[:1])
    train_supervised(
        model,
        judge_conversations(rows, seed),
        checkpoint,
        curve,
        seed=seed,
        device=device,
        training=training,
        shuffle=False,
        key="judge.training",
        soft=rating_targets,
        terms=rating_terms(loss),
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.seeds,
            Path(snakemake.output.model[0]).parent,
            snakemake.output.curve,
            **config,
        )
