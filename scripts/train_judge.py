"""Train the judge further: on the human scores and on its own scores of sampled responses.

Reads:
    models/judge-seed/: the judge after the human scores.
    seeds/judge.parquet: prompt, response, score (float64 0-10), one row per annotator.
    judge/distillation.parquet: prompt, response, score (the seed judge's own, float64 0-10), p (its
    distribution over the eleven ratings).
Writes:
    models/judge/: the checkpoint.
    tables/training/judge.csv (`training_curve` of `alma.csv_schemas`).
Params:
    seed (list), device (auto, cpu, cuda), training (judge.distillation.training), loss (judge.loss),
    balance (none or within_prompt), replay (how many responses with human scores are trained on
    again), target (distribution, sampled, integer: what of its own scores the judge is trained on).
"""

from pathlib import Path
from typing import Any

from alma.ids import hashed_int


def replayed(rows: list[dict[str, Any]], count: int, seed: list[Any]) -> list[dict[str, Any]]:
    """`count` human rows by seeded hash, in the order of their table: what was learned is not lost."""
    keys = [hashed_int(seed, "replay", row["response_id"]) for row in rows]
    kept = sorted(range(len(rows)), key=keys.__getitem__)[:count]
    return [rows[i] for i in sorted(kept)]


def main(
    model: str | Path,
    seeds: str | Path,
    pairs: str | Path,
    checkpoint: str | Path,
    curve: str | Path,
    *,
    seed: list[Any],
    device: str,
    training: dict[str, Any],
    loss: dict[str, float],
    balance: str,
    replay: int,
    target: str,
) -> None:
    """Train `model` to give the scores of `replay` responses of `seeds` and of all `pairs`."""
    from alma.judge_training import (
        balanced,
        distillation_targets,
        human_ratings,
        judge_conversations,
        rating_targets,
        rating_terms,
    )
    from alma.tables import read_table
    from alma.training import train_supervised

    human = balanced(human_ratings(read_table(seeds, "judge")), balance, seed[:1])  # those of judge-seed
    human = replayed(human, replay, seed)
    distilled = distillation_targets(read_table(pairs, "distilled"), target, seed)
    print(f"training on {len(human)} human scores and {len(distilled)} of the judge's own")
    # No order of two responses is learned from what the judge itself thinks of them.
    rows = human + [row | {"ranked": False} for row in distilled]
    train_supervised(
        model,
        judge_conversations(rows, seed),
        checkpoint,
        curve,
        seed=seed,
        device=device,
        training=training,
        shuffle=False,
        key="judge.distillation.training",
        soft=rating_targets,
        terms=rating_terms(loss),
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.seeds,
            snakemake.input.pairs,
            Path(snakemake.output.model[0]).parent,
            snakemake.output.curve,
            **config,
        )
