"""Show which checks each checkpoint passes, by category of the prompt and by kind of check.

Reads:
    evaluation/{checkpoint}/{benchmark}.parquet: passed (one value per check).
    seeds/eval.parquet: category and checks (JSON list of objects with `kind`) of each prompt.
Writes:
    tables/checks.csv (columns in `alma.csv_schemas`). figures/checks.svg: the rates, all benchmarks
    together.
Params:
    checkpoints (their order).
"""

import json
from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.measures import verdicts


def count_checks(rows: list[dict[str, Any]], prompts: list[dict[str, Any]]) -> dict[tuple, list[int]]:
    """{(benchmark, group, name, checkpoint): [checks, passed]} over evaluation rows."""
    facts = {
        (row["benchmark"], row["prompt_id"]): (
            row["category"] or "none",
            [check["kind"] for check in json.loads(row["checks"] or "[]")],
        )
        for row in prompts
    }
    found: dict[tuple, list[int]] = {}
    for row in rows:
        category, kinds = facts[row["benchmark"], row["prompt_id"]]
        for kind, passed in zip(kinds, verdicts(row), strict=True):
            for group, name in (("category", category), ("kind", kind)):
                cell = found.setdefault((row["benchmark"], group, name, row["checkpoint"]), [0, 0])
                cell[0] += 1
                cell[1] += passed
    return found


def main(
    results: list[str],
    prompts: str | Path,
    checks: str | Path,
    figure_path: str | Path,
    *,
    checkpoints: list[str],
) -> None:
    """Write the table and draw one grid of rates for categories and one for kinds."""
    from alma.figures import figure, nothing
    from alma.tables import read_table, read_tables

    counts = count_checks(read_tables(results, "evaluation"), read_table(prompts, "eval"))
    order = sorted(counts, key=lambda key: (*key[:3], checkpoints.index(key[3])))
    keys = ("benchmark", "group", "name", "checkpoint")
    rows = []
    for key in order:
        asked, passed = counts[key]
        rows.append(
            dict(zip(keys, key, strict=True)) | {"checks": asked, "passed": passed, "rate": passed / asked}
        )
    write_csv_table(checks, "checks", rows)
    names = {group: sorted({key[2] for key in counts if key[1] == group}) for group in ("category", "kind")}
    tallest = max(4, *(len(found) for found in names.values()))
    size = (2 * (2.4 + 0.62 * len(checkpoints)), 1.6 + 0.3 * tallest)
    with figure(figure_path, size, columns=2) as (fig, grid):
        for axes, (group, found) in zip(grid[0], names.items(), strict=True):
            if not found:
                nothing(axes, "no prompt has checks")
                continue
            totals = dict.fromkeys(found, 0)
            rates = [[float("nan")] * len(checkpoints) for _ in found]
            for y, name in enumerate(found):
                for x, checkpoint in enumerate(checkpoints):
                    cells = [
                        cell
                        for key, cell in counts.items()
                        if key[1:3] == (group, name) and key[3] == checkpoint
                    ]
                    asked = sum(cell[0] for cell in cells)
                    totals[name] = max(totals[name], asked)
                    if asked:
                        rates[y][x] = sum(cell[1] for cell in cells) / asked
            image = axes.imshow(rates, vmin=0, vmax=1, cmap="cividis", aspect="auto")
            for y, line in enumerate(rates):
                for x, rate in enumerate(line):
                    if rate == rate:
                        color = "white" if rate < 0.55 else "black"
                        axes.text(
                            x, y, f"{100 * rate:.0f}", ha="center", va="center", color=color, fontsize=8
                        )
            axes.set_xticks(range(len(checkpoints)), checkpoints, rotation=45, ha="right")
            axes.set_yticks(range(len(found)), [f"{name} ({totals[name]})" for name in found])
            axes.grid(visible=False)
            axes.set_title(f"Checks passed by {'category' if group == 'category' else 'kind of check'}")
        if counts:
            bar = fig.colorbar(image, ax=list(grid[0]), shrink=0.7, pad=0.01)
            bar.set_label("share passed (numbers: percent)")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.results),
            snakemake.input.prompts,
            snakemake.output.checks,
            snakemake.output.figure,
            **config,
        )
