"""Score the responses among which those to be rated are chosen, with the judge that selects.

Reads:
    models/{judge.checkpoint}/: the judge.
    annotation/prompts.parquet: prompt_id, prompt.
    annotation/samples/{checkpoint}.parquet: prompt_id, response_id, response.
    seeds/judge.parquet: rated rows, for a few-shot judge only.
Writes:
    annotation/scores/{checkpoint}.parquet: response_id, prompt_id, score (float64 0-10 or null), mass
    (float64), p (eleven float32), a row per response.
Params:
    seed, engine, shots (rated examples in context), score (expected or integer), reading (fast or exact),
    min_mass: as in the rounds; max_unreadable.
"""

from pathlib import Path
from typing import Any


def main(
    model: str | Path,
    prompts: str | Path,
    responses: str | Path,
    seeds: list[str],
    scores: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    shots: int,
    score: str,
    reading: str,
    min_mass: float,
    max_unreadable: float,
) -> None:
    """Score every response; prompts and responses are joined by id."""
    from alma.engine import open_engine
    from alma.fitting import judge_examples, score_fitting
    from alma.tables import read_table, read_tables, write_table

    texts = {row["prompt_id"]: row["prompt"] for row in read_table(prompts, "seed_prompt")}
    rows = read_table(responses, "response")
    judge = open_engine(model, engine)
    rated = read_tables(seeds, "judge")
    results = score_fitting(
        judge,
        [(texts[row["prompt_id"]], row["response"]) for row in rows],
        reading=reading,
        min_mass=min_mass,
        max_unreadable=max_unreadable,
        examples=judge_examples(judge.tokenizer, rated, shots, seed, judge.max_model_len),
        score=score,
    )
    ids = ("response_id", "prompt_id")
    write_table(
        scores,
        "score",
        [{key: row[key] for key in ids} | result for row, result in zip(rows, results, strict=True)],
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.input.responses,
            snakemake.input.seeds,
            snakemake.output.scores,
            **config,
        )
