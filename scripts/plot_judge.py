"""Plot how well four judges know the human scores.

Reads:
    evaluation/judge.csv: accuracy by judge. tables/judge_calibration.csv: bins by judge.
Writes:
    figures/judge.svg: pairwise accuracy, and mean human score against the judge's score.
"""

from pathlib import Path

from alma.csv_tables import read_csv_table


def main(table: str | Path, calibration: str | Path, figure_path: str | Path) -> None:
    """Draw both panels."""
    from alma.figures import BLUE, GRAY, MARKERS, ORANGE, RED, SKY, figure, nothing

    rows, bins = read_csv_table(table, "judge"), read_csv_table(calibration, "judge_calibration")
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    colors = dict(zip(judges, (GRAY, SKY, BLUE, RED), strict=False))
    with figure(figure_path, (10.5, 4.2), columns=2) as (_, grid):
        left, right = grid[0]
        height = 0.7 / max(1, len(benchmarks))
        for b, benchmark in enumerate(benchmarks):
            for place, judge in enumerate(judges):
                row = next((r for r in rows if r["judge"] == judge and r["benchmark"] == benchmark), None)
                value = row["accuracy"] if row else None
                if row is None or value is None:
                    continue
                low, high = row["accuracy_low"], row["accuracy_high"]
                at = -place + height * ((len(benchmarks) - 1) / 2 - b)
                left.barh(at, value, height * 0.9, color=colors[judge], alpha=1.0 if b == 0 else 0.55)
                if low is not None and high is not None:
                    left.plot([low, high], [at, at], color="#222222", linewidth=1.3)
                where = max(value, high or value)
                note = f"{value:.2f}" if len(benchmarks) == 1 else f"{value:.2f} ({benchmark})"
                left.text(where + 0.02, at, note, va="center", fontsize=9)
        left.axvline(0.5, color=ORANGE, linestyle="--", linewidth=1.2)
        left.text(0.5, 0.62, "guessing", ha="center", fontsize=8, color="#8A5A00")
        left.set_yticks([-p for p in range(len(judges))], judges)
        left.set_ylim(-len(judges) + 0.4, 0.85)
        left.set_xlim(0, 1.25 if len(benchmarks) > 1 else 1.12)
        left.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
        left.grid(axis="y", visible=False)
        left.set_xlabel("pairs of one prompt in the right order (share)")
        left.set_title("Pairwise accuracy")
        if not bins:
            nothing(right, "no held-out row has a score")
            return
        for i, judge in enumerate(judges):
            own = [row for row in bins if row["judge"] == judge]
            right.plot(
                [row["mean_score"] for row in own],
                [row["mean_label"] for row in own],
                color=colors[judge],
                marker=MARKERS[i],
                label=judge,
            )
        right.plot([0, 10], [0, 10], color=GRAY, linestyle="--", linewidth=1.2, label="score = human score")
        right.set_xlim(0, 10)
        right.set_ylim(0, 10)
        right.set_xlabel("mean score of the judge in the bin (0-10)")
        right.set_ylabel("mean human score (0-10)")
        right.set_title("Calibration on the held-out rows")
        right.legend(loc="upper left")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.table,
            snakemake.input.calibration,
            snakemake.output.figure,
            **config,
        )
