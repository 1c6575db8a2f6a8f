"""Score sampled responses with the seed judge: the pairs that it is then trained on itself.

Reads:
    models/judge-seed/: the judge after the human scores.
    judge/samples/{checkpoint}.parquet: prompt_id, prompt, response_id, response, of each SFT checkpoint.
Writes:
    judge/distillation.parquet: prompt_id, response_id, prompt, response, score (float64 0-10), p (eleven
    float32, the judge's distribution over the ratings).
Params:
    seed, engine, pairs (how many of the responses to take), reading (fast or exact), min_mass,
    max_unreadable.
"""

from pathlib import Path
from typing import Any

from alma.ids import hashed_int


def choose_pairs(responses: list[dict[str, Any]], pairs: int, seed: int) -> list[dict[str, Any]]:
    """Up to `pairs` responses, by seeded hash, distinct in (prompt, text); in the order of their ids.

    Responses that the token limit cut off, and empty ones, are left out: their faults are form, and
    selection drops them before it looks at a score.
    """
    eligible = [row for row in responses if row["finish_reason"] == "stop" and row["response"]]
    ordered = sorted(eligible, key=lambda row: hashed_int(seed, "distillation", row["response_id"]))
    distinct = {(row["prompt_id"], row["response"]): row for row in reversed(ordered)}
    kept = [row for row in ordered if distinct[row["prompt_id"], row["response"]] is row]
    return sorted(kept[:pairs], key=lambda row: (row["prompt_id"], row["response_id"]))


def main(
    model: str | Path,
    responses: list[str],
    pairs_out: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    pairs: int,
    reading: str,
    min_mass: float,
    max_unreadable: float,
) -> None:
    """Choose the pairs, score them with the seed judge and write those that have a score."""
    from alma.engine import open_engine
    from alma.fitting import score_fitting
    from alma.tables import read_tables, write_table

    chosen = choose_pairs(read_tables(responses, "distillation_response"), pairs, seed)
    print(f"self-distillation: {len(chosen)} pairs of {pairs} asked for")
    results: list[dict[str, Any]] = []
    if chosen:
        results = score_fitting(
            open_engine(model, engine),
            [(row["prompt"], row["response"]) for row in chosen],
            reading=reading,
            min_mass=min_mass,
            max_unreadable=max_unreadable,
        )
    scored = [
        {key: row[key] for key in ("prompt_id", "response_id", "prompt", "response")}
        | {key: result[key] for key in ("score", "p")}
        for row, result in zip(chosen, results, strict=True)
        if result["score"] is not None
    ]
    write_table(pairs_out, "distilled", scored)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            list(snakemake.input.responses),
            snakemake.output.pairs,
            **config,
        )
