"""Compare checkpoints on tasks of lm-eval's harness: what alignment cost in knowledge.

Reads:
    evaluation/harness/{checkpoint}.parquet: task, metric, item, value.
Writes:
    evaluation/harness.csv (columns in `alma.csv_schemas`). Intervals are bootstraps over items.
Params: seed, checkpoints, resamples.
"""

from pathlib import Path

from alma.csv_tables import write_csv_table
from alma.harness import compared, read_values


def main(results: list[str], table: str | Path, *, seed: int, checkpoints: list[str], resamples: int) -> None:
    """Write a row per checkpoint, task and metric; checkpoints in their order.

    Args:
        results: one table per checkpoint.
    """
    found = {name: read_values(path) for name, path in zip(checkpoints, results, strict=True)}
    rows = []
    for name, values in found.items():
        for (task, metric), mine in values.items():
            base = None if name == "base" else found.get("base", {}).get((task, metric))
            row = {"checkpoint": name, "task": task, "metric": metric}
            rows.append(row | compared(mine, base, resamples, [seed, task, metric]))
            print(f"{name}, {task}, {metric}: {rows[-1]['value']} on {rows[-1]['items']} items")
    write_csv_table(table, "harness", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.results), snakemake.output.table, **config)
