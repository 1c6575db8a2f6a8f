"""Summarize the evaluation: one row per checkpoint and benchmark.

Reads:
    evaluation/{checkpoint}/{benchmark}.parquet: responses with `passed` (one value per check) and
    `score` (float64 0-10 or null).
    seeds/eval.parquet: the prompts, to see that none is missing.
Writes:
    evaluation/summary.csv (columns in `alma.csv_schemas`). An empty response passes nothing. low and
    high are 95% intervals: bootstrap over prompts, and Wilson's for all_passed. vs_sft compares with
    the mean over the SFT checkpoints on each prompt, and is empty for these.
Params:
    seed, checkpoints (order of the rows), resamples (of the bootstrap).
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.errors import fail_with
from alma.measures import check_share
from alma.statistics import bootstrap_mean, mean, wilson
from alma.words import words_of

REFERENCE = "sft-"  # what the names of the SFT checkpoints begin with


def check_shares(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Share of checks passed by prompt_id, of the prompts that have checks."""
    shares = {row["prompt_id"]: check_share(row) for row in rows}
    return {prompt: share for prompt, share in sorted(shares.items()) if share is not None}


def mean_shares(checkpoints: list[dict[str, float]]) -> dict[str, float]:
    """Mean share of checks passed over several checkpoints, of the prompts that all of them answered."""
    prompts = set.intersection(*map(set, checkpoints)) if checkpoints else set()
    return {
        prompt: sum(shares[prompt] for shares in checkpoints) / len(checkpoints) for prompt in sorted(prompts)
    }


def summary_row(
    rows: list[dict[str, Any]], reference: dict[str, float], seed: int, resamples: int
) -> dict[str, Any]:
    """The measures of one checkpoint on one benchmark.

    Args:
        rows: its evaluation rows, one per prompt, in any order.
        reference: share of checks passed by prompt_id, to compare with; none leaves vs_sft empty.
        seed, resamples: of the bootstrap. The resampled prompts are the same for every checkpoint.
    """
    rows = sorted(rows, key=lambda row: (row["prompt_id"], row["sample"]))
    name = rows[0]["benchmark"]
    shares = check_shares(rows)
    values = list(shares.values())
    scores = [row["score"] for row in rows if row["score"] is not None]
    full = sum(value == 1.0 for value in values)
    check_low, check_high = bootstrap_mean(values, resamples, [seed, name, "checks"])
    all_low, all_high = wilson(full, len(values))
    judge_low, judge_high = bootstrap_mean(scores, resamples, [seed, name, "judge"])
    gaps = [share - reference[prompt] for prompt, share in shares.items() if prompt in reference]
    gap_low, gap_high = bootstrap_mean(gaps, resamples, [seed, name, "checks"])
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
        "judge_unreadable": len(rows) - len(scores),
        "mean_tokens": mean([row["tokens"] for row in rows]),
        "mean_words": mean([len(words_of(row["response"])) for row in rows]),
        "cut_off": mean([float(row["finish_reason"] == "length") for row in rows]),
        "vs_sft": mean(gaps),
        "vs_sft_low": gap_low,
        "vs_sft_high": gap_high,
    }


def main(
    results: list[str],
    prompts: str | Path,
    summary: str | Path,
    *,
    seed: int,
    checkpoints: list[str],
    resamples: int,
) -> None:
    """Write the summary, rows in the order of `checkpoints`, then by benchmark.

    Raises:
        InputError: a checkpoint has no response to an evaluation prompt.
    """
    from alma.tables import read_table, read_tables

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in read_tables(results, "evaluation"):
        groups.setdefault((row["checkpoint"], row["benchmark"]), []).append(row)
    asked: dict[str, set[str]] = {}
    for row in read_table(prompts, "eval"):
        asked.setdefault(row["benchmark"], set()).add(row["prompt_id"])
    problems = [
        f"{checkpoint}, {name}: {len(missing)} of {len(ids)} prompts have no response"
        for checkpoint in checkpoints
        for name, ids in sorted(asked.items())
        if (missing := ids - {row["prompt_id"] for row in groups.get((checkpoint, name), [])})
    ]
    fail_with(problems, "evaluation/: responses are missing. Delete these files and run again.")
    rows = []
    sft = [checkpoint for checkpoint in checkpoints if checkpoint.startswith(REFERENCE)]
    references = {name: mean_shares([check_shares(groups[one, name]) for one in sft]) for name in asked}
    for checkpoint in checkpoints:
        for name in sorted(asked):
            reference = {} if checkpoint in sft else references[name]
            row = summary_row(groups[checkpoint, name], reference, seed, resamples)
            rows.append(row)
            print(f"{checkpoint}, {name}: check rate {row['check_rate']}, judge {row['judge_score']}")
    write_csv_table(summary, "summary", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.results),
            snakemake.input.prompts,
            snakemake.output.summary,
            **config,
        )
