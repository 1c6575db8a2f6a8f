"""Plot how many prompts each filter left.

Reads:
    tables/prompt_filters.csv.
Writes:
    figures/prompt_filters.svg: a bar per filter.
"""

from pathlib import Path

from alma.csv_tables import read_csv_table


def main(filters: str | Path, figure_path: str | Path) -> None:
    """Draw the bars, first filter on top."""
    from alma.figures import BLUE, ORANGE, figure

    rows = read_csv_table(filters, "prompt_filters")
    kept, removed = ([row[key] for row in rows] for key in ("kept", "removed"))
    places = range(len(rows))
    with figure(figure_path, (8.0, 1.4 + 0.36 * len(rows))) as (_, grid):
        axes = grid[0][0]
        axes.barh(places, kept, color=BLUE)
        axes.barh(places, removed, left=kept, color=ORANGE)
        for place, left, gone in zip(places, kept, removed, strict=True):
            axes.annotate(
                f"{left:,} kept, {gone:,} removed",
                (left + gone, place),
                textcoords="offset points",
                xytext=(5, 0),
                va="center",
                fontsize=8,
            )
        axes.set_yticks(places, [row["filter"].replace("_", " ") for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.45 * max([1, *(a + b for a, b in zip(kept, removed, strict=True))]))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("prompts")
        axes.set_title("Prompts that the base model wrote: kept (blue) and removed (orange) by each filter")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.filters, snakemake.output.figure, **config)
