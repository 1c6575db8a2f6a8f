"""Rate responses in a terminal: a prompt, its responses, a rating for each (docs/annotation.md).

    tools/annotate results/default/annotation my/ben.csv

Reads:
    TASKS: tasks.csv (`annotation` of `alma.csv_schemas`), or the folder that holds it.
Writes:
    OUTPUT: the same table with scores and annotator, after each prompt; one that is there is gone on with.
"""

import argparse
import getpass
import shutil
import sys
import textwrap
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from alma.annotation import SCALE
from alma.csv_tables import read_csv_table, write_csv_table
from alma.errors import InputError

Row = dict[str, Any]
HELP = (
    "a number from 0 to 10 for each response; s skips the prompt, b goes back one, ? shows the scale, q ends"
)


def visible(text: str) -> str:
    """A text whose control characters (escape codes, changes of direction) are written out."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def load(tasks: Path, output: Path) -> list[Row]:
    """Rows of the tasks with the scores that the output has.

    Raises:
        InputError: a table is damaged, or the output holds other responses.
    """
    tasks = tasks / "tasks.csv" if tasks.is_dir() else tasks
    if not tasks.is_file():
        raise InputError(
            f"{tasks}: no such file, expected tasks.csv of results/{{run}}/annotation (make it: annotate)"
        )
    if output.exists() and output.resolve() == tasks.resolve():
        raise InputError(f"{output}: found the tasks themselves, expected another name")
    rows = read_csv_table(tasks, "annotation")
    if not output.exists():
        return rows
    done = {row["key"]: row for row in read_csv_table(output, "annotation")}
    if set(done) != {row["key"] for row in rows}:
        raise InputError(
            f"{output}: found scores of other responses than those of {tasks}, expected a new name"
        )
    return [row | {name: done[row["key"]][name] for name in ("score", "annotator")} for row in rows]


def shown(group: list[Row], place: str, width: int) -> str:
    """A prompt and its responses, control characters written out."""

    def wrapped(text: str) -> str:
        lines = visible(text).split("\n")
        return "\n".join(textwrap.fill(line, width, replace_whitespace=False) for line in lines)

    parts = [f"{'=' * width}\n{place}", f"PROMPT\n{wrapped(group[0]['prompt'])}"]
    parts += [f"--- RESPONSE {row['letter']}\n{wrapped(row['response'])}" for row in group]
    return "\n\n".join(parts) + "\n"


def ask(group: list[Row], read: Callable[[str], str], write: Callable[[str], Any]) -> list[int] | str:
    """The ratings of the responses to one prompt; or a command: s, b or q."""
    found: list[int] = []
    while len(found) < len(group):
        answer = read(f"{group[len(found)]['letter']} [0-10 s b ? q]: ").strip().lower()
        if answer.isascii() and answer.isdigit() and int(answer) in SCALE:
            found.append(int(answer))
        elif answer in ("s", "b", "q"):
            return answer
        elif answer == "?":
            write("\n".join(f"{number:3} {words}" for number, words in SCALE.items()))
        else:
            write(f"found {answer!r}, expected {HELP}")
    return found


def annotate(
    tasks: Path,
    output: Path,
    name: str,
    read: Callable[[str], str] = input,
    write: Callable[[str], Any] = print,
) -> int:
    """Go through the prompts that have no ratings yet; returns how many have none at the end.

    A skipped prompt is asked again the next time. The end of the input (Ctrl-D) and Ctrl-C end as q does.

    Raises:
        InputError: as `load`.
    """
    rows = load(tasks, output)
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row["task"])]
    width = min(shutil.get_terminal_size().columns, 100)
    asked = [i for i, group in enumerate(groups) if any(row["score"] is None for row in group)]
    write(f"{len(groups)} prompts, {len(groups) - len(asked)} are rated. {HELP}")
    at = 0
    while at < len(asked):
        group = groups[asked[at]]
        write(shown(group, f"prompt {asked[at] + 1} of {len(groups)}", width))
        try:
            answer = ask(group, read, write)
        except (EOFError, KeyboardInterrupt):
            answer = "q"
        if answer == "q":
            break
        if answer == "b":
            at = max(0, at - 1)
            continue
        if answer != "s":
            for row, score in zip(group, answer, strict=True):
                row |= {"score": score, "annotator": name}
            write_csv_table(output, "annotation", rows)
        at += 1
    left = sum(any(row["score"] is None for row in group) for group in groups)
    write(
        f"{len(groups) - left} of {len(groups)} prompts are rated"
        + (f", in {output}" if left < len(groups) else "")
    )
    return left


def main(given: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/annotate", description="Rate responses in a terminal.")
    parser.add_argument("tasks", type=Path, help="results/{run}/annotation, or its tasks.csv")
    parser.add_argument("output", type=Path, help="table to fill, for tools/import_labels (.csv)")
    parser.add_argument("--name", help="annotator (default: your user name)")
    args = parser.parse_args(given)
    try:
        if args.output.suffix.lower() != ".csv":
            raise InputError(f"{args.output}: found the extension {args.output.suffix!r}, expected .csv")
        annotate(args.tasks, args.output, args.name or getpass.getuser())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
