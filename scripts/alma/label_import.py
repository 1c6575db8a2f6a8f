"""Read what people rated, say how far they agree, and write labels for the next run (docs/annotation.md).

    tools/import_labels export.json ben.csv -o my/annotations.csv

Reads:
    FILE: Label Studio's export in the format JSON, or a filled tasks.csv (`annotation` of `alma.csv_schemas`;
        also any CSV with prompt, response and score). A row without a score is one that nobody rated.
Writes:
    CSV or JSON Lines with prompt, response, score (0-10) and annotator, one row per label: a file for
    `labels.annotations`.
"""

import argparse
import contextlib
import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from alma.agreement import agreement
from alma.annotation import LETTERS, SCALE, response_key
from alma.errors import InputError, Plain, fail_with, problem, shorten
from alma.files import atomic_path
from alma.seed_formats import Row, read_rows
from alma.seed_rows import Problems, take_score, take_text, text_fault
from alma.statistics import mean

FAR = 4.0  # points from the mean of the other annotators' labels: the two did not see the same thing
ONE_NUMBER = 0.8  # share of one rating among an annotator's labels from which they say little
ENOUGH = 10  # labels from which the above is looked at
FAST = 2.0  # seconds per response in which nobody reads one
SHOWN = 5  # outliers of each kind that are listed
RELIABLE, TENTATIVE = (
    0.8,
    0.667,
)  # customary bounds of alpha (Krippendorff, Content Analysis, 2004, chapter 11)

Texts = dict[str, tuple[str, str]]  # {key of a response: (prompt, response)}


class Label(NamedTuple):
    """What one annotator said of one response."""

    key: str
    prompt: str
    response: str
    score: float
    annotator: str
    when: str = ""  # Label Studio's time of the last change; empty where there is none
    seconds: float | None = None  # per response of the task


# reading


def read_texts(path: Path, problems: Problems) -> Texts:
    """The texts of tasks.json, or of the folder that holds it, by the key of a response."""
    path = path / "tasks.json" if path.is_dir() else path
    found: Texts = {}
    for row in _rows(path, {"data"}, problems):
        data = row.values["data"]
        if isinstance(data, dict):
            for letter in LETTERS.lower():
                key, text = data.get(f"key_{letter}"), data.get(f"response_{letter}")
                if isinstance(key, str) and isinstance(text, str):
                    found[key] = str(data.get("prompt")), text
    return found


def _rows(path: Path, needed: set[str], problems: Problems) -> list[Row]:
    """Rows of a file, whatever else they hold."""
    columns = {"data", "annotations", "prompt", "response", "score", "annotator", "key"}
    with contextlib.redirect_stdout(io.StringIO()):  # of the columns that are not used
        return read_rows(str(path), columns, problems, [tuple(sorted(needed))])


def read_sheet(path: Path, texts: Texts, problems: Problems) -> tuple[list[Label], int]:
    """The labels of a filled table, and how many rows have none.

    A blank annotator is the name of the file without its extension.
    """
    labels, blank = [], 0
    for row in _rows(path, {"prompt", "response"}, problems):
        score_cell = row.values.get("score", "")
        if isinstance(score_cell, str) and not score_cell.strip():
            blank += 1
            continue
        key = str(row.values.get("key", "")).strip()
        score = take_score(row, [0, 10], problems, "the scale of annotations")
        if key in texts:
            prompt, response = texts[key]
        else:
            asked, answer = (take_text(row, column, problems) for column in ("prompt", "response"))
            if asked is None or answer is None:
                continue
            prompt, response = asked, answer
            real = response_key(prompt, response)
            if key and key != real:  # a spreadsheet may have changed the ends of the lines
                prompt, response = asked.replace("\r\n", "\n"), answer.replace("\r\n", "\n")
                real = response_key(prompt, response)
            if key and key != real:
                expected = (
                    "the text of tasks.csv, of which the key is made (give --tasks to take it from there)"
                )
                problems.append(problem(row.where, "prompt and response", Plain("another text"), expected))
                continue
            key = real
        if score is not None:
            name = str(row.values.get("annotator", "")).strip() or path.stem
            labels.append(Label(key, prompt, response, score, name))
    return labels, blank


def _rating(value: Any) -> float | None:
    """The number in a result of Label Studio: of Choices (its first words or its alias), Rating or Number."""
    if not isinstance(value, dict):
        return None
    found = value.get("rating", value.get("number"))
    choices = value.get("choices")
    if isinstance(choices, list) and len(choices) == 1:
        number = re.match(r"\s*(\d+(?:\.\d+)?)\b", str(choices[0]))
        found = float(number[1]) if number else None
    good = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 10
    return float(found) if good and found is not None else None


def _annotator(value: Any) -> str:
    """Name of who completed an annotation: an export holds an id, or an object with one."""
    number = value.get("id") if isinstance(value, dict) else value
    return f"user-{number}" if isinstance(number, int) else ""


def read_export(path: Path, texts: Texts, problems: Problems) -> tuple[list[Label], int]:
    """The labels of Label Studio's export (JSON), and how many responses of its tasks have none.

    What an annotator skipped (`was_cancelled`) is no label.
    """
    labels, blank = [], 0
    for row in _rows(path, {"data", "annotations"}, problems):
        data, annotations = row.values["data"], row.values["annotations"]
        if not isinstance(data, dict) or not isinstance(annotations, list):
            column, found = ("annotations", annotations) if isinstance(data, dict) else ("data", data)
            problems.append(problem(row.where, column, found, "that of Label Studio's export (format JSON)"))
            continue
        asked = {c: data[f"response_{c}"] for c in LETTERS.lower() if f"response_{c}" in data}
        rated: set[str] = set()
        for annotation in annotations:
            if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
                continue
            results = annotation.get("result")
            for result in results if isinstance(results, list) else []:
                name = str(result.get("from_name", "")) if isinstance(result, dict) else ""
                letter = name.removeprefix("score_")
                if not name.startswith("score_") or letter not in asked:
                    continue
                score = _rating(result.get("value"))
                if score is None:
                    problems.append(problem(row.where, name, result.get("value"), "one rating from 0 to 10"))
                    continue
                key = str(data.get(f"key_{letter}", ""))
                prompt, response = texts.get(key, (data.get("prompt"), asked[letter]))
                faults = [
                    problem(row.where, column, text, fault)
                    for column, text in (("prompt", prompt), (f"response_{letter}", response))
                    if (fault := text_fault(text))
                ]
                if faults or not isinstance(prompt, str):
                    problems += faults
                    continue
                spent = annotation.get("lead_time")
                seconds = spent / len(asked) if isinstance(spent, int | float) else None
                when, who = (
                    str(annotation.get("updated_at") or ""),
                    _annotator(annotation.get("completed_by")),
                )
                key = response_key(prompt, response)
                labels.append(Label(key, prompt, response, score, who or path.stem, when, seconds))
                rated.add(letter)
        blank += len(asked) - len(rated)
    return labels, blank


def read_files(paths: list[Path], tasks: Path | None) -> tuple[list[Label], int]:
    """The labels of all files, and how many responses of a file have none.

    Raises:
        InputError: lists every fault of every file; or there is no label.
    """
    problems: Problems = []
    texts = read_texts(tasks, problems) if tasks else {}
    labels: list[Label] = []
    blank = 0
    for path in paths:
        reader = {".json": read_export, ".csv": read_sheet}.get(path.suffix.lower())
        if reader is None:
            wanted = "Label Studio's export (.json) or a filled tasks.csv"
            problems.append(f"{path}: found the extension {path.suffix!r}, expected {wanted}")
            continue
        found, without = reader(path, texts, problems)
        labels += found
        blank += without
    fail_with(problems, "the labels cannot be used; nothing was written:")
    if not labels:
        raise InputError(f"{', '.join(map(str, paths))}: found no label, expected at least one score")
    return labels, blank


# duplicates


def last_of_each(labels: Iterable[Label]) -> tuple[list[Label], list[tuple[Label, Label]]]:
    """One label per response and annotator, the last; and the pairs (earlier, later) of which one counts.

    Label Studio says when a label was changed; else a later row of a later file is the last.
    """
    kept: dict[tuple[str, str], Label] = {}
    repeats = []
    for label in labels:
        place = label.key, label.annotator
        before = kept.get(place)
        if before is not None:
            earlier, later = (label, before) if label.when < before.when else (before, label)
            repeats.append((earlier, later))
            label = later
        kept[place] = label
    return [kept[place] for place in sorted(kept)], repeats


# the report


def others_means(labels: list[Label]) -> list[float | None]:
    """For each label the mean of the other annotators' labels of that response; None where there is none."""
    sums: dict[str, list[float]] = {}
    for label in labels:
        sums.setdefault(label.key, []).append(label.score)
    found = []
    for label in labels:
        scores = sums[label.key]
        found.append((sum(scores) - label.score) / (len(scores) - 1) if len(scores) > 1 else None)
    return found


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else "")


def _excerpt(label: Label) -> str:
    return f"{shorten(label.response, 50)} to {shorten(label.prompt, 50)}"


def _listed(lines: list[str], what: str) -> list[str]:
    """A heading with the number of the lines, and the first of them."""
    more = [f"    and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"  {len(lines)} {what}", *(f"    {line}" for line in lines[:SHOWN]), *more] if lines else []


def agreement_lines(labels: list[Label], resamples: int) -> list[str]:
    """Alpha of all labels, and of each annotator with the mean of the others."""
    ratings: dict[tuple[str, str], list[float]] = {}
    for label in labels:
        ratings.setdefault((label.prompt, label.key), []).append(label.score)
    names = sorted({label.annotator for label in labels})
    if len(names) == 1:
        return [f"agreement: not measured, there is one annotator ({names[0]})"]
    found = agreement(ratings, resamples, "labels")
    lines = [
        "agreement (Krippendorff's alpha on the interval scale, 95% interval over prompts; 1 full, 0 chance):"
    ]
    lines.append(f"  all: {_interval(*found[:3])}, on {found.responses} responses with {found.labels} labels")
    if found.alpha is not None and found.alpha < RELIABLE:
        low = found.alpha < TENTATIVE
        lines.append(
            f"  {'below' if low else 'above'} {TENTATIVE}: "
            + ("the annotators mean different things by these numbers; talk about the outliers" if low else
               f"good enough to go on with; {RELIABLE} is the custom for firm conclusions")
        )  # fmt: skip
    means = others_means(labels)
    for name in names:
        own = [(a, b) for a, b in zip(labels, means, strict=True) if a.annotator == name]
        shared = [(a, b) for a, b in own if b is not None]
        alone = agreement({(a.prompt, a.key): [a.score, b] for a, b in shared}, resamples, name)
        bias = mean([a.score - b for a, b in shared])
        gap = "" if bias is None else f", {abs(bias):.1f} {'above' if bias >= 0 else 'below'} the others"
        average = mean([a.score for a, _ in own])
        lines.append(
            f"  {name}: {_interval(*alone[:3])} with the mean of the others, on {len(shared)} of {len(own)} "
            f"labels; mean {average:.1f}{gap}"
        )
    return lines


def outlier_lines(labels: list[Label]) -> list[str]:
    """Labels far from the others', annotators who give one number, labels given too fast to read."""
    far = [
        (
            abs(label.score - other),
            f"{label.annotator} {label.score:g}, the others {other:.1f}: {_excerpt(label)}",
        )
        for label, other in zip(labels, others_means(labels), strict=True)
        if other is not None and abs(label.score - other) >= FAR
    ]
    lines = _listed(
        [text for _, text in sorted(far, key=lambda item: (-item[0], item[1]))],
        f"labels {FAR:g} or more from the mean of the others'",
    )
    by_name: dict[str, Counter[float]] = {}
    for label in labels:
        by_name.setdefault(label.annotator, Counter())[label.score] += 1
    flat = []
    for name, counts in sorted(by_name.items()):
        (score, count), total = counts.most_common(1)[0], counts.total()
        if total >= ENOUGH and count >= ONE_NUMBER * total:
            flat.append(f"{name}: {score:g} in {count} of {total} labels")
    lines += _listed(flat, f"annotators who gave one number to {ONE_NUMBER:.0%} or more")
    fast = Counter(label.annotator for label in labels if label.seconds is not None and label.seconds < FAST)
    lines += _listed(
        [f"{name}: {count}" for name, count in sorted(fast.items())],
        f"annotators with labels given in less than {FAST:g} seconds per response",
    )
    return ["outliers:", *lines] if lines else ["outliers: none"]


def report(labels: list[Label], repeats: list[tuple[Label, Label]], blank: int, resamples: int = 2000) -> str:
    """What a person reads: counts, agreement, outliers, duplicates, and how the scale was used."""
    responses, prompts = {label.key for label in labels}, {label.prompt for label in labels}
    names = {label.annotator for label in labels}
    lines = [
        f"{len(labels)} labels of {len(responses)} responses to {len(prompts)} prompts, by {len(names)} "
        f"annotator{'s' * (len(names) > 1)}; {blank} not rated"
    ]
    lines += agreement_lines(labels, resamples)
    lines += outlier_lines(labels)
    changed = [
        f"{b.annotator} {a.score:g}, then {b.score:g}: {_excerpt(b)}"
        for a, b in repeats
        if a.score != b.score
    ]
    same = len(repeats) - len(changed)
    lines.append(
        f"duplicates (one annotator, one response; the last counts): {same} equal, {len(changed)} changed"
    )
    lines += _listed(changed, "changed")
    used = Counter(round(label.score) for label in labels)
    lines.append("scores: " + ", ".join(f"{number} x{used[number]}" for number in SCALE))
    return "\n".join(lines)


# writing


def write_labels(path: Path, labels: list[Label]) -> None:
    """Write the labels as CSV or JSON Lines, by the extension; equal labels give equal bytes."""
    rows = [
        {
            "prompt": label.prompt,
            "response": label.response,
            "score": int(label.score) if label.score.is_integer() else label.score,
            "annotator": label.annotator,
        }
        for label in labels
    ]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        if path.suffix.lower() == ".csv":
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        else:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def import_files(paths: list[Path], output: Path, tasks: Path | None = None) -> str:
    """Read, check, write; returns the report.

    Raises:
        InputError: a file cannot be used, or the output would replace one of them.
    """
    if output.suffix.lower() not in (".csv", ".jsonl"):
        raise InputError(f"{output}: found the extension {output.suffix!r}, expected .csv or .jsonl")
    if output.resolve() in {path.resolve() for path in paths}:
        raise InputError(f"{output}: found one of the files that are read, expected another name")
    labels, blank = read_files(paths, tasks)
    kept, repeats = last_of_each(labels)
    write_labels(output, kept)
    shown = report(kept, repeats, blank)
    return f"{shown}\nwrote {output}: {len(kept)} rows. In your config: labels: {{annotations: [{output}]}}"


def main(given: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/import_labels", description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="Label Studio's export (.json), filled tasks.csv")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="label file to write (.csv or .jsonl)"
    )
    parser.add_argument("--tasks", type=Path, help="results/{run}/annotation: take the texts from there")
    args = parser.parse_args(given)
    try:
        print(import_files(args.files, args.output, args.tasks))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
