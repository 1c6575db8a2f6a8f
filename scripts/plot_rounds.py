"""Plot the share of checks passed after each round, a line per run or mean over runs.

Reads:
    tables/by_round/{table}.csv: one row per run, round and benchmark, and the means over runs.
Writes:
    figures/by_round/{table}.svg: a panel per benchmark. Where several runs differ in seeds alone, the line
    is their mean with an interval over runs and prompts, and the runs are thin lines; else the interval
    is over prompts.
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import read_csv_table


def lines_of(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of each line, by series, in the order of the table: the mean over runs where there is one."""
    found: dict[str, list[dict[str, Any]]] = {row["series"]: [] for row in rows}
    for series in found:
        own = [row for row in rows if row["series"] == series]
        most = max(row["runs"] for row in own)
        found[series] = sorted((row for row in own if row["runs"] == most), key=lambda row: row["round"])
    return found


def main(table: str | Path, figure_path: str | Path) -> None:
    """Draw the figure from the table."""
    from alma.figures import CYCLE, GRAY, MARKERS, figure, nothing, with_interval

    rows = read_csv_table(table, "by_round")
    benchmarks = sorted({row["benchmark"] for row in rows})
    series = list(dict.fromkeys(row["series"] for row in rows))
    learned = [
        name for name in series if not any(r["choice"] == "random" for r in rows if r["series"] == name)
    ]
    colors = {name: CYCLE[i % len(CYCLE)] for i, name in enumerate(learned)}
    with figure(figure_path, (7.2 * max(1, len(benchmarks)), 4.6), 1, max(1, len(benchmarks))) as (_, grid):
        if not rows:
            nothing(grid[0][0], "no evaluation prompt has checks")
        for axes, benchmark in zip(grid[0], benchmarks, strict=False):
            own = [row for row in rows if row["benchmark"] == benchmark]
            for i, (name, line) in enumerate(lines_of(own).items()):
                shift = 0.06 * (i - (len(series) - 1) / 2)  # so that intervals can be told apart
                color = colors.get(name, GRAY)
                count = line[0]["runs"]
                for run in dict.fromkeys(
                    r["run"] for r in own if r["series"] == name and count > 1 and r["run"]
                ):
                    thin = [row for row in own if row["run"] == run]
                    at = [row["round"] + shift for row in thin]
                    axes.plot(at, [row["check_rate"] for row in thin], color=color, alpha=0.35, linewidth=0.8)
                with_interval(
                    axes,
                    [row["round"] + shift for row in line],
                    [(row["check_rate"], row["check_low"], row["check_high"]) for row in line],
                    color=color,
                    marker=MARKERS[i % len(MARKERS)],
                    linestyle="-" if name in colors else "--",
                    label=f"{name}, mean of {count} seeds" if count > 1 else name,
                )
            rounds = sorted({row["round"] for row in own})
            axes.set_xticks(rounds, ["SFT" if round_ == 1 else str(round_) for round_ in rounds])
            axes.set_xlabel("round")
            axes.set_ylabel("share of checks passed (0-1)")
            axes.set_title(f"{benchmark}: quality by round ({own[0]['prompts']} prompts)")
            axes.margins(y=0.12)
            axes.legend()


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.table, snakemake.output.figure, **config)
