"""Plot the expected score of the best of n candidates.

Reads:
    tables/rounds/{round}/best_of_n.csv of every round.
Writes:
    figures/best_of_n.svg: a line per round. tables/best_of_n.csv: all rows.
"""

from pathlib import Path

from alma.csv_tables import read_csv_table, write_csv_table


def main(per_round: list[str], best_of_n: str | Path, figure_path: str | Path) -> None:
    """Join the tables of the rounds and draw their curves."""
    from scipy.stats import norm

    from alma.figures import MARKERS, checkpoint_colors, figure, nothing

    z = float(norm.ppf(0.975))  # half a 95% interval, in standard errors
    rows = [row for path in per_round for row in read_csv_table(path, "best_of_n")]
    write_csv_table(best_of_n, "best_of_n", rows)
    rounds = list(dict.fromkeys(row["round"] for row in rows))
    colors = checkpoint_colors([f"round-{name}" for name in rounds])
    with figure(figure_path, (6.8, 4.2)) as (_, grid):
        axes = grid[0][0]
        if not rows:
            nothing(axes, "no response could be chosen")
            return
        for i, name in enumerate(rounds):
            own = [row for row in rows if row["round"] == name]
            n = [row["n"] for row in own]
            best = [row["expected_best"] for row in own]
            half = [z * (row["standard_error"] or 0.0) for row in own]
            color = colors[f"round-{name}"]
            axes.plot(
                n,
                best,
                color=color,
                marker=MARKERS[i % len(MARKERS)] if len(n) <= 40 else None,
                label=f"round {name}",
            )
            low = [b - h for b, h in zip(best, half, strict=True)]
            high = [b + h for b, h in zip(best, half, strict=True)]
            axes.fill_between(n, low, high, color=color, alpha=0.12, linewidth=0)
        largest = max(row["n"] for row in rows)
        if largest > 20:
            axes.set_xscale("log")
            axes.set_xticks(ticks := [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= largest])
            axes.set_xticklabels([str(t) for t in ticks])
            axes.minorticks_off()
        else:
            axes.set_xticks(range(1, largest + 1))
        axes.set_xlabel("n, candidates per prompt")
        axes.set_ylabel("expected best judge score (0-10)")
        axes.set_title("What more candidates buy: the best of n")
        axes.legend(loc="lower right")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.per_round),
            snakemake.output.best_of_n,
            snakemake.output.figure,
            **config,
        )
