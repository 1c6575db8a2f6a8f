"""Summarize the evaluation: one row per checkpoint, benchmark and judge.

Reads:
    evaluation/{checkpoint}/{benchmark}.parquet: responses with `passed` (one value per check) and
    `score` (float64 0-10 or null); `mass` is null where the judge was not asked.
    seeds/eval.parquet: the prompts, to see that none is missing which another checkpoint answered.
Writes:
    evaluation/summary.csv (columns in `alma.csv_schemas`). An empty response passes nothing. low and
    high are 95% intervals: bootstrap over prompts, and Wilson's for all_passed. vs_sft and its like compare
    with the mean over the SFT checkpoints on each prompt, and are empty for these. vs_before compares a round
    with the one before; it is empty up to round 2, whose round before is the SFT.
Params:
    seed, checkpoints (order of the rows), resamples (of the bootstrap), reference (of the win rates).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.errors import fail_with
from alma.judge_summary import NO_GAMES, Judged, mean_values
from alma.measures import check_share
from alma.outside_judges import read_judged
from alma.statistics import bootstrap_mean, bootstrap_ratio, mean, wilson
from alma.summary_rows import OWN
from alma.words import words_of

REFERENCE = "sft-"  # what the names of the SFT checkpoints begin with

Row = dict[str, Any]
Measure = Callable[[Row], float | None]


def score_of(row: Row) -> float | None:
    """The judge's score of a response (0-10), None where it was not asked or could not be read."""
    return row["score"]


def words(row: Row) -> float:
    """Words of a response."""
    return float(len(words_of(row["response"])))


def measured(rows: list[Row], measure: Measure) -> dict[str, float]:
    """A measure of each response by prompt_id, of the prompts that have one."""
    values = {row["prompt_id"]: measure(row) for row in rows}
    return {prompt: value for prompt, value in sorted(values.items()) if value is not None}


def pairs_of(rows: list[Row], others: list[list[Row]], measure: Measure) -> tuple[list[float], list[float]]:
    """A measure of a checkpoint, and its mean over `others`, on the prompts that all of them have."""
    mine = measured(rows, measure)
    theirs = mean_values([measured(other, measure) for other in others])
    shared = [prompt for prompt in mine if prompt in theirs]
    return [mine[prompt] for prompt in shared], [theirs[prompt] for prompt in shared]


def differences(
    rows: list[Row], others: list[list[Row]], name: str, seed: int, resamples: int
) -> dict[str, float | None]:
    """A checkpoint minus the mean of others on one benchmark, paired by prompt: checks, and judge score.

    Args:
        rows: evaluation rows of the checkpoint, one per prompt. others: those of each other checkpoint;
            with none, all values are None.
        name: of the columns: `name`, `name`_judge, and their _low and _high.
        seed, resamples: of the bootstrap. The resampled prompts are the same for every checkpoint.
    """
    found: dict[str, float | None] = {}
    for column, measure, what in ((name, check_share, "checks"), (f"{name}_judge", score_of, "judge")):
        mine, theirs = pairs_of(rows, others, measure)
        gaps = [a - b for a, b in zip(mine, theirs, strict=True)]
        low, high = bootstrap_mean(gaps, resamples, [seed, rows[0]["benchmark"], what])
        found |= {column: mean(gaps), f"{column}_low": low, f"{column}_high": high}
    return found


def words_ratio(
    rows: list[Row], others: list[list[Row]], seed: int, resamples: int
) -> dict[str, float | None]:
    """Words of a checkpoint divided by the mean of others, on the prompts where these wrote any."""
    mine, theirs = pairs_of(rows, others, words)
    both = [(a, b) for a, b in zip(mine, theirs, strict=True) if b > 0]
    tops, bottoms = [a for a, _ in both], [b for _, b in both]
    low, high = bootstrap_ratio(tops, bottoms, resamples, [seed, rows[0]["benchmark"], "words"])
    ratio = sum(tops) / sum(bottoms) if both else None
    return {"words_vs_sft": ratio, "words_vs_sft_low": low, "words_vs_sft_high": high}


def summary_row(rows: list[Row], seed: int, resamples: int) -> Row:
    """The measures of one checkpoint on one benchmark, without the comparisons.

    Args:
        rows: its evaluation rows, one per prompt, in any order.
        seed, resamples: of the bootstrap. The resampled prompts are the same for every checkpoint.
    """
    rows = sorted(rows, key=lambda row: (row["prompt_id"], row["sample"]))
    name = rows[0]["benchmark"]
    values = list(measured(rows, check_share).values())
    asked = sum(row["mass"] is not None for row in rows)
    scores = [row["score"] for row in rows if row["score"] is not None]
    full = sum(value == 1.0 for value in values)
    check_low, check_high = bootstrap_mean(values, resamples, [seed, name, "checks"])
    all_low, all_high = wilson(full, len(values))
    judge_low, judge_high = bootstrap_mean(scores, resamples, [seed, name, "judge"])
    return {
        "checkpoint": rows[0]["checkpoint"],
        "benchmark": name,
        "prompts": len(rows),
        "checked_prompts": len(values),
        "check_rate": mean(values),
        "check_low": check_low,
        "check_high": check_high,
        "all_passed": full / len(values) if values else None,
        "all_low": all_low,
        "all_high": all_high,
        "judge_score": mean(scores),
        "judge_low": judge_low,
        "judge_high": judge_high,
        "judge_prompts": asked,
        "judge_unreadable": asked - len(scores),
        "mean_tokens": mean([row["tokens"] for row in rows]),
        "mean_words": mean([words(row) for row in rows]),
        "cut_off": mean([float(row["finish_reason"] == "length") for row in rows]),
    }


def round_before(checkpoint: str, checkpoints: list[str]) -> str | None:
    """The model of the round before a round's; None where that is the SFT, or there is none."""
    name, _, number = checkpoint.partition("-")
    before = f"round-{int(number) - 1}" if name == "round" else ""
    return before if before in checkpoints else None


def outside_judges(
    judged: list[str], reference: str, seed: int, resamples: int
) -> dict[tuple[str, str], Judged]:
    """What each judge of evaluation.judges says: {(judge, benchmark): all of it}, sorted."""
    tables: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in read_judged(judged):
        of_judge = tables.setdefault((row["judge"], row["benchmark"]), {})
        of_judge.setdefault(row["checkpoint"], []).append(row)
    return {key: Judged(tables[key], reference, [seed, key[1]], resamples) for key in sorted(tables)}


def main(
    results: list[str],
    prompts: str | Path,
    summary: str | Path,
    judged: list[str] | None = None,
    *,
    seed: int,
    checkpoints: list[str],
    resamples: int,
    reference: str = "",
) -> None:
    """Write the summary, rows in the order of `checkpoints`, then by benchmark, the run's own judge first.

    What no judge says (checks, lengths) is the same in all rows of a checkpoint and benchmark.

    Raises:
        InputError: a checkpoint has no response to an evaluation prompt.
    """
    from alma.tables import read_table, read_tables

    groups: dict[tuple[str, str], list[Row]] = {}
    for row in read_tables(results, "evaluation"):
        groups.setdefault((row["checkpoint"], row["benchmark"]), []).append(row)
    # Prompts that are too long for the engine are left out, for every checkpoint.
    answered = {row["prompt_id"] for group in groups.values() for row in group}
    asked: dict[str, set[str]] = {}
    for row in read_table(prompts, "eval"):
        if row["prompt_id"] in answered:
            asked.setdefault(row["benchmark"], set()).add(row["prompt_id"])
    problems = [
        f"{checkpoint}, {name}: {len(missing)} of {len(ids)} prompts have no response"
        for checkpoint in checkpoints
        for name, ids in sorted(asked.items())
        if (missing := ids - {row["prompt_id"] for row in groups.get((checkpoint, name), [])})
    ]
    fail_with(problems, "evaluation/: responses are missing. Delete these files and run again.")
    rows = []
    others = outside_judges(judged or [], reference, seed, resamples)
    sft = [checkpoint for checkpoint in checkpoints if checkpoint.startswith(REFERENCE)]
    for checkpoint in checkpoints:
        before = round_before(checkpoint, checkpoints)
        for name in sorted(asked):
            own = groups[checkpoint, name]
            first = [] if checkpoint in sft else [groups[one, name] for one in sft]
            last = [groups[before, name]] if before else []
            row = summary_row(own, seed, resamples)
            row |= differences(own, first, "vs_sft", seed, resamples)
            row |= differences(own, last, "vs_before", seed, resamples)
            row |= words_ratio(own, first, seed, resamples) | NO_GAMES
            rows.append(row | {"judge": OWN})
            print(f"{checkpoint}, {name}: check rate {row['check_rate']}, judge {row['judge_score']}")
            for (judge, benchmark), said in others.items():
                found = said.row(checkpoint, [] if checkpoint in sft else sft, before)
                if benchmark == name and found:
                    rows.append(row | found | {"judge": judge})
                    told = f"score {found['judge_score']}, win rate {found['win_rate']}"
                    print(f"{checkpoint}, {name}, {judge}: {told}")
    write_csv_table(summary, "summary", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.results),
            snakemake.input.prompts,
            snakemake.output.summary,
            list(snakemake.input.judged),
            **config,
        )
