"""Plot the length of the chosen responses against the pool that they were chosen from.

Reads:
    tables/rounds/{round}/length.csv of every round.
Writes:
    figures/length.svg: words by round, and their ratio. tables/length.csv: all rows.
"""

from pathlib import Path

from alma.csv_tables import read_csv_table, write_csv_table


def main(per_round: list[str], length: str | Path, figure_path: str | Path) -> None:
    """Join the tables of the rounds and draw them."""
    from alma.figures import BLACK, GRAY, GREEN, figure

    rows = [row for path in per_round for row in read_csv_table(path, "length")]
    write_csv_table(length, "length", rows)
    places = list(range(len(rows)))
    names = [row["round"] for row in rows]

    def column(key: str) -> list[float]:
        return [float("nan") if row[key] is None else row[key] for row in rows]

    with figure(figure_path, (9.5, 3.8), columns=2) as (fig, grid):
        left, right = grid[0]
        for key, shift, color, label in (
            ("pool_words", -0.2, GRAY, "pool"),
            ("chosen_words", 0.2, GREEN, "chosen"),
        ):
            bars = left.bar([p + shift for p in places], column(key), 0.38, color=color, label=label)
            left.bar_label(bars, fmt="%.0f", fontsize=8, padding=1)
        left.set_ylabel("mean words per response")
        left.set_title("Length of chosen responses and of the pool")
        left.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        right.axhline(1.0, color=GRAY, linewidth=1.2, linestyle="--")
        right.plot(places, column("ratio"), color=BLACK, marker="o")
        for place, value in zip(places, column("ratio"), strict=True):
            if value == value:
                right.annotate(
                    f"{value:.2f}", (place, value), textcoords="offset points", xytext=(0, 7), ha="center"
                )
        right.margins(y=0.3)
        right.set_ylabel("words of chosen / words of pool")
        right.set_title("Length ratio (1: no taste for length)")
        for axes in (left, right):
            axes.set_xticks(places, names)
            axes.set_xlim(-0.6, len(rows) - 0.4)
            axes.grid(axis="x", visible=False)
        fig.supxlabel("round", fontsize=10)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.per_round),
            snakemake.output.length,
            snakemake.output.figure,
            **config,
        )
