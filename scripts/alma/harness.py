"""What lm-eval's harness says of checkpoints: a table of items, and the means that compare."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from alma.lm_eval import ask
from alma.statistics import bootstrap_mean, mean
from alma.tables import SCHEMAS, read_table, write_table

# Here and not in `alma.tables`, which is in the hash of every job.
SCHEMAS["harness"] = pa.schema(
    [("task", pa.string()), ("metric", pa.string()), ("item", pa.int32()), ("value", pa.float64())]
)
Values = dict[tuple[str, str], dict[int, float]]  # {task and metric: {item: value}}


def harness_items(question: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the `harness` table (`alma.lm_eval_programs.harness`).

    Raises:
        InputError: see `alma.lm_eval.ask`.
    """
    answer = ask("harness", question)
    print(f"tasks: {', '.join(answer['tasks'])}; {len(answer['items'])} values")
    return answer["items"]


def write_items(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """Write a `harness` table, sorted."""
    write_table(path, "harness", sorted(rows, key=lambda row: (row["task"], row["metric"], row["item"])))


def read_values(path: str | Path) -> Values:
    """The values of a `harness` table."""
    found: Values = {}
    for row in read_table(path, "harness"):
        found.setdefault((row["task"], row["metric"]), {})[row["item"]] = row["value"]
    return found


def compared(
    mine: dict[int, float], base: dict[int, float] | None, resamples: int, seed: Any
) -> dict[str, Any]:
    """Mean of a checkpoint's values, and its difference to the base model's, paired by item.

    Args:
        base: None for the base model itself, and where it was not run.
    """
    values = [mine[item] for item in sorted(mine)]
    low, high = bootstrap_mean(values, resamples, [seed, "value"])
    found = {"items": len(values), "value": mean(values), "value_low": low, "value_high": high}
    gaps = [mine[item] - base[item] for item in sorted(set(mine) & set(base))] if base else []
    low, high = bootstrap_mean(gaps, resamples, [seed, "vs_base"])
    return found | {"vs_base": mean(gaps), "vs_base_low": low, "vs_base_high": high}
