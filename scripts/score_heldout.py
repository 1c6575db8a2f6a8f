"""Score the held-out judge rows (and the judge benchmark's pairs) with one checkpoint.

Reads:
    models/{checkpoint}/: base (with rated examples in context), judge-seed or judge.
    seeds/judge.parquet: the rated rows that examples are taken from.
    seeds/judge_heldout.parquet: prompt_id, response_id, prompt, response, score (one row an annotator).
    seeds/judge_benchmark.parquet: prompt_id, prompt, chosen, rejected; may be empty.
Writes:
    judge/heldout/{checkpoint}.parquet: response_id, prompt_id, label (float64 0-10, the mean over
    annotators; 10 and 0 for chosen and rejected, whose prompt_id starts with "pair:"), score, mass, p.
Params:
    seed, engine, shots (rated examples in context), reading (fast or exact), min_mass.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from alma.ids import content_id
from alma.judge_accuracy import is_benchmark_pair

Row = dict[str, Any]


def heldout_rows(heldout: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per response, with the mean of its annotators' scores as label."""
    by_response: dict[str, list[dict[str, Any]]] = {}
    for row in heldout:
        by_response.setdefault(row["response_id"], []).append(row)
    keys = ("response_id", "prompt_id", "prompt", "response")
    return [
        {key: rows[0][key] for key in keys} | {"label": fmean(row["score"] for row in rows)}
        for _, rows in sorted(by_response.items())
    ]


def benchmark_rows(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two rows per pair, chosen and rejected; the judge sees one at a time, so their order tells nothing."""
    found = []
    for index, pair in enumerate(pairs):
        prompt_id = f"pair:{pair['prompt_id']}:{index}"
        found += [
            {
                "response_id": content_id("pair", prompt_id, side),
                "prompt_id": prompt_id,
                "prompt": pair["prompt"],
                "response": pair[side],
                "label": label,
            }
            for side, label in (("chosen", 10.0), ("rejected", 0.0))
        ]
    return found


def fitting_rows(rows: list[Row], fits: Callable[[Row], bool]) -> list[Row]:
    """The rows that fit the engine without examples, the same for every judge; a pair fits as a whole.

    Args:
        rows: of `heldout_rows` and `benchmark_rows`.
    """
    long = [row for row in rows if not fits(row)]
    broken = {row["prompt_id"] for row in long if is_benchmark_pair(row)}
    names = {row["response_id"] for row in long}
    kept = [row for row in rows if row["response_id"] not in names and row["prompt_id"] not in broken]
    if len(kept) < len(rows):
        print(f"left out {len(rows) - len(kept)} of {len(rows)} responses: over engine.max_model_len tokens")
    return kept


def main(
    model: str | Path,
    seeds: str | Path,
    heldout: str | Path,
    benchmark: str | Path,
    scores: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    shots: int,
    reading: str,
    min_mass: float,
) -> None:
    """Score the rows and write them with their labels."""
    from alma.engine import open_engine
    from alma.fitting import judge_examples, score_fitting
    from alma.lengths import JudgeLengths
    from alma.tables import read_table, write_table

    judge = open_engine(model, engine)
    limit = judge.max_model_len
    rows = heldout_rows(read_table(heldout, "judge"))
    rows += benchmark_rows(read_table(benchmark, "judge_pair"))
    alone = JudgeLengths(judge.tokenizer)
    rows = fitting_rows(rows, lambda row: alone.of(row["prompt"], row["response"]) <= limit)
    results = score_fitting(
        judge,
        [(row["prompt"], row["response"]) for row in rows],
        reading=reading,
        min_mass=min_mass,
        examples=judge_examples(judge.tokenizer, read_table(seeds, "judge"), shots, seed, limit),
        groups=[row["prompt_id"] for row in rows],
    )
    keys = ("response_id", "prompt_id", "label")
    write_table(
        scores,
        "judge_score",
        [{key: row[key] for key in keys} | result for row, result in zip(rows, results, strict=True)],
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.seeds,
            snakemake.input.heldout,
            snakemake.input.benchmark,
            snakemake.output.scores,
            **config,
        )
