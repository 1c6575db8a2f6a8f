"""Plot the scores of each round's candidates by checkpoint, and of those that were chosen.

Reads:
    tables/rounds/{round}/scores.csv of every round.
Writes:
    figures/scores.svg: a box per round and source. tables/scores.csv: all rows.
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import read_csv_table, write_csv_table


def main(per_round: list[str], scores: str | Path, figure_path: str | Path) -> None:
    """Join the tables of the rounds and draw their quantiles."""
    from alma.figures import checkpoint_colors, figure, nothing

    rows = [row for path in per_round for row in read_csv_table(path, "scores")]
    write_csv_table(scores, "scores", rows)
    rounds = list(dict.fromkeys(row["round"] for row in rows))
    sources = list(dict.fromkeys(row["source"] for row in rows if row["source"] != "chosen"))
    sources.append("chosen")
    colors = checkpoint_colors(sources)
    with figure(figure_path, (max(7.0, 2.2 + 1.5 * len(rounds)), 4.2)) as (_, grid):
        axes = grid[0][0]
        drawn: dict[str, Any] = {}
        for place, round_ in enumerate(rounds):
            own = [row for row in rows if row["round"] == round_ and row["mean"] is not None]
            width = 0.8 / max(1, len(own))
            for i, row in enumerate(own):
                parts_of = {"med": "p50", "q1": "p25", "q3": "p75", "whislo": "p05", "whishi": "p95"}
                box = {part: row[column] for part, column in (parts_of | {"mean": "mean"}).items()}
                parts = axes.bxp(
                    [box],
                    positions=[place + width * (i - (len(own) - 1) / 2)],
                    widths=width * 0.82,
                    showfliers=False,
                    showmeans=True,
                    patch_artist=True,
                    manage_ticks=False,
                    boxprops={"facecolor": colors[row["source"]], "edgecolor": "#333333"},
                    medianprops={"color": "white", "linewidth": 1.6},
                    meanprops={"marker": "o", "markersize": 4, "markerfacecolor": "white"}
                    | {"markeredgecolor": "#333333"},
                )
                drawn.setdefault(row["source"], parts["boxes"][0])
        if not drawn:
            nothing(axes, "no response has a score")
            return
        axes.set_xticks(range(len(rounds)), [f"round {name}" for name in rounds])
        axes.set_xlim(-0.6, len(rounds) - 0.4)
        axes.set_ylim(0, 10.2)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("judge score (0-10)")
        axes.set_title("Scores of the candidates, and of the chosen responses")
        shown = [name for name in sources if name in drawn]
        axes.legend([drawn[name] for name in shown], shown, loc="center left", bbox_to_anchor=(1.0, 0.5))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.per_round),
            snakemake.output.scores,
            snakemake.output.figure,
            **config,
        )
