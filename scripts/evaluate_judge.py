"""Measure four judges on held-out human scores, and on the judge benchmark where there is one.

Reads:
    judge/heldout/{base,judge-seed,judge}.parquet: response_id, prompt_id, label (float64 0-10, the
    mean human score), score (float64 0-10 or null), mass, p (eleven float32). Rows whose prompt_id
    starts with "pair:" are the benchmark's: label 10 for chosen, 0 for rejected.
Writes:
    evaluation/judge.csv, tables/judge_calibration.csv (columns in `alma.csv_schemas`). Pairs are two
    responses to one prompt with different labels; the interval of the accuracy is a bootstrap over
    prompts. A score that is null is a tie in a pair and left out elsewhere.
Params:
    seed, resamples (of the bootstrap).
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.judge_accuracy import by_prompt, is_benchmark_pair, pairs_by_prompt, score_of
from alma.statistics import bootstrap_ratio, calibration_bins, calibration_error, mean, spearman

# The judges of the paper's table: name, checkpoint, kind of score.
JUDGES = (
    ("few-shot, integer", "base", "integer"),
    ("fine-tuned, integer", "judge-seed", "integer"),
    ("fine-tuned, real-valued", "judge-seed", "real-valued"),
    ("self-distilled, real-valued", "judge", "real-valued"),
)


def measure(
    rows: list[dict[str, Any]], kind: str, seed: Any, resamples: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measures of one judge on rows of one benchmark, and its calibration bins.

    Args:
        rows: judge_score rows.
        kind: integer or real-valued.
        seed, resamples: of the bootstrap over prompts.
    """
    groups = by_prompt(rows).values()
    results = pairs_by_prompt(rows, kind).values()
    right, pairs = [r for r, _ in results], [float(n) for _, n in results]
    low, high = bootstrap_ratio(right, pairs, resamples, seed)

    scored = [[(score_of(row, kind), row["label"]) for row in group] for group in groups]
    readable = [[(score, label) for score, label in group if score is not None] for group in scored]
    within = [spearman([s for s, _ in g], [y for _, y in g]) for g in readable if g]
    flat = [pair for group in readable for pair in group]
    scores, labels = [s for s, _ in flat], [y for _, y in flat]
    bins = calibration_bins(scores, labels)
    return {
        "rows": len(rows),
        "pairs": int(sum(pairs)),
        "accuracy": sum(right) / sum(pairs) if sum(pairs) else None,
        "accuracy_low": low,
        "accuracy_high": high,
        "spearman": spearman(scores, labels),
        "spearman_within": mean([value for value in within if value is not None]),
        "mae": mean([abs(s - y) for s, y in flat]),
        "calibration_error": calibration_error(bins),
        "mean_mass": mean([row["mass"] for row in rows]),
        "unreadable": len(rows) - len(flat),
    }, bins


def main(
    base: str | Path,
    judge_seed: str | Path,
    judge: str | Path,
    table: str | Path,
    calibration: str | Path,
    *,
    seed: int,
    resamples: int,
) -> None:
    """Write both tables, judges in the order of `JUDGES`."""
    from alma.tables import read_table

    scored = {
        "base": read_table(base, "judge_score"),
        "judge-seed": read_table(judge_seed, "judge_score"),
        "judge": read_table(judge, "judge_score"),
    }
    rows, bins = [], []
    for name, checkpoint, kind in JUDGES:
        parts: dict[str, list[dict[str, Any]]] = {"heldout": [], "pairs": []}
        for row in scored[checkpoint]:
            parts["pairs" if is_benchmark_pair(row) else "heldout"].append(row)
        for benchmark, part in parts.items():
            if not part:
                continue
            measures, found = measure(part, kind, [seed, "judge", benchmark], resamples)
            if benchmark == "heldout":
                bins += [{"judge": name} | row for row in found if row["rows"]]
            else:
                # Chosen and rejected are no ratings on 0-10: only the order of a pair is known.
                empty = ("spearman", "spearman_within", "mae", "calibration_error")
                measures |= dict.fromkeys(empty)
            keys = {"judge": name, "checkpoint": checkpoint, "kind": kind, "benchmark": benchmark}
            rows.append(keys | measures)
            print(f"{name}, {benchmark}: accuracy {measures['accuracy']} on {measures['pairs']} pairs")
    write_csv_table(table, "judge", rows)
    write_csv_table(calibration, "judge_calibration", bins)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.base,
            snakemake.input.judge_seed,
            snakemake.input.judge,
            snakemake.output.table,
            snakemake.output.calibration,
            **config,
        )
