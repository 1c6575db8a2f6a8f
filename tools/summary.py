"""What a user reads before the first job and after the last one.

    python tools/summary.py start RUN FINAL_CHECKPOINT
    python tools/summary.py end RUN FINAL_CHECKPOINT

Standard library only. It tells what there is, and is silent about what there is not: after a
partial target most files are missing.
"""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.summary_rows import OWN, of_own_judge
from alma.verdict import expected, figure, title

Row = dict[str, Any]


def shown(value: float | None, digits: int = 2) -> str:
    """A number for people, a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def with_interval(row: Row, key: str, low: str, high: str) -> str:
    """A value with its 95% interval: 0.52 [0.45, 0.59]."""
    value, ends = row[key], (row[low], row[high])
    if value is None or None in ends:
        return shown(value)
    return f"{shown(value)} [{shown(ends[0])}, {shown(ends[1])}]"


def rows_of(path: Path, name: str) -> list[Row]:
    """Rows of a CSV table, none where it is missing or cannot be read."""
    try:
        return read_csv_table(path, name)
    except (OSError, InputError):
        return []


def table(lines: list[list[str]]) -> list[str]:
    """Lines of cells as columns of equal width."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]


def progress_lines(rows: list[Row]) -> list[str]:
    """How the measures moved from checkpoint to checkpoint, a table per benchmark."""
    found = []
    for name in dict.fromkeys(row["benchmark"] for row in rows):
        own = [row for row in rows if row["benchmark"] == name]
        cells = [["checkpoint", "checks passed (0-1)", "judge score (0-10)", "words"]]
        for row in own:
            checks = with_interval(row, "check_rate", "check_low", "check_high")
            judge = with_interval(row, "judge_score", "judge_low", "judge_high")
            cells.append([row["checkpoint"], checks, judge, shown(row["mean_words"], 0)])
        prompts, judged = own[0]["prompts"], own[0]["judge_prompts"]
        asked = f"{prompts} prompts" + (f", {judged} of them judged" if judged < prompts else "")
        found += [f"Evaluation on {name} ({asked}, 95% intervals):", *table(cells)]
        last = own[-1]
        if last["vs_sft"] is not None:
            gap = with_interval(last, "vs_sft", "vs_sft_low", "vs_sft_high")
            sft = [row["checkpoint"] for row in own if row["checkpoint"].startswith("sft-")]
            reference = sft[0] if len(sft) == 1 else f"the mean of {', '.join(sft[:-1])} and {sft[-1]}"
            found.append(f"  {last['checkpoint']} minus {reference}, checks passed, paired by prompt: {gap}")
    return found


def judge_lines(rows: list[Row], lengths: list[Row]) -> list[str]:
    """How good the judge is, and whether it likes length."""
    found = []
    for row in rows:
        if row["checkpoint"] == "judge" and row["accuracy"] is not None:
            accuracy = with_interval(row, "accuracy", "accuracy_low", "accuracy_high")
            what = "held-out human scores" if row["benchmark"] == "heldout" else row["benchmark"]
            found.append(f"Judge on {what}: {accuracy} of {row['pairs']} pairs right (0.5 is guessing)")
    ratios = [f"{shown(value)} in round {r['round']}" for r in lengths if (value := r["ratio"])]
    if ratios:
        found.append(f"Chosen responses against their pool, ratio of words: {', '.join(ratios)}")
    return found


def reward_bench_lines(rows: list[Row]) -> list[str]:
    """The last judge on RewardBench, by section."""
    own = [row for row in rows if row["checkpoint"] == "judge" and row["level"] != "subset"]
    told = [f"{row['name']} {with_interval(row, 'score', 'score_low', 'score_high')}" for row in own]
    return [f"Judge on {own[0]['set']} (0-1, 95% intervals): {', '.join(told)}"] if told else []


def verdict_lines(rows: list[Row]) -> list[str]:
    """The verdict: its sentence, what to do, and a table of the links."""
    if not rows:
        return []
    first, *links = rows
    cells = [["link", "holds", "figure, 95% interval", "expected"]]
    for row in links:
        told = expected(row) if row["value"] is not None else ""
        cells.append([title(row), row["holds"], figure(row) or "-", told])
    found = [f"Verdict: {first['says']}"]
    if first["advice"]:
        found.append(f"What to do: {first['advice']}")
    return [*found, *table(cells)]


def outside_lines(rows: list[Row]) -> list[str]:
    """What judges that training never used say of the last checkpoint that each looked at."""
    found = []
    last = {(row["judge"], row["benchmark"]): row for row in rows}
    for (judge, benchmark), row in sorted(last.items()):
        told = []
        if row["judge_score"] is not None:
            told.append(f"score {with_interval(row, 'judge_score', 'judge_low', 'judge_high')}")
        for name, words in (("win_rate", "wins against"), ("win_rate_lc", "at equal length")):
            if row[name] is not None:
                against = f" {row['reference']}" * (name == "win_rate")
                told.append(f"{words}{against} {with_interval(row, name, f'{name}_low', f'{name}_high')}")
        what = f"  {judge} on {benchmark}, {row['checkpoint']}: {', '.join(told) or 'nothing could be read'}"
        found.append(what)
    return ["Judges that training never used (95% intervals):", *found] if found else []


def chat_command(model: Path) -> str:
    """The line that starts a chat with a model, as short as it works from this folder."""
    python = Path(sys.executable)  # not resolved: a link in .venv is what makes it that environment
    script = Path(__file__).resolve().parent / "chat.py"
    here = Path.cwd()
    parts = [p.relative_to(here) if p.is_relative_to(here) else p for p in (python, script)]
    return " ".join(f'"{part}"' if " " in str(part) else str(part) for part in [*parts, model])


def start(run: str) -> list[str]:
    """Where to look while it runs, and how to stop and go on."""
    return [
        f"alma: run '{run}'; results and logs go to results/{run}/ and results/{run}/logs/",
        "alma: stop with Ctrl-C at any time; the same command goes on from there",
    ]


def end(run: str, final: str) -> list[str]:
    """What there is now, and what to do with it."""
    root = Path("results") / run
    model = root / "models" / final
    found = []
    lengths = rows_of(root / "tables" / "length.csv", "length")
    evaluated = rows_of(root / "evaluation" / "summary.csv", "summary")
    found += progress_lines(of_own_judge(evaluated))
    found += outside_lines([row for row in evaluated if row["judge"] != OWN])
    verdict = verdict_lines(rows_of(root / "evaluation" / "verdict.csv", "verdict"))
    found += verdict or judge_lines(rows_of(root / "evaluation" / "judge.csv", "judge"), lengths)
    found += reward_bench_lines(rows_of(root / "evaluation" / "reward_bench.csv", "reward_bench"))
    if (root / "report.html").is_file():
        found.append(f"Report: {root / 'report.html'} (open it in a browser; it needs no network)")
    if (root / "tables" / "candidates.html").is_file():
        found.append(f"Prompts and candidates to read: {root / 'tables' / 'candidates.html'}")
    if (model / "model.safetensors").is_file():
        found += [f"Aligned model: {model}", f"Chat with it: {chat_command(model)}"]
    elif not found:
        made = sorted(p.parent.name for p in (root / "models").glob("*/model.safetensors"))
        have = f" (checkpoints so far: {', '.join(made)})" if made else ""
        found.append(f"Done. Results are in {root}/{have}")
    return found


def main(arguments: list[str]) -> None:
    """Print the lines for `start` or `end`."""
    when, run, final = arguments
    lines = start(run) if when == "start" else ["", *end(run, final)]
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader (head, less) has left
    except (OSError, ValueError, KeyError) as error:
        # A damaged table must not end a run that went well.
        print(f"(no summary: {error!r})")
