"""Plot the loss of every training.

Reads:
    tables/training/{checkpoint}.csv of every checkpoint.
Writes:
    figures/training.svg: a panel per checkpoint, loss over optimizer steps.
Params:
    checkpoints (names, in the order of the files).
"""

from pathlib import Path

from alma.csv_tables import read_csv_table

COLUMNS = 4


def main(curves: list[str], figure_path: str | Path, *, checkpoints: list[str]) -> None:
    """Draw a panel per checkpoint; the smoothed line is a running mean of five logged steps."""
    from alma.figures import checkpoint_colors, figure, nothing

    colors = checkpoint_colors(checkpoints)
    columns = min(COLUMNS, len(checkpoints))
    height = -(-len(checkpoints) // columns)
    with figure(figure_path, (2.7 * columns, 2.3 * height + 0.5), height, columns) as (fig, grid):
        panels = list(grid.flat)
        for axes in panels[len(checkpoints) :]:
            axes.set_axis_off()
        for axes, name, path in zip(panels, checkpoints, curves, strict=False):
            rows = [row for row in read_csv_table(path, "training_curve") if row["loss"] is not None]
            if not rows:
                nothing(axes, f"{name}: nothing was logged")
                continue
            step = [row["step"] for row in rows]
            loss = [row["loss"] for row in rows]
            smooth = [sum(part := loss[max(0, i - 4) : i + 1]) / len(part) for i in range(len(loss))]
            axes.plot(step, loss, color=colors[name], alpha=0.35, linewidth=1)
            axes.plot(step, smooth, color=colors[name], marker="o" if len(step) == 1 else None)
            axes.set_title(f"{name} (last {smooth[-1]:.2f})")
            axes.set_ylim(bottom=0)
            axes.locator_params(axis="x", integer=True, nbins=5)
        fig.supxlabel("optimizer step", fontsize=10)
        fig.supylabel("training loss (thick: mean of the last five)", fontsize=10)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.curves), snakemake.output.figure, **config)
