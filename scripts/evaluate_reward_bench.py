"""Measure four judges on RewardBench, by subset and section as it is published.

Reads:
    seeds/reward_bench.parquet: item, subset, id, response_id, label.
    judge/reward_bench/{base,judge-seed,judge}.parquet: response_id, score (float64 0-10 or null), p.
Writes:
    evaluation/reward_bench.csv (columns in `alma.csv_schemas`); scores by `alma.reward_bench.section_rows`.
Params:
    name (rewardbench or rewardbench2), seed, resamples (of the bootstrap).
"""

from pathlib import Path

from evaluate_judge import JUDGES

from alma.csv_tables import write_csv_table
from alma.judge_accuracy import score_of
from alma.reward_bench import UNREADABLE, read_answers, section_rows
from alma.tables import read_table


def main(
    items: str | Path,
    base: str | Path,
    judge_seed: str | Path,
    judge: str | Path,
    table: str | Path,
    *,
    name: str,
    seed: int,
    resamples: int,
) -> None:
    """Write the table, judges in the order of `JUDGES`, sections in theirs, the total last."""
    answers = read_answers(items)
    scored = {
        checkpoint: read_table(path, "judge_score")
        for checkpoint, path in (("base", base), ("judge-seed", judge_seed), ("judge", judge))
    }
    rows = []
    for called, checkpoint, kind in JUDGES:
        found = {row["response_id"]: score_of(row, kind) for row in scored[checkpoint]}
        scores = {key: UNREADABLE if value is None else value for key, value in found.items()}
        # An item over the engine's limit was scored by no judge.
        own = [answer for answer in answers if answer["response_id"] in scores]
        measured = section_rows(name, own, scores, resamples, [seed, "reward_bench"])
        for row in measured:
            rows.append({"judge": called, "checkpoint": checkpoint, "kind": kind, "set": name} | row)
        for row in measured:
            if row["level"] != "subset":
                print(f"{called}, {row['name']}: {row['score']} on {row['items']} items")
    write_csv_table(table, "reward_bench", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.answers,
            snakemake.input.base,
            snakemake.input.judge_seed,
            snakemake.input.judge,
            snakemake.output.table,
            **config,
        )
