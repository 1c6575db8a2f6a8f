"""Score every answer of RewardBench with one checkpoint, each once.

Reads:
    models/{checkpoint}/: base (with rated examples in context), judge-seed or judge.
    seeds/judge.parquet: the rated rows that examples are taken from.
    seeds/reward_bench.parquet: item, prompt, response_id, response, label; may be empty.
Writes:
    judge/reward_bench/{checkpoint}.parquet: a `judge_score` table, whose prompt_id is the item. An item with
    an answer over engine.max_model_len is left out, for every checkpoint the same.
Params:
    seed, engine, shots (rated examples in context), reading (fast or exact), min_mass.
"""

from pathlib import Path
from typing import Any

from score_heldout import fitting_rows


def main(
    model: str | Path,
    seeds: str | Path,
    items: str | Path,
    scores: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    shots: int,
    reading: str,
    min_mass: float,
) -> None:
    """Score the answers and write them with their labels."""
    from alma.engine import open_engine
    from alma.fitting import judge_examples, score_fitting
    from alma.lengths import JudgeLengths
    from alma.reward_bench import read_answers
    from alma.tables import read_table, write_table

    answers = [row | {"prompt_id": row["item"]} for row in read_answers(items)]
    if not answers:
        write_table(scores, "judge_score", [])
        return
    judge = open_engine(model, engine)
    limit = judge.max_model_len
    alone = JudgeLengths(judge.tokenizer)
    answers = fitting_rows(answers, lambda row: alone.of(row["prompt"], row["response"]) <= limit)
    results = score_fitting(
        judge,
        [(row["prompt"], row["response"]) for row in answers],
        reading=reading,
        min_mass=min_mass,
        examples=judge_examples(judge.tokenizer, read_table(seeds, "judge"), shots, seed, limit),
        groups=[row["item"] for row in answers],
    )
    keys = ("response_id", "prompt_id", "label")
    rows = [{key: row[key] for key in keys} | found for row, found in zip(answers, results, strict=True)]
    write_table(scores, "judge_score", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.seeds,
            snakemake.input.answers,
            snakemake.output.scores,
            **config,
        )
