"""Put the evaluation of several runs of one config into one table.

Reads:
    evaluation/summary.csv and evaluation/judge.csv of each run, in the order of `runs`.
Writes:
    tables/ablations/{table}.csv: run, changes (what the variant's config holds, as JSON), checkpoint,
    benchmark; check_rate, judge_score (of the main run's judge) with 95% intervals, mean_words and
    cut_off as in summary.csv; judge_accuracy with its interval: the share of held-out pairs that the
    judge that chose this run's responses puts in the right order (empty where it was not measured).
    One row for each model of a round and benchmark; the last row of a run is its final model.
Params:
    runs: of each run in order: run (name), changes, judge ([checkpoint, expected or integer]).
"""

import json
from pathlib import Path
from typing import Any

from alma.csv_tables import read_csv_table, write_csv_table

KINDS = {"expected": "real-valued", "integer": "integer"}
TAKEN = (
    "checkpoint",
    "benchmark",
    "check_rate",
    "check_low",
    "check_high",
    "judge_score",
    "judge_low",
    "judge_high",
    "mean_words",
    "cut_off",
)
ACCURACY = {
    "judge_accuracy": "accuracy",
    "judge_accuracy_low": "accuracy_low",
    "judge_accuracy_high": "accuracy_high",
}


def judge_row(rows: list[dict[str, Any]], checkpoint: str, score: str) -> dict[str, Any]:
    """Row of judge.csv for one judge on the held-out human scores; empty where there is none."""
    wanted = {"checkpoint": checkpoint, "kind": KINDS[score], "benchmark": "heldout"}
    found = [row for row in rows if wanted.items() <= row.items()]
    return found[0] if found else {}


def main(summaries: list[str], judges: list[str], table: str | Path, *, runs: list[dict[str, Any]]) -> None:
    """Write the table; see the module's docstring."""
    rows = []
    for run, summary, judge in zip(runs, summaries, judges, strict=True):
        measured = judge_row(read_csv_table(judge, "judge"), *run["judge"])
        facts = {"run": run["run"], "changes": json.dumps(run["changes"])}
        facts |= {name: measured.get(column) for name, column in ACCURACY.items()}
        for row in read_csv_table(summary, "summary"):
            if row["checkpoint"] == "sft-0" or row["checkpoint"].startswith("round-"):
                rows.append(facts | {name: row[name] for name in TAKEN})
    write_csv_table(table, "ablation", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.summaries),
            list(snakemake.input.judges),
            snakemake.output.table,
            **config,
        )
