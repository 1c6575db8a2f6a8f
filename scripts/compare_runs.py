"""Put the evaluation of several runs of one config into one table, with differences to the main run.

Reads, of each run in the order of `runs`:
    evaluation/summary.csv, evaluation/judge.csv and evaluation/selection.csv.
    evaluation/{checkpoint}/{benchmark}.parquet: the responses behind the summary, for the differences.
    judge/heldout/{checkpoint}.parquet: the held-out scores of the judge that chose the run's responses.
Writes:
    tables/ablations/{table}.csv (columns in `alma.csv_schemas`): one row for sft-0 and each model of a
    round, and benchmark; the last row of a run is its final model. A variant's model is compared with
    the main run's of the same name, its final model with the main run's final one; `against` names it.
    Differences are paired by prompt, with 95% bootstrap intervals over prompts. They are empty where
    there is no such model, or where the two did not answer the same prompts with the same checks.
Params:
    seed, resamples (of the bootstrap); runs: of each run in order: run (name), changes, judge
    ([checkpoint, expected or integer]), results (how many evaluation tables it has).
"""

import json
from pathlib import Path
from typing import Any

from alma.csv_tables import read_csv_table, write_csv_table
from alma.judge_accuracy import is_benchmark_pair, pairs_by_prompt
from alma.measures import check_share
from alma.statistics import bootstrap_mean, bootstrap_ratio, mean
from alma.summary_rows import of_own_judge

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
OWN = {"own_accuracy": "value", "own_accuracy_low": "low", "own_accuracy_high": "high"}
NO_DIFFERENCE = dict.fromkeys(
    f"vs_main_{what}{end}" for what in ("checks", "judge") for end in ("", "_low", "_high")
)

Row = dict[str, Any]
Answers = dict[str, Row]  # evaluation rows by prompt_id


def judge_row(rows: list[Row], checkpoint: str, score: str) -> Row:
    """Row of judge.csv for one judge on the held-out human scores; empty where there is none."""
    wanted = {"checkpoint": checkpoint, "kind": KINDS[score], "benchmark": "heldout"}
    found = [row for row in rows if wanted.items() <= row.items()]
    return found[0] if found else {}


def own_row(rows: list[Row]) -> Row:
    """Row of selection.csv with the pairs that a run's judge orders rightly, by checks; empty for none."""
    wanted = {"truth": "checks", "measure": "pair_accuracy", "kind": "all"}
    return next((row for row in rows if wanted.items() <= row.items()), {})


def answers_of(results: list[str]) -> dict[tuple[str, str], Answers]:
    """{(checkpoint, benchmark): its evaluation rows by prompt} of one run's evaluation tables."""
    from alma.tables import read_tables

    found: dict[tuple[str, str], Answers] = {}
    for row in read_tables(results, "evaluation"):
        found.setdefault((row["checkpoint"], row["benchmark"]), {})[row["prompt_id"]] = row
    return found


def asked(answers: Answers) -> dict[str, int]:
    """Number of checks of each prompt: two models compare where this is the same."""
    return {prompt: len(row["passed"] or []) for prompt, row in answers.items()}


def differences(mine: Answers, theirs: Answers, seed: Any, resamples: int) -> Row:
    """Share of checks passed and judge score, mine minus theirs, paired by prompt, with intervals.

    A prompt without checks, or without a score on both sides, is left out of that difference.
    """
    if asked(mine) != asked(theirs):
        return NO_DIFFERENCE
    found: Row = {}
    for what, value in (("checks", check_share), ("judge", lambda row: row["score"])):
        pairs = [(value(mine[prompt]), value(theirs[prompt])) for prompt in sorted(mine)]
        gaps = [a - b for a, b in pairs if a is not None and b is not None]
        low, high = bootstrap_mean(gaps, resamples, [*seed, what])
        found |= {f"vs_main_{what}": mean(gaps), f"vs_main_{what}_low": low, f"vs_main_{what}_high": high}
    return found


def accuracy_difference(
    mine: dict[str, tuple[float, int]], theirs: dict[str, tuple[float, int]], seed: Any, resamples: int
) -> Row:
    """Share of held-out pairs that a judge orders rightly, minus another judge's, paired by prompt.

    Args:
        mine, theirs: {prompt: (pairs right, pairs)}; the difference is empty where the pairs differ.
    """
    names = ["vs_main_judge_accuracy", "vs_main_judge_accuracy_low", "vs_main_judge_accuracy_high"]
    pairs = {prompt: count for prompt, (_, count) in sorted(mine.items())}
    total = sum(pairs.values())
    if not total or pairs != {prompt: count for prompt, (_, count) in theirs.items()}:
        return dict.fromkeys(names)
    gaps = [mine[prompt][0] - theirs[prompt][0] for prompt in pairs]
    low, high = bootstrap_ratio(gaps, [float(count) for count in pairs.values()], resamples, seed)
    return dict(zip(names, (sum(gaps) / total, low, high), strict=True))


def counterpart(checkpoint: str, own: list[str], main_run: list[str]) -> str:
    """The main run's model that a variant's is compared with; empty where there is none.

    Args:
        checkpoint: of the variant.
        own, main_run: the compared checkpoints of both, the final model last.
    """
    if checkpoint == own[-1]:
        return main_run[-1]
    return checkpoint if checkpoint in main_run else ""


def main(
    summaries: list[str],
    judges: list[str],
    selections: list[str],
    results: list[str],
    heldout: list[str],
    table: str | Path,
    *,
    seed: int,
    resamples: int,
    runs: list[Row],
) -> None:
    """Write the table; see the module's docstring."""
    from alma.tables import read_table

    rows: list[Row] = []
    main_answers: dict[tuple[str, str], Answers] = {}
    main_models: list[str] = []
    main_pairs: dict[str, tuple[float, int]] = {}
    left = list(results)
    for run, summary, judge, selection, scored in zip(
        runs, summaries, judges, selections, heldout, strict=True
    ):
        own, left = left[: run["results"]], left[run["results"] :]
        answers = answers_of(own)
        measured = judge_row(read_csv_table(judge, "judge"), *run["judge"])
        facts = {"run": run["run"], "changes": json.dumps(run["changes"])}
        facts |= {name: measured.get(column) for name, column in ACCURACY.items()}
        chosen = own_row(read_csv_table(selection, "selection"))
        facts |= {name: chosen.get(column) for name, column in OWN.items()}
        shown = [
            row
            for row in of_own_judge(read_csv_table(summary, "summary"))
            if row["checkpoint"] == "sft-0" or row["checkpoint"].startswith("round-")
        ]
        models = list(dict.fromkeys(row["checkpoint"] for row in shown))
        kept = [row for row in read_table(scored, "judge_score") if not is_benchmark_pair(row)]
        pairs = pairs_by_prompt(kept, KINDS[run["judge"][1]])
        is_main = not main_answers
        if is_main:
            main_answers, main_models, main_pairs = answers, models, pairs
        theirs_pairs = {} if is_main else main_pairs
        facts |= accuracy_difference(pairs, theirs_pairs, [seed, "ablation", "heldout"], resamples)
        for row in shown:
            name, benchmark = row["checkpoint"], row["benchmark"]
            against = "" if is_main else counterpart(name, models, main_models)
            theirs = main_answers.get((against, benchmark))
            gaps = NO_DIFFERENCE
            if theirs is not None:
                gaps = differences(answers[name, benchmark], theirs, [seed, "ablation", benchmark], resamples)
                if gaps is NO_DIFFERENCE:
                    print(f"{run['run']}, {name}, {benchmark}: other prompts than the main run's")
            rows.append(facts | {key: row[key] for key in TAKEN} | {"against": against} | gaps)
    write_csv_table(table, "ablation", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.summaries),
            list(snakemake.input.judges),
            list(snakemake.input.selections),
            list(snakemake.input.results),
            list(snakemake.input.heldout),
            snakemake.output.table,
            **config,
        )
