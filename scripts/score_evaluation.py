"""Score one checkpoint's evaluation responses with the judge.

Reads:
    models/judge/: the last judge of the main run, for variants too. It chose the training data, so its
    score is no independent measure; the checks in the same table are.
    seeds/eval.parquet: benchmark, prompt_id, prompt.
    evaluation/responses/{checkpoint}/{benchmark}.parquet: responses.
Writes:
    evaluation/{checkpoint}/{benchmark}.parquet: the same rows with score (float64 0-10 or null),
    mass (float64) and p (eleven float64).
Params:
    engine, reading (fast or exact), min_mass, max_unreadable.
"""

from pathlib import Path
from typing import Any


def main(
    model: str | Path,
    prompts: str | Path,
    responses: str | Path,
    scores: str | Path,
    *,
    engine: dict[str, Any],
    reading: str,
    min_mass: float,
    max_unreadable: float,
) -> None:
    """Score every response; prompts and responses are joined by benchmark and id."""
    from alma.engine import open_engine
    from alma.judging import score_pairs
    from alma.tables import read_table, write_table

    texts = {(r["benchmark"], r["prompt_id"]): r["prompt"] for r in read_table(prompts, "eval")}
    rows = read_table(responses, "evaluation_response")
    results = score_pairs(
        open_engine(model, engine),
        [(texts[row["benchmark"], row["prompt_id"]], row["response"]) for row in rows],
        reading=reading,
        min_mass=min_mass,
        max_unreadable=max_unreadable,
    )
    write_table(scores, "evaluation", [row | result for row, result in zip(rows, results, strict=True)])


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.input.responses,
            snakemake.output.scores,
            **config,
        )
