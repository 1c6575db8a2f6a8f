"""Measure the judge on the model's own responses: what its choice of n is worth, by a truth of its own.

Reads:
    seeds/eval.parquet: benchmark, prompt_id, checks (JSON).
    evaluation/selection/responses.parquet: several responses of an SFT checkpoint to each of these prompts.
    evaluation/selection/scores.parquet: their scores by the judge that selects.
    seeds/judge_heldout.parquet: prompt_id, response_id, prompt, response. judge/heldout/{judge}.parquet:
    response_id, label (float64 0-10, the mean human score), score, p.
Writes:
    evaluation/selection.csv (columns in `alma.csv_schemas`): the truth "checks" is the share of its prompt's
    checks that a response passes, "human" its human score, on prompts with two or more rated responses. A
    response that selection would never choose is left out (`alma.selection.is_eligible`).
Params:
    seed, resamples (of the bootstrap over prompts), judge (checkpoint), score (expected or integer),
    tie_tolerance (scores this close tie).
"""

import json
from pathlib import Path
from typing import Any

from alma.checks import run_checks
from alma.csv_tables import write_csv_table
from alma.judge_accuracy import is_benchmark_pair, score_of
from alma.measures import check_share
from alma.selection import is_eligible
from alma.selection_quality import Pool, selection_rows
from alma.words import words_of

Row = dict[str, Any]


def pool_of(kind: str, rows: list[Row]) -> Pool | None:
    """The responses to one prompt that may be chosen; None where none may.

    Args:
        rows: prompt, response, finish_reason, score and truth of each response.
    """
    eligible = [row for row in rows if is_eligible(row["prompt"], row)]
    if not eligible:
        return None
    return Pool(
        kind,
        len(rows),
        [row["score"] for row in eligible],
        [row["truth"] for row in eligible],
        [len(words_of(row["response"])) for row in eligible],
    )


def pools_of(kinds: dict[str, str], rows: list[Row]) -> list[Pool]:
    """One pool per prompt, in the order of prompt_id."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["prompt_id"], row["response_id"])):
        groups.setdefault(row["prompt_id"], []).append(row)
    found = [pool_of(kinds.get(prompt, ""), group) for prompt, group in groups.items()]
    return [pool for pool in found if pool is not None]


def checked_pools(asked: list[Row], responses: list[Row], scores: list[Row]) -> list[Pool]:
    """Pools of sampled responses, whose truth is the share of checks passed.

    Args:
        asked: eval rows. responses: selection_response rows. scores: their score rows, joined by id.
    """
    checks = {(row["benchmark"], row["prompt_id"]): json.loads(row["checks"]) for row in asked}
    score = {row["response_id"]: row["score"] for row in scores}
    kinds, rows = {}, []
    for row in responses:
        wanted = checks[row["benchmark"], row["prompt_id"]]
        kinds[row["prompt_id"]] = "+".join(sorted({check["kind"] for check in wanted}))
        truth = check_share(row | {"passed": run_checks(wanted, row["response"])})
        rows.append(row | {"score": score[row["response_id"]], "truth": truth})
    return pools_of(kinds, rows)


def rated_pools(texts: list[Row], judged: list[Row], kind: str) -> list[Pool]:
    """Pools of the held-out responses that people rated, of the prompts that have two or more.

    Args:
        texts: judge rows, one per annotator. judged: judge_score rows. kind: integer or real-valued.
    """
    text = {row["response_id"]: row for row in texts}
    rows = [
        text[row["response_id"]]
        | {"finish_reason": "stop", "truth": row["label"], "score": score_of(row, kind)}
        for row in judged
        if not is_benchmark_pair(row)
    ]
    return [pool for pool in pools_of({}, rows) if pool.sampled > 1]


def main(
    prompts: str | Path,
    responses: str | Path,
    scores: str | Path,
    heldout: str | Path,
    heldout_scores: str | Path,
    table: str | Path,
    *,
    seed: int,
    resamples: int,
    judge: str,
    score: str,
    tie_tolerance: float,
) -> None:
    """Write the table: what the checks say, then what the human scores say."""
    from alma.tables import read_table

    kind = {"expected": "real-valued", "integer": "integer"}[score]
    pools = {
        "checks": checked_pools(
            read_table(prompts, "eval"),
            read_table(responses, "selection_response"),
            read_table(scores, "score"),
        ),
        "human": rated_pools(read_table(heldout, "judge"), read_table(heldout_scores, "judge_score"), kind),
    }
    rows = []
    for truth, own in pools.items():
        found = selection_rows(
            own, tolerance=tie_tolerance, resamples=resamples, seed=[seed, "selection", truth]
        )
        rows += [{"truth": truth, "judge": judge} | row for row in found]
        if not own:
            print(f"{truth}: not measured, no prompt has what it takes")
            continue
        told = {row["measure"]: row["value"] for row in found if row["kind"] == "all"}
        print(
            f"{truth}: pair accuracy {told['pair_accuracy']} (0.5 is guessing), judge's choice minus a "
            f"random one {told['judge_minus_random']}, on {len(own)} prompts"
        )
    write_csv_table(table, "selection", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.prompts,
            snakemake.input.responses,
            snakemake.input.scores,
            snakemake.input.heldout,
            snakemake.input.heldout_scores,
            snakemake.output.table,
            **config,
        )
