"""One look for every figure, and files whose bytes depend on the data alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alma.files import atomic_path

# Okabe and Ito (2008): eight colors that color-blind readers can tell apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GRAY = "#8C8C8C"
CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = {
    # Ids inside an SVG are hashes; with a fixed salt they are the same every time.
    "svg.hashsalt": "alma",
    # Text stays text: small files that can be searched. DejaVu Sans is wide, so others fit as well.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
}


@contextmanager
def figure(
    path: str | Path, size: tuple[float, float], rows: int = 1, columns: int = 1, **subplots: Any
) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its axes (array [rows, columns]); save it when the block ends well.

    Args:
        path: .svg, or another format that matplotlib writes, by its suffix.
        size: width and height in inches.
        subplots: more arguments of `Figure.subplots`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        fig = Figure(figsize=size, layout="constrained")
        yield fig, fig.subplots(rows, columns, squeeze=False, **subplots)
        kind = Path(path).suffix[1:]
        metadata = {"Date": None, "Creator": "alma"} if kind == "svg" else None
        with atomic_path(path) as temporary:
            fig.savefig(temporary, format=kind, metadata=metadata, dpi=110)


def nothing(axes: Any, text: str) -> None:
    """Say on empty axes why they are empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="#555555")


def checkpoint_colors(names: list[str]) -> dict[str, str]:
    """A color for each checkpoint, the same in every figure.

    base is gray, the SFT checkpoints are blue, the rounds run from orange to red; chosen is green.
    """
    from matplotlib.colors import to_hex, to_rgb

    rounds = sorted((n for n in names if n.startswith("round-")), key=lambda n: int(n.split("-")[1]))
    found = {"base": GRAY, "judge-seed": PURPLE, "judge": BLACK, "chosen": GREEN}
    blues = (BLUE, SKY)
    sfts = [name for name in names if name.startswith("sft-")]
    found |= {name: blues[i % len(blues)] for i, name in enumerate(sfts)}
    light, dark = to_rgb(ORANGE), to_rgb("#A63603")
    for i, name in enumerate(rounds):
        share = i / max(1, len(rounds) - 1)
        mixed = tuple(a + (b - a) * share for a, b in zip(light, dark, strict=True))
        found[name] = to_hex(mixed)
    return found


def with_interval(axes: Any, x: list[float], rows: list[tuple[Any, Any, Any]], **style: Any) -> None:
    """Points at `x` with their intervals; rows are (value, low, high), None where there is none."""
    kept = [(at, *row) for at, row in zip(x, rows, strict=True) if row[0] is not None]
    if not kept:
        return
    values = [value for _, value, _, _ in kept]
    below = [max(0.0, value - (value if low is None else low)) for _, value, low, _ in kept]
    above = [max(0.0, (value if high is None else high) - value) for _, value, _, high in kept]
    axes.errorbar([k[0] for k in kept], values, yerr=[below, above], capsize=3, elinewidth=1.2, **style)
