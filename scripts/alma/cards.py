"""Model cards and data cards: what a run knows of itself, as Markdown with the metadata of the hub.

A card names hub repositories and packages; of a file of the user's it names nothing but the file's name,
since a card is made to be published.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alma.label_sets.registry import split_set
from alma.model_packages import PACKAGES
from alma.summary_rows import OWN, of_own_judge
from alma.verdict import expected, figure, number, title

Row = dict[str, Any]

_HUB = re.compile(r"hub:([^@]+)@([0-9a-f]{40})")
UNKNOWN = "not stated"


def cell(value: Any) -> str:
    """A value in a cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def hub_repository(source: str) -> str | None:
    """OWNER/NAME of a source on the hub, None for any other."""
    found = _HUB.match(split_set(source)[1])
    return found[1] if found else None


def source_text(source: str, kind: str = "datasets/") -> str:
    """How a card names a source; of a file on this machine its name alone.

    Args:
        kind: what the hub's addresses have before the repository ("" for a model).
    """
    name, rest = split_set(source)
    if found := _HUB.match(rest):
        address = f"https://huggingface.co/{kind}{found[1]}"
        return f"[{found[1]}]({address}) at `{found[2][:12]}`" + (f", read as {name}" if name else "")
    if rest.startswith("package:"):
        return f"`{rest.removeprefix('package:')}` (a package)"
    return f"a file of its own (`{Path(rest).name}`)"


def base_license(source: str, stated: str | None) -> str | None:
    """License of the base model: `base_model.license`, or that of a package that is known."""
    package = PACKAGES.get(source.removeprefix("package:")) if source.startswith("package:") else None
    return stated or (package.license if package else None)


def license_metadata(text: str | None) -> dict[str, Any]:
    """The hub's metadata of a license: its identifier where the text can be one, else `other` with a name."""
    if not text:
        return {}
    name = text.strip().lower()
    if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", name):
        return {"license": name}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", name).strip("-")}


def license_text(base: str | None, labels: str | None, own: str) -> str:
    """The section on licenses; what is not stated is said to be so.

    Args:
        own: what the card is of: these weights, these rows.
    """
    lines = [
        f"- base model: {base or UNKNOWN}",
        f"- labels: {labels or UNKNOWN}",
    ]
    unknown = [
        key for key, value in (("base_model.license", base), ("labels.license", labels)) if value is None
    ]
    if unknown:
        lines.append(f"- to be stated before {own} are passed on ({' and '.join(unknown)} of the config)")
    return "\n".join(lines)


def interval(row: Row, key: str, ends: str) -> str:
    """A measure with its 95% interval: 0.52 [0.45, 0.59]; a dash where nothing was measured."""
    values = [row[key], row[f"{ends}_low"], row[f"{ends}_high"]]
    if values[0] is None:
        return "-"
    value, *both = [number(v) for v in values if v is not None]
    return f"{value} [{', '.join(both)}]" if len(both) == 2 else value


def evaluation_table(rows: list[Row], checkpoint: str) -> str:
    """The evaluation of every checkpoint, this one in bold (rows of evaluation/summary.csv)."""
    found = []
    order = list(dict.fromkeys(row["benchmark"] for row in rows))
    for row in sorted(of_own_judge(rows), key=lambda row: order.index(row["benchmark"])):
        shown = f"**{checkpoint}**" if row["checkpoint"] == checkpoint else row["checkpoint"]
        checks, judge = interval(row, "check_rate", "check"), interval(row, "judge_score", "judge")
        found.append([row["benchmark"], shown, row["prompts"], checks, judge, number(row["mean_words"], 0)])
    header = ["benchmark", "checkpoint", "prompts", "checks passed (0-1)", "judge score (0-10)", "words"]
    return table(header, found)


def outside_table(rows: list[Row], checkpoint: str) -> str:
    """What judges said that the training never used; empty where none was asked (rows of summary.csv)."""
    found = []
    for row in rows:
        if row["judge"] != OWN:
            shown = f"**{checkpoint}**" if row["checkpoint"] == checkpoint else row["checkpoint"]
            wins = [interval(row, name, name) for name in ("win_rate", "win_rate_lc")]
            score = interval(row, "judge_score", "judge")
            found.append([row["judge"], row["benchmark"], shown, score, row["reference"] or "-", *wins])
    header = [
        "judge",
        "benchmark",
        "checkpoint",
        "score",
        "reference",
        "win rate",
        "win rate at equal length",
    ]
    return table(header, found) if found else ""


def links_table(rows: list[Row], wanted: str = "") -> str:
    """Links of the verdict, all or those whose name holds a word (rows of evaluation/verdict.csv)."""
    found = [
        [title(r), r["holds"], figure(r) or "-", expected(r) if r["value"] is not None else ""]
        for r in rows[1:]
        if wanted in r["link"]
    ]
    return table(["link of the recipe", "holds", "figure, 95% interval", "expected"], found)


def judge_table(rows: list[Row], checkpoint: str) -> str:
    """How a judge orders pairs of responses (rows of evaluation/judge.csv)."""
    names = {"heldout": "held-out labels", "pairs": "the judge benchmark"}
    found = []
    for row in rows:
        if row["checkpoint"] == checkpoint:
            order = "-" if row["spearman"] is None else number(row["spearman"])
            pairs = interval(row, "accuracy", "accuracy")
            found.append([names[row["benchmark"]], row["kind"], row["rows"], row["pairs"], pairs, order])
    header = ["measured on", "score", "responses", "pairs", "pairs in the right order", "rank correlation"]
    return table(header, found)


def recipe_table(recipe: Row) -> str:
    """The keys of the config that decide most, by their paths."""
    return table(
        ["config key", "value"], [[f"`{key}`", f"`{json.dumps(value)}`"] for key, value in recipe.items()]
    )
