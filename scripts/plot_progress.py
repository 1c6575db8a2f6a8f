"""Plot how checks, judge score and length move from the base model to the last round.

Reads:
    evaluation/summary.csv: one row per checkpoint, benchmark and judge; those of the run's own.
Writes:
    figures/progress.svg: three panels over the checkpoints, one line per benchmark.
"""

from pathlib import Path

from alma.csv_tables import read_csv_table
from alma.summary_rows import of_own_judge

PANELS = (
    ("check_rate", "check_low", "check_high", "Share of checks passed", "share (0-1)"),
    ("judge_score", "judge_low", "judge_high", "Score by the run's judge", "mean score (0-10)"),
    ("mean_words", None, None, "Length of the responses", "mean words"),
)


def main(summary: str | Path, progress: str | Path) -> None:
    """Draw the figure from the summary."""
    from alma.figures import CYCLE, MARKERS, figure, nothing, with_interval

    rows = of_own_judge(read_csv_table(summary, "summary"))
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    benchmarks = sorted({row["benchmark"] for row in rows})
    # Side by side while there is room for the names, else one below the other.
    shape = (1, len(PANELS)) if len(checkpoints) <= 6 else (len(PANELS), 1)
    size = (13.0, 3.9) if shape[0] == 1 else (max(8.0, 0.75 * len(checkpoints)), 9.0)
    with figure(progress, size, *shape) as (fig, grid):
        for axes, (key, low, high, title, unit) in zip(grid.flat, PANELS, strict=True):
            if all(row[key] is None for row in rows):
                nothing(axes, f"{title}:\nnothing was measured")
                continue
            for i, name in enumerate(benchmarks):
                own = [row for row in rows if row["benchmark"] == name]
                # Side by side, so that intervals of several benchmarks can be told apart.
                shift = 0.12 * (i - (len(benchmarks) - 1) / 2)
                with_interval(
                    axes,
                    [checkpoints.index(row["checkpoint"]) + shift for row in own],
                    [(row[key], row[low] if low else None, row[high] if high else None) for row in own],
                    color=CYCLE[i % len(CYCLE)],
                    marker=MARKERS[i % len(MARKERS)],
                    label=name,
                )
            axes.set_title(title)
            axes.set_ylabel(unit)
            axes.set_xticks(range(len(checkpoints)), checkpoints, rotation=45, ha="right")
            axes.set_xlim(-0.5, len(checkpoints) - 0.5)
            axes.margins(y=0.12)
            axes.set_ylim(0, {"check_rate": 1.03, "judge_score": 10.3}.get(key))
        if len(benchmarks) > 1:
            grid[0][0].legend(title="benchmark")
        fig.supxlabel("checkpoint", fontsize=10)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.summary, snakemake.output.progress, **config)
