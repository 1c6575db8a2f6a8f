"""Write the tables of docs/results.md from what `make experiment` has finished.

Run: .venv/bin/python tools/results.py
--parts lists the parts of the study in their order, --files PART what a part is made of, --configs PART the
config files of its runs. The first part is the demonstration with other seeds (config.yaml and
config/layers/seeds.yaml); the others are those of config/experiment.yaml.

The finished tables and figures of each part are copied from results/{run}/ to docs/results/, and the page is
made from these copies: every figure on it has its source in the repository. A part without tables says
"Not run yet.". Text outside of the markers (`<!-- part -->` and `<!-- /part -->`) is left as it is.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.workflow.comparisons import ablation_tables
from alma.workflow.config import ROOT

CONFIG = ROOT / "config" / "experiment.yaml"
PAGE = ROOT / "docs" / "results.md"
KEPT = PAGE.with_suffix("")
# What each part is made of, below results/{run}/, and its name below docs/results/.
FILES = {
    "tables/by_round/{part}.csv": "{part}-rounds.csv",
    "figures/by_round/{part}.svg": "{part}.svg",
}
# The demonstration's is left out: it would have the judge score the responses of every run.
LAST_MODELS = {"tables/ablations/{part}.csv": "{part}-runs.csv"}
DEMONSTRATION = "demonstration"
NOT_YET = "Not run yet."
# Yasunaga et al., 2024 (arXiv 2412.04305): a measure, and its values by the run that does the same here.
PAPER: dict[str, tuple[str, dict[str, str]]] = {
    "seeds": ("score by Armo, SFT and after the last round", {"experiment": "7.78, 8.34"}),
    "controls": ("score by Armo, SFT and after the last round", {"experiment": "7.78, 8.34"}),
    "judge": (
        "accuracy on RewardBench",
        {
            "experiment": "0.863",
            "experiment-judge-few-shot": "0.492",
            "experiment-judge-integer": "0.669",
            "experiment-judge-real": "0.846",
        },
    ),
    "objective": (
        "score by Armo after rounds 2 to 6",
        {"experiment": "7.89, 7.99, 8.07, 8.15, 8.20", "experiment-dpo": "7.99, 8.03, 8.07, 8.12, 8.16"},
    ),
    "prompts": ("score by Armo", {"experiment": "7.89", "experiment-prompts-random": "7.79"}),
    "checkpoints": (
        "score on MT-Bench after round 3",
        {
            "experiment": "7.55",
            "experiment-checkpoints-latest": "7.53",
            "experiment-checkpoints-two-sft": "7.51",
            "experiment-checkpoints-one-sft": "7.48",
        },
    ),
    "samples-prompts": (
        "score by Armo; N x K of 200 x 50k, 400 x 25k, 100 x 100k",
        {
            "experiment": "7.89",
            "experiment-samples-32-prompts-50": "7.88",
            "experiment-samples-8-prompts-200": "7.80",
        },
    ),
    "samples-rounds": (
        "score by Armo; N x R of 200 x 10, 400 x 5, 133 x 15",
        {
            "experiment": "8.34",
            "experiment-samples-32-rounds-3": "8.17",
            "experiment-samples-8-rounds-9": "8.13",
        },
    ),
}

Row = dict[str, Any]


def load() -> dict[str, Any]:
    """The study's config as written."""
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))


def all_parts() -> list[str]:
    """Names of the parts, in the order of the page."""
    return [DEMONSTRATION, *ablation_tables(load())]


def files_of(part: str) -> dict[Path, Path]:
    """The files of a part where the workflow writes them, and where they are kept."""
    own = part == DEMONSTRATION
    results = Path("results") / ("default" if own else load()["run"])
    files = FILES if own else LAST_MODELS | FILES
    return {
        results / source.format(part=part): KEPT / kept.format(part=part) for source, kept in files.items()
    }


def configs_of(part: str) -> list[Path]:
    """The config files of a part, in the order in which Snakemake lays them over each other."""
    return (
        [ROOT / "config.yaml", ROOT / "config" / "layers" / "seeds.yaml"]
        if part == DEMONSTRATION
        else [CONFIG]
    )


def shown(row: Row, name: str, ends: str = "", sign: bool = False) -> str:
    """A value with its interval, as text; a dash where there is none."""
    if row[name] is None:
        return "-"
    form = "+.3f" if sign else ".3f"
    ends = ends or name
    low, high = row[f"{ends}_low"], row[f"{ends}_high"]
    interval = "" if low is None else f" [{low:{form}}, {high:{form}}]"
    return f"{row[name]:{form}}{interval}"


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])


def title(row: Row) -> str:
    """What a line of the tables by round is about."""
    return row["run"] or f"**{row['series']}, mean of {row['runs']} seeds**"


def above_random(rows: list[Row]) -> str:
    """Which runs are above random choice in every round that is compared, by value and by interval."""
    told: dict[str, list[Row]] = {}
    for row in rows:
        if row["run"] and row["vs_random"] is not None:
            told.setdefault(row["run"], []).append(row)
    lines = []
    for column, words in (("vs_random", "by its value"), ("vs_random_low", "by its interval")):
        above = [name for name, own in told.items() if all((row[column] or 0) > 0 for row in own)]
        lines.append(
            f"{words}: {len(above)} of {len(told)} runs" + (f" ({', '.join(above)})" if above else "")
        )
    return f"Above 0 in every round {'; '.join(lines)}."


def by_round(rows: list[Row], benchmark: str) -> str:
    """Quality by round, and the difference to random choice, on one benchmark."""
    own = [row for row in rows if row["benchmark"] == benchmark]
    rounds = sorted({row["round"] for row in own})
    lines: dict[str, dict[int, Row]] = {}
    for row in own:
        lines.setdefault(title(row), {})[row["round"]] = row
    quality, random = [], []
    for name, found in lines.items():
        last = found[max(found)]
        cells = [shown(found[r], "check_rate", "check") if r in found else "-" for r in rounds]
        quality.append([name, last["choice"], *cells, shown(last, "vs_sft", sign=True)])
        if any(row["vs_random"] is not None for row in found.values()):
            gaps = [shown(found[r], "vs_random", sign=True) if r in found else "-" for r in rounds[1:]]
            random.append([name, last["choice"], last["control"] or "each seed's own", *gaps])
    names = [f"round {r}" for r in rounds[1:]]
    prompts = own[0]["prompts"]
    text = f"Share of checks passed on `{benchmark}` ({prompts} prompts):\n\n"
    text += markdown(["run", "choice", "SFT", *names, "last round minus SFT"], quality)
    if random:
        text += "\n\nThe same minus random choice, paired by prompt:\n\n"
        text += markdown(["run", "choice", "random choice", *names], random) + "\n\n" + above_random(own)
    return text


def last_models(rows: list[Row], part: str, benchmark: str) -> str:
    """The last model of each run beside the main run's, and what the paper has."""
    measure, figures = PAPER.get(part, ("", {}))
    header = ["run", "checks passed", "minus the main run", "judge's score", "words"]
    header += ["judge right on held-out pairs", "judge right on own responses"]
    # A run's last row is its last model.
    last = {row["run"]: row for row in rows if row["benchmark"] == benchmark}
    lines = []
    for name, row in last.items():
        words = f"{row['mean_words']:.1f}"
        cells = [name, shown(row, "check_rate", "check"), shown(row, "vs_main_checks", sign=True)]
        cells += [shown(row, "judge_score", "judge"), words]
        cells += [shown(row, "judge_accuracy"), shown(row, "own_accuracy")]
        lines.append([*cells, figures.get(name, "-")] if figures else cells)
    if figures:
        header.append(f"the paper: {measure}")
    return f"After the last round, on `{benchmark}`:\n\n" + markdown(header, lines)


def section(part: str) -> str:
    """What stands between the markers of a part."""
    if not all(kept.is_file() for kept in files_of(part).values()):
        return NOT_YET
    told = read_csv_table(KEPT / f"{part}-rounds.csv", "by_round")
    texts = [by_round(told, name) for name in sorted({row["benchmark"] for row in told})]
    if (runs := KEPT / f"{part}-runs.csv").is_file():
        compared = read_csv_table(runs, "ablation")
        texts += [
            last_models(compared, part, name) for name in sorted({row["benchmark"] for row in compared})
        ]
    if (KEPT / f"{part}.svg").is_file():
        texts.append(f"![Quality by round]({KEPT.name}/{part}.svg)")
    return "\n\n".join(texts)


def render(page: str, parts: list[str]) -> str:
    """The page with the sections of all parts.

    Raises:
        InputError: the page lacks the markers of a part.
    """
    for part in parts:
        found = re.search(rf"(?<=<!-- {part} -->\n).*?(?=<!-- /{part} -->)", page, re.S)
        if found is None:
            raise InputError(f"{PAGE.name}: found no markers, expected <!-- {part} --> and <!-- /{part} -->")
        page = f"{page[: found.start()]}\n{section(part)}\n\n{page[found.end() :]}"
    return page


def collect(parts: list[str]) -> list[str]:
    """Copy the finished parts below docs/results/; a part counts as finished when all its files are there."""
    done = []
    for part in parts:
        files = files_of(part)
        if all(source.is_file() for source in files):
            KEPT.mkdir(exist_ok=True)
            for source, kept in files.items():
                shutil.copyfile(source, kept)
            done.append(part)
    return done


def main() -> None:
    """Collect and write, or list the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", action="store_true", help="list the parts of the study and stop")
    parser.add_argument("--files", metavar="PART", help="list the files that a part is made of and stop")
    parser.add_argument("--configs", metavar="PART", help="list the config files of a part and stop")
    arguments, parts = parser.parse_args(), all_parts()
    if arguments.parts:
        print(*parts)
        return
    if (part := arguments.files or arguments.configs) is not None:
        if part not in parts:
            known = ", ".join(parts)
            raise InputError(f"{PAGE.name}: found no part {part!r}, expected one of {known}")
        print(*(files_of(part) if arguments.files else (path.relative_to(ROOT) for path in configs_of(part))))
        return
    done = collect(parts)
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")
    print(f"results: finished here: {', '.join(done) or 'no part'}; written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
