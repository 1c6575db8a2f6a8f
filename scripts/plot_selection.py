"""Plot what the judge's choice among the model's own responses is worth.

Reads:
    evaluation/selection.csv: quality by n and choice, pair accuracy by kind.
Writes:
    figures/selection.svg: truth of a random, the judge's, the shortest, the longest and the best choice
    against n, and the share of pairs that the judge puts in order, by kind.
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import read_csv_table

LABELS = {"checks": "share of checks passed (0-1)", "human": "human score (0-10)"}
MOST_KINDS = 14  # bars that can be told apart; those with the most pairs


def draw_quality(axes: Any, rows: list[dict[str, Any]], gains: list[dict[str, Any]], truth: str) -> None:
    """A line per choice, and a band that holds the random choice where the judge's cannot be told from it.

    Args:
        rows: of the measure quality. gains: of judge_minus_random, whose interval is paired by prompt: the
            interval of the judge's quality itself mostly says how far apart prompts lie.
    """
    from alma.figures import BLUE, GRAY, GREEN, MARKERS, ORANGE, RED

    colors = {"best": GREEN, "judge": BLUE, "shortest": ORANGE, "longest": RED, "random": GRAY}
    for i, (choice, color) in enumerate(colors.items()):
        own = sorted((row for row in rows if row["choice"] == choice), key=lambda row: row["n"])
        n = [row["n"] for row in own]
        style = {"linestyle": "--"} if choice == "random" else {"marker": MARKERS[i]}
        axes.plot(n, [row["value"] for row in own], color=color, label=choice, **style)
    random = {row["n"]: row["value"] for row in rows if row["choice"] == "random"}
    band = sorted((row for row in gains if row["low"] is not None), key=lambda row: row["n"])
    ends = [[random[row["n"]] + row[end] for row in band] for end in ("low", "high")]
    axes.fill_between([row["n"] for row in band], *ends, color=BLUE, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(n, [str(value) for value in n])
    axes.minorticks_off()
    axes.set_xlabel("n, responses to choose from")
    axes.set_ylabel(LABELS[truth])
    axes.set_title(f"The choice of n, truth: {truth} ({rows[0]['prompts']} prompts)")
    axes.legend(loc="upper left")


def bars_of(rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Pair accuracies with their labels: each truth, and the kinds of the checks with the most pairs."""
    whole = [row for row in rows if row["kind"] == "all"]
    kinds = sorted((row for row in rows if row["kind"] != "all"), key=lambda row: -row["pairs"])[:MOST_KINDS]
    named = [(row["truth"] if row["kind"] == "all" else row["kind"], row) for row in [*whole, *kinds]]
    return [(f"{name} ({row['pairs']})", row) for name, row in named]


def main(table: str | Path, figure_path: str | Path) -> None:
    """Draw a panel per truth, and one of the pair accuracies."""
    from alma.figures import BLUE, ORANGE, SKY, figure, nothing

    rows = [row for row in read_csv_table(table, "selection") if row["value"] is not None]
    curves = [row for row in rows if row["measure"] == "quality" and row["kind"] == "all"]
    gains = [row for row in rows if row["measure"] == "judge_minus_random" and row["kind"] == "all"]
    truths = list(dict.fromkeys(row["truth"] for row in curves))
    bars = bars_of([row for row in rows if row["measure"] == "pair_accuracy"])
    panels = len(truths) + bool(bars)
    size = (5.2 * max(1, panels), max(4.2, 1.6 + 0.3 * len(bars)))
    with figure(figure_path, size, columns=max(1, panels)) as (_, grid):
        if not panels:
            nothing(grid[0][0], "no prompt has checks or several rated responses")
            return
        for axes, truth in zip(grid[0], truths, strict=False):
            quality, gain = ([row for row in part if row["truth"] == truth] for part in (curves, gains))
            draw_quality(axes, quality, gain, truth)
        if not bars:
            return
        axes = grid[0][-1]
        for place, (_, row) in enumerate(bars):
            axes.barh(-place, row["value"], 0.7, color=BLUE if row["kind"] == "all" else SKY)
            if row["low"] is not None:
                axes.plot([row["low"], row["high"]], [-place, -place], color="#222222", linewidth=1.3)
        axes.axvline(0.5, color=ORANGE, linestyle="--", linewidth=1.2)
        axes.set_yticks([-place for place in range(len(bars))], [label for label, _ in bars])
        axes.set_xlim(0, 1)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of pairs in the right order (0.5 is guessing)")
        axes.set_title("Pair accuracy, by kind (pairs)")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.table,
            snakemake.output.figure,
            **config,
        )
