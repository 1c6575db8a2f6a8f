"""The corpus of bad input: named cases, how each is made and read, and what the message must hold.

Run: PYTHONPATH=scripts python tests/support/corpus.py
(writes docs/bad_input.md; a test fails while the page and the corpus differ)

A case writes its files into an empty folder and reads them as a job does. It ends in one `InputError`, or,
where the input is only odd, in the text that was given.
"""

import csv
import io
import json
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import base_model
import check_lengths
import deal_prompts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import read_seeds
import safetensors.numpy
from stand_ins.tokenizer import load_tokenizer as load_characters

from alma.errors import InputError
from alma.label_import import import_files
from alma.tables import read_table, write_table
from alma.workflow.config import ROOT, check_config, run_configs

PAGE = ROOT / "docs" / "bad_input.md"
FORMATS = ("jsonl", "json", "csv", "parquet")


@dataclass(frozen=True)
class Case:
    """One bad input: `read` makes it in a folder and reads it; the message holds every one of `expected`."""

    group: str
    name: str
    read: Callable[[Path], Any]
    expected: tuple[str, ...]


@cache
def message_of(case: Case) -> str:
    """The message that a case ends with, without the paths of this machine.

    Raises:
        AssertionError: the case was accepted. Any other error than `InputError` is not caught.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            case.read(folder)
        except InputError as error:
            text = str(error)
            for path in (folder, ROOT, Path.cwd()):
                text = text.replace(f"{path}/", "").replace(str(path), ".")
            return text
    raise AssertionError(f"{case.group}: {case.name}: was accepted")


# the seed files


GOOD: dict[str, list[dict[str, Any]]] = {
    "sft": [{"prompt": "Name a color.", "response": "Blue."}],
    "judge": [
        {"prompt": "Add 2 and 3.", "response": "5", "score": 10},
        {"prompt": "Spell cat.", "response": "c a t", "score": 9},
    ],
    "eval": [{"prompt": "Why is the sky blue?", "category": "why"}],
    "pairs": [{"prompt": "Say why.", "chosen": "Because.", "rejected": "No."}],
}
TABLES = {"sft": "sft", "judge": "judge", "heldout": "judge", "pairs": "judge_pair", "eval": "eval"}
TABLES |= {"turns": "turns", "prompts": "seed_prompt"}


def as_bytes(rows: list[dict[str, Any]], kind: str) -> bytes:
    """Rows as a file of one of `FORMATS`; lists in a CSV cell are JSON text."""
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if kind == "json":
        return json.dumps(rows).encode()
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), out)
        return out.getvalue()
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    text.flush()
    return out.getvalue()


def read_all(folder: Path, given: dict[str, str], **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Run read_seeds on a folder; `given` names the files that are there, the others are made and good.

    Returns:
        The rows of every table.

    Raises:
        InputError: as the script; no table is written then.
    """
    files = dict(given)
    for name, rows in GOOD.items():
        if name not in files:
            files[name] = str(folder / f"good-{name}.jsonl")
            Path(files[name]).write_bytes(as_bytes(rows, "jsonl"))
    outputs = [folder / "out" / f"{name}.parquet" for name in TABLES]
    values: dict[str, Any] = {"seed": 0, "scale": [0, 10], "heldout_fraction": 0.5, "max_bad_rows": 0.02}
    values |= {"sft": files["sft"], "judge": files["judge"], "judge_benchmark": files["pairs"]}
    values |= {"benchmarks": {"mine": files["eval"]}}
    try:
        read_seeds.main(*outputs, **(values | changes))
    except InputError:
        assert not (folder / "out").exists(), "tables were written although the seeds are wrong"
        raise
    return {name: read_table(path, TABLES[name]) for name, path in zip(TABLES, outputs, strict=True)}


def seeds(
    name: str, file: str, content: bytes | Callable[[Path], Any], **changes: Any
) -> Callable[[Path], Any]:
    """Reader of a case: the seed file `name` has this content, all others are good."""

    def read(folder: Path) -> Any:
        path = folder / file
        path.write_bytes(content) if isinstance(content, bytes) else content(path)
        return read_all(folder, {name: str(path)}, **changes)

    return read


ABSENT = object()
LONG = "x" * 1_000_001
NOT_IN_CSV = ("jsonl", "json", "parquet")
IN_JSON = ("jsonl", "json")
# what a text may not be: (name, value, formats that can hold it, what the message holds)
BAD_TEXTS: list[tuple[str, Any, tuple[str, ...], str]] = [
    ("missing value", ABSENT, FORMATS, "found nothing, expected text"),
    ("blank text", " \t ", FORMATS, "expected text that is not blank"),
    ("a number", 3, NOT_IN_CSV, "found 3, expected text"),
    ("an object", {"a": 1}, NOT_IN_CSV, "found {'a': 1}, expected text"),
    ("bytes", b"\xff\x00", ("parquet",), "expected text"),
    ("a NUL character", "a\0b", NOT_IN_CSV, "expected text without NUL characters"),
    ("half a surrogate pair", "a\ud800", IN_JSON, "expected text without halves of surrogate pairs"),
    ("a million characters", LONG, ("jsonl", "csv"), "expected text of at most 1,000,000 characters"),
]
BAD_SCORES: list[tuple[str, Any, tuple[str, ...], str]] = [
    ("missing score", ABSENT, FORMATS, "found nothing"),
    ("NaN", float("nan"), FORMATS, "nan"),
    ("infinity", float("inf"), FORMATS, "inf"),
    ("above the scale", 10.01, FORMATS, "10.01"),
    ("below the scale", -1, FORMATS, "-1"),
    ("a word", "good", ("jsonl", "json", "csv"), "found 'good'"),
    ("digits as text", "7", IN_JSON, "found '7'"),
    ("a comma for the point", "7,5", ("csv",), "found '7,5'"),
    ("an underscore", "1_0", ("csv",), "found '1_0'"),
    ("hexadecimal digits", "0x7", ("csv",), "found '0x7'"),
    ("digits of another script", "\u0667", ("csv",), "found '\u0667'"),
    ("two numbers", "7 8", ("csv",), "found '7 8'"),
    ("true", True, ("jsonl", "json", "csv"), "rue"),
    ("a list", [7], ("jsonl", "json", "csv"), "[7]"),
    ("an object", {"value": 7}, IN_JSON, "found {'value': 7}"),
    ("400 digits", 10**400, ("jsonl", "json", "csv"), "found "),
]


def with_row(name: str, kind: str, column: str, value: Any) -> bytes:
    """The good rows of a file and one with a bad value; in Parquet alone where its type is another."""
    row = {**GOOD[name][0], column: None if value is ABSENT else value}
    if value is ABSENT and kind != "parquet":
        del row[column]
    alone = kind == "parquet" and isinstance(value, int | dict | bytes) and column != "score"
    return as_bytes([row] if alone else [*GOOD[name], row], kind)


def place(name: str, kind: str, content: bytes) -> str:
    """How a message calls the last row of a file."""
    if kind == "parquet":
        return f"{name}.parquet: row {pq.read_metadata(io.BytesIO(content)).num_rows}"
    return f"{name}.{kind}: {'line' if kind == 'jsonl' else 'row'} {len(GOOD[name]) + 1}"


def row_cases() -> list[Case]:
    """A bad value in one row, in every format that can hold it."""
    found = []
    columns = {"sft": "response", "judge": "prompt", "eval": "prompt", "pairs": "rejected"}
    bad = [(name, column, *text) for name, column in columns.items() for text in BAD_TEXTS]
    bad += [("judge", "score", *score) for score in BAD_SCORES]
    for name, column, what, value, formats, expected in bad:
        for kind in formats:
            content = with_row(name, kind, column, value)
            parts = (f"{place(name, kind, content)}, {column}: found", expected, "expected")
            title = f"{name}, {column}: {what} ({kind})"
            found.append(Case("Rows of the seeds", title, seeds(name, f"{name}.{kind}", content), parts))
    return found


def turns(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    """A conversation of (role, content)."""
    return [{"role": role, "content": content} for role, content in pairs]


def conversation_cases() -> list[Case]:
    """Faults of `messages`, of checks, and between rows."""
    asked, said = ("user", "u"), ("assistant", "a")
    bad: list[tuple[str, Any, str]] = [
        ("messages as a word", "hello", "expected a list of messages"),
        ("no messages", [], "expected a list of messages"),
        ("messages without roles", [{"from": "human"}], "expected a role and a content in message 1"),
        ("a message that is a number", [3], "expected a role and a content in message 1"),
        ("an assistant first", turns(said, asked), "not assistant, user"),
        ("an unknown role", turns(("tool", "x"), said), "not tool, assistant"),
        ("a role that is a list", turns((["user"], "x"), said), "not ['user'], assistant"),
        ("no answer at the end", turns(asked), "expected messages that end with the assistant's"),
        ("two system messages", turns(("system", "x"), ("system", "y")), "at most one system message"),
        ("a system message alone", turns(("system", "x")), "at most one system message"),
        ("content that is null", turns(("user", None), said), "expected text in message 1"),
        ("content that is parts", turns(("user", [{"type": "text"}]), said), "expected text in message 1"),
    ]
    found = []
    for what, value, expected in bad:
        for kind in ("jsonl", "csv"):
            content = as_bytes([{"messages": value}], kind)
            read = seeds("sft", f"sft.{kind}", content)
            where = f"sft.{kind}: {'line' if kind == 'jsonl' else 'row'} 1, messages: found"
            found.append(Case("Conversations and checks", f"{what} ({kind})", read, (where, expected)))
    checks: list[tuple[str, Any, str]] = [
        ("checks that are an object", {"kind": "lines"}, "checks is not a list"),
        ("an unknown check", [{"kind": "rhyme"}], "unknown kind 'rhyme'"),
        ("a check that is a word", ["lines"], "check 0 is not an object"),
        ("a check with NaN", [{"kind": "number", "value": float("nan")}], "a finite number"),
        ("a check with a NUL", [{"kind": "equals", "text": "a\0"}], "NUL"),
        ("a kind that is a list", [{"kind": ["lines"]}], "unknown kind ['lines']"),
        ("a count below 1", [{"kind": "lines", "count": 0}], "an integer of at least 1"),
    ]
    for what, value, expected in checks:
        content = as_bytes([{"prompt": "p", "checks": value}], "jsonl")
        parts = ("eval.jsonl: line 1, checks: found", expected)
        found.append(Case("Conversations and checks", what, seeds("eval", "eval.jsonl", content), parts))
    told = [
        ("an evaluation prompt that ends with an answer", turns(asked, said), "not user, assistant"),
        ("two answers in a row", turns(asked, said, said, asked), "not user, assistant, assistant, user"),
        ("a prompt of a system message alone", turns(("system", "x")), "at most one system message"),
        ("a blank turn", turns(asked, ("user", " ")), "expected text that is not blank in message 2"),
    ]
    for what, value, expected in told:
        content = as_bytes([{"messages": value}], "jsonl")
        parts = ("eval.jsonl: line 1, messages: found", expected)
        found.append(Case("Conversations and checks", what, seeds("eval", "eval.jsonl", content), parts))
    several = [{"messages": turns(asked, asked), "checks": [{"kind": "lines", "count": 2}]}]
    twice = [{"prompt": "p", "category": "a"}, {"prompt": "p", "category": "b"}]
    leak = [{"prompt": " ADD 2  and 3. "}]
    same = [{"prompt": "p", "chosen": "x", "rejected": "x"}]
    both = [{"prompt": "p", "response": "a", "completion": "b"}]
    one = [{**GOOD["judge"][0], "response": text} for text in "ab"]
    seen = [{**GOOD["pairs"][0], "prompt": "Spell cat."}]
    between: list[tuple[str, str, list[dict[str, Any]], tuple[str, ...]]] = [
        (
            "one prompt twice, with other values",
            "eval",
            twice,
            ("line 2, prompt: found 'p'", "line 1 has it"),
        ),
        ("checks beside several turns", "eval", several, ("line 1, checks", "none beside several messages")),
        ("an evaluation prompt in the seeds", "eval", leak, ("line 1, prompt", "good-judge.jsonl: line 1")),
        ("a benchmark prompt in the labels", "pairs", seen, ("line 1, prompt", "good-judge.jsonl: line 2")),
        ("chosen is rejected", "pairs", same, ("line 1, rejected", "another text than chosen")),
        ("two different answers", "sft", both, ("line 1, completion: found 'b'", "or equal ones")),
        ("labels of one prompt alone", "judge", one, ("judge.jsonl: found 1 judged prompt", "at least 2")),
    ]
    for what, name, rows, parts in between:
        read = seeds(name, f"{name}.jsonl", as_bytes(rows, "jsonl"))
        found.append(Case("Conversations and checks", what, read, parts))
    for name in GOOD:
        for kind in FORMATS:
            column = list(GOOD[name][0])[-1] if name != "eval" else "prompt"
            rows = [{k: v for k, v in row.items() if k != column} for row in GOOD[name]]
            read = seeds(name, f"{name}.{kind}", as_bytes(rows, kind))
            parts = (f"{name}.{kind}: missing columns: found", "expected", column)
            found.append(Case("Missing columns", f"{name} without {column} ({kind})", read, parts))
    return found


def deep(depth: int) -> bytes:
    """A JSON row whose prompt is lists in lists."""
    return b'{"prompt": ' + b"[" * depth + b"]" * depth + b"}"


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 13085339\n"
BAD_FILES: list[tuple[str, str, bytes, tuple[str, ...]]] = [
    ("empty", "jsonl", b"", ("found no rows",)),
    ("blank lines", "jsonl", b"\n \n\t\n", ("found no rows",)),
    ("Latin-1", "jsonl", b'{"prompt": "a"}\n{"prompt": "\xe9"}\n', ("line 2: found the byte 0xe9", "UTF-8")),
    ("UTF-16", "jsonl", '{"prompt": "a"}'.encode("utf-16"), ("found UTF-16 text, expected UTF-8",)),
    ("UTF-32", "jsonl", '{"prompt": "a"}'.encode("utf-32-be"), ("line 1: found a NUL byte at byte 1",)),
    ("a NUL byte", "jsonl", b'{"prompt": "a"}\n{"pro\0mpt": "b"}', ("line 2: found a NUL byte at byte 6",)),
    ("zeros only", "jsonl", bytes(4096), ("line 1: found a NUL byte at byte 1",)),
    ("a cut-off line", "jsonl", b'{"prompt": "a"}\n{"prompt": "b', ("line 2: found", "a JSON object")),
    ("a list a line", "jsonl", b'["prompt"]\n', ("line 1: found ['prompt'], expected a JSON object",)),
    ("a word", "jsonl", b"hello\n", ("line 1: found 'hello', expected a JSON object",)),
    ("single quotes", "jsonl", b"{'prompt': 'a'}\n", ("line 1: found", "double quotes")),
    ("100,000 brackets", "jsonl", b"[" * 100_000, ("line 1: found", "nested brackets")),
    ("990 levels", "jsonl", deep(990), ("line 1: found", "nested brackets")),
    ("120 levels", "jsonl", deep(120), ("line 1: found", "more than 100 nested brackets")),
    ("5,000 digits", "jsonl", b'{"prompt": ' + b"9" * 5000 + b"}", ("line 1: found", "digits")),
    ("a key twice", "jsonl", b'{"prompt": "a", "prompt": "b"}\n', ("line 1: found", "'prompt' stands twice")),
    ("2,000,001 lines", "jsonl", b"\n" * 2_000_001, ("2,000,001 lines, expected at most 2,000,000",)),
    ("a pickle", "jsonl", pickle.dumps([{"prompt": "a"}]), ("line 1: found", "UTF-8 text")),
    ("gzip", "jsonl.gz", b"\x1f\x8b\x08", ("not a readable gzip file",)),
    ("gzip", "parquet.gz", b"\x1f\x8b\x08", ("found the extension '.gz', expected one of .jsonl",)),
    ("a Git LFS pointer", "jsonl", LFS_POINTER, ("found a Git LFS pointer, expected the data",)),
    ("a Git LFS pointer", "parquet", LFS_POINTER, ("found a Git LFS pointer, expected the data",)),
    ("another extension", "txt", b"hello", ("found the extension '.txt', expected one of",)),
    ("broken", "json", b'[{"prompt": "a"},\n{"prompt" "b"}]', ("broken JSON", "line 2", "expected")),
    ("JSON Lines", "json", b'{"prompt": "a"}\n{"prompt": "b"}', ("name the file .jsonl",)),
    ("an object", "json", b'{"rows": []}', ("found {'rows': []}, expected a list of objects",)),
    ("a number", "json", b"3", ("found 3, expected a list of objects",)),
    ("a number in the list", "json", b'[{"prompt": "a"}, 3]', ("row 2: found 3, expected an object",)),
    ("an empty list", "json", b"[]", ("found no rows",)),
    ("empty", "json", b"", ("broken JSON",)),
    ("not UTF-8", "json", b'[{"prompt":\n"\xff"}]', ("line 2: found the byte 0xff", "UTF-8")),
    ("100,000 brackets", "json", b"[" * 100_000, ("nested brackets", "expected a list")),
    ("120 levels", "json", b"[" + deep(120) + b"]", ("more than 100 nested brackets",)),
    ("a key twice", "json", b'[{"prompt": "a", "prompt": "b"}]', ("the key 'prompt' stands twice",)),
    ("empty", "csv", b"", ("found no rows",)),
    ("a header only", "csv", b"prompt,category\n", ("found no rows",)),
    ("too few cells", "csv", b"prompt,category\na,b\nc\n", ("row 2: found 1 cells, expected 2",)),
    ("too many cells", "csv", b"prompt\na,b\n", ("row 1: found 2 cells, expected 1",)),
    ("a column twice", "csv", b"prompt,prompt\na,b\n", ("found the column 'prompt' twice",)),
    ("200,000 columns", "csv", b"," * 200_000 + b"\n", ("found the column '' twice",)),
    (
        "an open quote",
        "csv",
        b'prompt\na\n"b\n' + b"c\n" * 99,
        ("row 2, which begins at line 3: broken CSV",),
    ),
    ("an open quote in the header", "csv", b'"prompt\na\n', ("the header, which begins at line 1",)),
    ("text after a quote", "csv", b'prompt\n"a"b\n', ("row 1, which begins at line 2: broken CSV",)),
    ("semicolons", "csv", b"prompt;category\na;b\n", ("missing columns", "expected prompt")),
    ("tabs", "csv", b"prompt\tcategory\na\tb\n", ("missing columns", "separated by commas")),
    ("a space in the header", "csv", b"category, prompt\na, b\n", ("' prompt' is not prompt",)),
    ("a capital in the header", "csv", b"Prompt\na\n", ("found 'Prompt'", "'Prompt' is not prompt")),
    ("not UTF-8", "csv", b"prompt\na\nb\xff\n", ("line 3: found the byte 0xff", "UTF-8")),
    ("a NUL byte", "csv", b"prompt\na\0b\n", ("line 2: found a NUL byte at byte 2",)),
    ("an empty cell", "csv", b"prompt,category\n,b\na,b\n", ("row 1, prompt: found nothing, expected text",)),
    ("broken checks", "csv", b'prompt,checks\na,"[{""kind"": 3}]"\n', ("row 1, checks: found", "kind 3")),
    ("deep checks", "csv", b"prompt,checks\na," + b"[" * 99_999 + b"\n", ("row 1, checks: found",)),
    ("empty", "parquet", b"", ("not a readable Parquet file",)),
    ("text", "parquet", b"prompt\nhello\n", ("not a readable Parquet file",)),
    ("magic bytes only", "parquet", b"PAR1 but not really PAR1", ("not a readable Parquet file",)),
]


def array_of(kind: pa.DataType, *values: bytes) -> pa.Array:
    """An Arrow array with the bytes as they are, whatever its type allows."""
    return pa.Array.from_buffers(kind, len(values), pa.array(list(values), pa.binary()).buffers())


def columns(**arrays: Any) -> Callable[[Path], Any]:
    """Writer of a Parquet file with these columns."""
    return lambda path: pq.write_table(pa.table(arrays), path, compression="zstd")


def cut(path: Path) -> None:
    """A Parquet file without its middle."""
    columns(prompt=[f"text {i}" for i in range(999)])(path)
    raw = path.read_bytes()
    path.write_bytes(raw[:100] + raw[400:])


def declared(path: Path) -> None:
    """A bomb that its metadata gives away: 320 MiB of zeros, in plain encoding, under 100 kB."""
    schema = pa.schema([("prompt", pa.string())])
    block = pa.table({"prompt": ["0" * 2**20] * 16}, schema)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for _ in range(20):
            writer.write_table(block)


def repeated(path: Path) -> None:
    """A bomb that its metadata hides: one text of 20 MiB, stored once and named 256 times (5 GiB), 1 kB."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 256, pa.int32()), pa.array(["x" * (20 * 2**20)]))
    columns(prompt=text)(path)


BOMBS: list[tuple[str, Callable[[Path], Any], tuple[str, ...]]] = [
    ("a bomb of 320 MiB in 100 kB", declared, ("found 320.0 MiB, expected at most 256 MiB",)),
    ("a bomb of 5 GiB in 1 kB", repeated, ("found more than", "expected at most 256 MiB")),
    (
        "3 million rows of nothing",
        columns(prompt=pa.nulls(3_000_000, pa.string())),
        ("found 3,000,000 values in a column, expected at most 2,000,000",),
    ),
    (
        "one row with a list of 3 million",
        columns(prompt=pa.array([[None] * 3_000_000], pa.list_(pa.string()))),
        ("found 3,000,000 values in a column, expected at most 2,000,000",),
    ),
]
BAD_PARQUET: list[tuple[str, Callable[[Path], Any], tuple[str, ...]]] = [
    *BOMBS,
    ("no columns of use", columns(text=["a"]), ("missing columns",)),
    ("no rows", columns(prompt=pa.array([], pa.string())), ("found no rows",)),
    ("a damaged file", cut, ("not a readable Parquet file",)),
    (
        "text that is not UTF-8",
        columns(prompt=array_of(pa.string(), b"ok", b"\xff")),
        ("row 2, prompt", "UTF-8"),
    ),
    (
        "a date beyond all calendars",
        columns(prompt=pa.array([2**31 - 1]).cast(pa.int32()).cast(pa.date32())),
        ("row 1, prompt: found",),
    ),
    ("dates", columns(prompt=pa.array([0], pa.int32()).cast(pa.date32())), ("row 1, prompt: found", "text")),
    ("lists of text", columns(prompt=[["a"], ["b"]]), ("row 2, prompt: found ['b'], expected text",)),
    (
        "a column twice",
        lambda path: pq.write_table(pa.table([["a"], ["b"]], names=["prompt", "prompt"]), path),
        ("found the column 'prompt' twice",),
    ),
]


def file_cases() -> list[Case]:
    """Faults of whole files, in every format."""
    found = []
    for what, kind, content, expected in BAD_FILES:
        read = seeds("eval", f"eval.{kind}", content)
        found.append(Case("Files of the seeds", f"{what} ({kind})", read, (f"eval.{kind}", *expected)))
    for what, make, expected in BAD_PARQUET:
        read = seeds("eval", "eval.parquet", make)
        found.append(Case("Files of the seeds", f"{what} (parquet)", read, ("eval.parquet", *expected)))
    elsewhere: list[tuple[str, Callable[[Path], Any], str]] = [
        ("a file that is not there", lambda path: None, "no such file"),
        ("a folder", lambda path: path.mkdir(), "no such file"),
        ("a link that leads nowhere", lambda path: path.symlink_to("absent"), "no such file"),
        ("a link to itself", lambda path: path.symlink_to(path), "no such file"),
        ("a pipe", lambda path: os.mkfifo(path), "no such file"),
    ]
    for what, make, text in elsewhere:
        read = seeds("judge", "judge.jsonl", make)
        found.append(Case("Files of the seeds", what, read, ("judge.jsonl", text)))
    long = "x" * 300 + ".csv"
    found.append(
        Case("Files of the seeds", "a name of 300 characters", lambda f: read_all(f, {"sft": long}), ("xxx",))
    )
    sources = ("hub:a/b", "hub:@abc", "hub:a/b@")
    for source in sources:
        read = lambda f, s=source: read_all(f, {"sft": s})  # noqa: E731
        found.append(
            Case("Files of the seeds", f"the source {source}", read, (source, "hub:OWNER/NAME@REVISION"))
        )
    return found


# the config


def config(**changes: Any) -> dict[str, Any]:
    """A small valid config with top-level keys replaced; relative paths are found in the repository."""
    small = {
        "base_model": "data",
        "labels": {"sft": "data/sft.jsonl", "judge": "data/judge.jsonl"},
        "evaluation": {"benchmarks": {"everyday": "data/eval.jsonl"}},
    }
    return small | changes


def checked(values: Any) -> dict[str, dict[str, Any]]:
    """A config as the Snakefile checks it: the config of every run."""
    check_config(values)
    return run_configs(values)


def laughs() -> Any:
    """Lists of lists that YAML aliases make: ten names, ten thousand million values."""
    value: Any = ["ha"] * 10
    for _ in range(9):
        value = [value] * 10
    return value


def circle() -> Any:
    """A list that holds itself, as YAML's `&a [*a]`."""
    value: list[Any] = []
    value.append(value)
    return value


def levels(depth: int) -> Any:
    """An object in an object in an object."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


NAN, INF = float("nan"), float("inf")
HEX = "0" * 40
BAD_CONFIGS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("rounds: 1", config(rounds=1), ("rounds: found 1, expected at least 2",)),
    ("rounds: three", config(rounds="three"), ("rounds: found 'three', expected integer",)),
    ("rounds: true", config(rounds=True), ("rounds: found True, expected integer",)),
    ("rounds: 2.5", config(rounds=2.5), ("rounds: found 2.5, expected integer",)),
    ("rounds: null", config(rounds=None), ("rounds: found None, expected integer",)),
    ("rounds: 10**400", config(rounds=10**400), ("rounds: found 1000", "below 2**63")),
    ("rounds: 10**5000", config(rounds=10**5000), ("rounds: found a value of type int", "below 2**63")),
    ("rounds: 10**9", config(rounds=10**9), ("rounds: found 1000000000, expected at most 51",)),
    (
        "samples_per_prompt: 10**9",
        config(samples_per_prompt=10**9),
        ("rounds, prompts_per_round", "jobs, expected at most 1,000,000"),
    ),
    ("checkpoints.sft: 10**12", config(checkpoints={"sft": 10**12}), ("jobs, expected at most",)),
    ("prompts.shards: 10**12", config(prompts={"shards": 10**12}), ("jobs, expected at most",)),
    ("seed: -1", config(seed=-1), ("seed: found -1, expected at least 0",)),
    ("seed: NaN", config(seed=NAN), ("seed: found nan, expected a finite number",)),
    ("judge.scale: [0, NaN]", config(judge={"scale": [0, NAN]}), ("judge.scale.1: found nan",)),
    ("judge.scale: [-inf, inf]", config(judge={"scale": [-INF, INF]}), ("judge.scale.0: found -inf",)),
    (
        "judge.scale: [10, 0]",
        config(judge={"scale": [10, 0]}),
        ("judge.scale: found [10, 0]", "lower end first"),
    ),
    ("judge.scale: [3, 3]", config(judge={"scale": [3, 3]}), ("judge.scale: found [3, 3]",)),
    ("judge.scale too wide", config(judge={"scale": [-1e308, 1e308]}), ("judge.scale", "a float can hold")),
    ("judge.scale: [1]", config(judge={"scale": [1]}), ("judge.scale: found [1], expected at least 2",)),
    ("judge.scale: {}", config(judge={"scale": {}}), ("judge.scale: found {}, expected array",)),
    ("judge.heldout_fraction: 1", config(judge={"heldout_fraction": 1}), ("found 1, expected less than 1",)),
    (
        "sampling.temperature: inf",
        config(sampling={"temperature": INF}),
        ("sampling.temperature: found inf",),
    ),
    ("a rate as text", config(training={"sft": {"learning_rate": "1e-5"}}), ("learning_rate", "as a number")),
    ("training.objective: ppo", config(training={"objective": "ppo"}), ("expected one of best_of_n, dpo",)),
    ("a micro batch that does not divide", config(training={"sft": {"micro_batch_size": 3}}), ("a divisor",)),
    ("prompts.shots: [5, 3]", config(prompts={"shots": [5, 3]}), ("prompts.shots: found [5, 3]",)),
    ("fewer clusters than prompts", config(prompts={"clusters": 5}), ("prompts.clusters: found 5",)),
    ("an unknown key", config(color=1), ("color: unknown key; known here: annotation",)),
    ("an unknown key below", config(sampling={"temprature": 1}), ("sampling.temprature: unknown key",)),
    ("a key with escape codes", config(**{"\x1b[31m": 1}), (r"\x1b[31m: unknown key",)),
    (
        "a key that is a number",
        config(**{"evaluation": {"benchmarks": {1: "data/eval.jsonl"}}}),
        ("key 1, expected text",),
    ),
    ("a key that is null", {**config(), None: 1}, ("config: found the key None, expected text",)),
    (
        "no seeds",
        {k: v for k, v in config().items() if k != "labels"},
        ("labels.sft: missing", "labels.judge: missing"),
    ),
    ("no base model", {k: v for k, v in config().items() if k != "base_model"}, ("base_model: missing",)),
    (
        "no benchmark",
        {k: v for k, v in config().items() if k != "evaluation"},
        ("evaluation.benchmarks: missing; expected: Evaluation prompts by name",),
    ),
    ("an empty config", {}, ("base_model: missing",)),
    ("no judge seeds", config(labels={"sft": "data/sft.jsonl"}), ("labels.judge: missing",)),
    ("labels: null", config(labels=None), ("labels: found None, expected object",)),
    ("labels: a list", config(labels=["data/sft.jsonl"]), ("labels: found [", "expected object")),
    ("prompts: text", config(prompts="many"), ("prompts: found 'many', expected object",)),
    ("base_model: 3", config(base_model=3), ("base_model: found 3, expected string or object",)),
    ("base_model: empty", config(base_model=""), ("base_model: found '', expected text that is not empty",)),
    ("base_model.source: a list", config(base_model={"source": []}), ("base_model.source: found []",)),
    (
        "base_model not there",
        config(base_model="no/model"),
        ("base_model: found 'no/model', expected a folder",),
    ),
    ("base_model with a NUL", config(base_model="a\0b"), ("base_model: found 'a\\x00b'",)),
    (
        "trust_remote_code",
        config(base_model={"source": "data", "trust_remote_code": True}),
        ("base_model.trust_remote_code: unknown key",),
    ),
    (
        "a model at a branch",
        config(base_model="hub:a/b@main"),
        ("base_model: found 'hub:a/b@main'", "40 digits"),
    ),
    ("a commit that is no hex", config(base_model="hub:a/b@" + "z" * 40), ("40 digits of a commit",)),
    (
        "chat_template: empty",
        config(base_model={"source": "data", "chat_template": ""}),
        ("chat_template: found ''",),
    ),
    (
        "chat_template: a folder",
        config(base_model={"source": "data", "chat_template": "data"}),
        ("a file that exists",),
    ),
    (
        "labels.sft: a folder",
        config(labels={"sft": "data", "judge": "data/judge.jsonl"}),
        ("labels.sft: found 'data'",),
    ),
    (
        "labels.sft: package:x",
        config(labels={"sft": "package:x", "judge": "data/judge.jsonl"}),
        ("labels.sft: found",),
    ),
    (
        "labels.sft: 300 characters",
        config(labels={"sft": "x" * 300, "judge": "data/judge.jsonl"}),
        ("labels.sft",),
    ),
    (
        "labels.sft: a device",
        config(labels={"sft": "/dev/zero", "judge": "data/judge.jsonl"}),
        ("labels.sft",),
    ),
    ("a billion laughs", config(labels=laughs()), ("goes on and on", "expected at most 10,000 values")),
    ("a list that holds itself", config(checkpoints={"sample": circle()}), ("goes on and on",)),
    ("500 levels", config(judge=levels(500)), ("goes on and on", "20 levels")),
    (
        "runs in a circle",
        config(runs={"a": {"inherits": "b"}, "b": {"inherits": "a"}}),
        ("without a circle",),
    ),
    ("a run that inherits itself", config(runs={"a": {"inherits": "a"}}), ("without a circle",)),
    ("a run that inherits nobody", config(runs={"a": {"inherits": "x"}}), ("runs.a.inherits: found 'x'",)),
    (
        "a run that inherits a list",
        config(runs={"a": {"inherits": ["b"]}}),
        ("runs.a.inherits: found ['b']",),
    ),
    (
        "a control of nobody",
        config(runs={"a": {"control_of": "x", "training": {"selection": "random"}}}),
        ("runs.a.control_of: found 'x', expected one of",),
    ),
    ("a control of a list", config(runs={"a": {"control_of": ["b"]}}), ("runs.a.control_of: found ['b']",)),
    (
        "a control that chooses as its run does",
        config(runs={"a": {"control_of": "default"}}),
        ("runs.a.control_of: found the training.selection of", "'best', expected another"),
    ),
    (
        "a control that differs in more than the choice",
        config(runs={"a": {"control_of": "default", "training": {"selection": "random", "seed": 3}}}),
        ("runs.a.control_of: found a run that differs from", "in training.seed, expected"),
    ),
    (
        "a control of a control",
        config(
            runs={
                "a": {"control_of": "default", "training": {"selection": "random"}},
                "b": {"control_of": "a", "training": {"selection": "best"}},
            }
        ),
        ("runs.b.control_of: found 'a', expected a run that is no control itself",),
    ),
    ("a run that is null", config(runs={"a": None}), ("runs.a: found None, expected object",)),
    ("a wrong value in a run", config(runs={"a": {"rounds": 1}}), ("runs.a", "rounds: found 1")),
    ("a run with the name of the main run", config(run="a", runs={"a": {}}), ("runs.a: found the name",)),
    (
        "runs in a run",
        config(runs={"a": {"runs": {"b": {}}}}),
        ("runs.a.runs: a variant cannot hold this key",),
    ),
    (
        "another name in a run",
        config(runs={"a": {"run": "b"}}),
        ("runs.a.run: a variant cannot hold this key",),
    ),
]
# names that would become paths
BAD_NAMES = [
    "../x",
    "a/b",
    "/tmp/x",
    "..",
    ".",
    ".hidden",
    "-n",
    "",
    "a b",
    "a\n",
    "a\0",
    "a\\b",
    "é",
    "x" * 300,
]
BAD_SAMPLES = [
    "../base",
    "sft-0/..",
    "sft-x",
    "sft-",
    "sft--1",
    "sft-٣",
    "sft-00",
    "sft-2",
    "sft-0\n",
    "base",
]
BAD_SAMPLES += ["sft-" + "9" * 5000, "Latest"]


def config_cases() -> list[Case]:
    """Wrong configs, and names in them that would lead out of the results folder."""
    found = []
    for what, values, expected in BAD_CONFIGS:
        found.append(Case("Config", what, lambda folder, v=values: checked(v), expected))
    for name in BAD_NAMES:
        shown = repr(name) if len(name) < 99 else "300 characters"
        read = lambda folder, n=name: checked(config(run=n))  # noqa: E731
        found.append(Case("Paths", f"run: {shown}", read, ("run: found", "expected text")))
        read = lambda folder, n=name: checked(config(runs={n: {}}))  # noqa: E731
        found.append(Case("Paths", f"a run named {shown}", read, ("runs: found", "expected text")))
        benchmarks = {"benchmarks": {name: "data/eval.jsonl"}}
        read = lambda folder, b=benchmarks: checked(config(evaluation=b))  # noqa: E731
        parts = ("evaluation.benchmarks: found", "expected text")
        found.append(Case("Paths", f"a benchmark named {shown}", read, parts))
    for name in ("a.b", "a-b"):
        benchmarks = {"benchmarks": {name: "data/eval.jsonl"}}
        read = lambda folder, b=benchmarks: checked(config(evaluation=b))  # noqa: E731
        found.append(Case("Paths", f"a benchmark named {name!r}", read, ("evaluation.benchmarks: found",)))
    for name in BAD_SAMPLES:
        shown = name if len(name) < 99 else "sft- and 5,000 digits"
        read = lambda folder, n=name: checked(config(checkpoints={"sample": [n]}))  # noqa: E731
        found.append(
            Case("Paths", f"checkpoints.sample: [{shown!r}]", read, ("checkpoints.sample", "expected"))
        )
    return found


# base models


class Trap:
    """What a pickle can do: this one makes a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


def model_folder(folder: Path) -> Path:
    """A folder that passes for a model until its weights are asked for."""
    made = folder / "model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"model_type": "llama"}))
    safetensors.numpy.save_file({"a": np.zeros(4, np.float32)}, made / "model.safetensors")
    return made


def edited(**files: Any) -> Callable[[Path], None]:
    """Writer of files into a model folder: bytes, JSON, or None to remove; `__` stands for a dot."""

    def write(folder: Path) -> None:
        for name, content in files.items():
            path = folder / name.replace("__", ".")
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    return write


def pickled(name: str, keep: bool = False) -> Callable[[Path], None]:
    """Writer of a pickle that leaves a file behind when it is read, instead of the weights."""

    def write(folder: Path) -> None:
        if not keep:
            (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Trap(folder / "pickle-was-read")))

    return write


def shards(name: Any) -> dict[str, Any]:
    """An index that says that a weight is in this file."""
    return {"weight_map": {"a": name}}


CODE = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
WHOLE = safetensors.numpy.save({"a": np.zeros(4, np.float32)})
BAD_MODELS: list[tuple[str, Callable[[Path], None], tuple[str, ...]]] = [
    ("pytorch_model.bin alone", pickled("pytorch_model.bin"), ("pytorch_model.bin", "That is a pickle")),
    ("a .pth alone", pickled("consolidated.00.pth"), ("consolidated.00.pth", "That is a pickle")),
    ("a .ckpt alone", pickled("model.ckpt"), ("model.ckpt", "That is a pickle")),
    (
        "a pickle named .safetensors",
        pickled("model.safetensors", True),
        ("model.safetensors is no whole", "pickle"),
    ),
    ("a zip named .safetensors", edited(model__safetensors=b"PK\x03\x04" + bytes(99)), ("It is a pickle",)),
    ("weights without their end", edited(model__safetensors=WHOLE[:-3]), ("is no whole safetensors file",)),
    ("empty weights", edited(model__safetensors=b""), ("is no whole safetensors file",)),
    ("a header of 2**63 bytes", edited(model__safetensors=b"\xff" * 64), ("is no whole safetensors file",)),
    ("no weights", edited(model__safetensors=None), ("has no .safetensors file; expected weights",)),
    ("no config.json", edited(config__json=None), ("has no config.json; expected a model",)),
    ("a LoRA adapter", edited(config__json=None, adapter_config__json={}), ("holds a LoRA adapter",)),
    ("config.json that is no JSON", edited(config__json=b"{"), ("model/config.json is broken",)),
    (
        "config.json that is not UTF-8",
        edited(config__json=b'{"a": "\xff"}'),
        ("model/config.json is broken",),
    ),
    ("config.json of 100,000 brackets", edited(config__json=b"[" * 100_000), ("nested brackets",)),
    ("config.json that is a list", edited(config__json=[1]), ("model/config.json: found no object",)),
    ("config.json with a key twice", edited(config__json=b'{"a": 1, "a": 2}'), ("stands twice",)),
    (
        "auto_map in config.json",
        edited(config__json={"model_type": "llama", "auto_map": CODE}),
        ("config.json asks for code", "trust_remote_code"),
    ),
    (
        "auto_map in tokenizer_config.json",
        edited(tokenizer_config__json={"auto_map": CODE}),
        ("tokenizer_config.json asks for code",),
    ),
    (
        "an unknown model with its own code",
        edited(config__json={"model_type": "mine", "auto_map": CODE}),
        ("asks for code",),
    ),
    ("quantized weights", edited(config__json={"quantization_config": {"bits": 4}}), ("is quantized",)),
    (
        "an index out of the folder",
        edited(model__safetensors__index__json=shards("../x.safetensors")),
        ("index.json: found the file '../x.safetensors'",),
    ),
    (
        "an index that names a pickle",
        edited(model__safetensors__index__json=shards("x.bin")),
        ("found the file 'x.bin'",),
    ),
    (
        "an index that names a list",
        edited(model__safetensors__index__json=shards([1])),
        ("found the file [1]",),
    ),
    ("a broken index", edited(model__safetensors__index__json=b"nope"), ("index.json is broken",)),
]


def model_cases() -> list[Case]:
    """Folders that are no model, refused before torch is imported."""
    found = []
    for what, change, expected in BAD_MODELS:

        def read(folder: Path, change: Callable[[Path], None] = change) -> None:
            made = model_folder(folder)
            (made / "evil.py").write_text(f"open({str(made / 'code-was-run')!r}, 'w')")
            change(made)
            try:
                base_model.main(folder / "base", source=str(made), chat_template=None, accept_terms=False)
            finally:
                assert not list(made.glob("*-was-*")), "code of the model was run"
                assert not (folder / "base").exists()

        found.append(Case("Base models", what, read, ("base_model: model", *expected)))
    sources = [("absent", "expected a folder with a model"), ("absent.gguf", "no such file")]
    sources += [("hub:a/b", "expected hub:OWNER/NAME@REVISION"), ("package:x", "expected one of package:")]
    for source, expected in sources:
        values = {"source": source, "chat_template": None, "accept_terms": False}
        read = lambda folder, v=values: base_model.main(folder / "base", **v)  # noqa: E731
        found.append(Case("Base models", f"the source {source}", read, ("base_model", source, expected)))
    terms = {"source": "package:gemma3-270m", "chat_template": None, "accept_terms": False}
    read = lambda folder: base_model.main(folder / "base", **terms)  # noqa: E731
    found.append(Case("Base models", "terms that are not accepted", read, ("accept_terms: true",)))
    return found


def lengths(rows: dict[str, list[dict[str, Any]]], **limits: int) -> Callable[[Path], None]:
    """Reads these in place of good seeds, and checks their lengths; every character is a token."""

    def read(folder: Path) -> None:
        given = {}
        for name, more in rows.items():
            given[name] = str(folder / f"{name}.jsonl")
            Path(given[name]).write_bytes(as_bytes(more, "jsonl"))
        read_all(folder, given)
        tables = [folder / "out" / f"{name}.parquet" for name in TABLES if name != "prompts"]
        values = {"seed": 0, "max_model_len": 3000, "shots": 1, "max_tokens": 100, "judge_shots": 1}
        values |= {"sft_max_length": 1000, "judge_max_length": 1000, "few_shot_judge": 0}
        values |= {"new_prompt_tokens": 100, "response_tokens": 200, "own_benchmark": None, "own_prompts": 0}
        values |= {"prompt_shots": [1, 1]}
        with mock.patch.object(check_lengths, "load_tokenizer", load_characters):
            check_lengths.main("tokenizer.json", *tables, folder / "ok", folder / "csv", **(values | limits))

    return read


def rounds(sizes: list[int], rounds_: int, prompts: int) -> Callable[[Path], None]:
    """Deals clusters of these sizes to a run."""

    def read(folder: Path) -> None:
        rows = [
            {"prompt_id": f"{cluster}-{rank}", "cluster": cluster, "rank": rank, "distance": None}
            for cluster, size in enumerate(sizes)
            for rank in range(size)
        ]
        write_table(folder / "clusters.parquet", "cluster", rows)
        values = {"seed": 0, "rounds": rounds_, "prompts_per_round": prompts}
        deal_prompts.main(folder / "clusters.parquet", folder / "deal.parquet", **values)

    return read


LONG_ROW = {
    "prompt": "Tell all of it. " * 200,
    "response": "No.",
    "score": 1,
    "chosen": "Yes.",
    "rejected": "No.",
}


def row_of(name: str) -> dict[str, list[dict[str, Any]]]:
    """One long row for a seed file."""
    return {name: [{key: LONG_ROW[key] for key in GOOD[name][0] if key in LONG_ROW}]}


def fitting_cases() -> list[Case]:
    """What cannot fit the engine, or a run that its prompts cannot fill; found before anything is sampled."""
    engine_ = "expected at most engine.max_model_len = "
    cases = [
        (
            "long evaluation prompts only",
            lengths(row_of("eval")),
            ("eval.parquet: found 3", "in the shortest of 1 rows", engine_ + "3000"),
        ),
        ("long pairs only", lengths(row_of("pairs")), ("pairs.parquet: found 3", engine_ + "3000", "judge.")),
        ("no room for an answer", lengths({}, max_tokens=3000), ("evaluation.max_tokens = 3000", "lower")),
        (
            "no room for rated examples",
            lengths({}, max_model_len=470),
            ("judge.shots: found 1, but none of 1 rows has at most 235 tokens", "max_model_len = 470"),
        ),
        (
            "long seed prompts only",
            lengths(row_of("sft"), sft_max_length=9000, shots=0),
            ("prompts.shots: found [1, 1], but only 0 of 1",),
        ),
        (
            "no room for a few-shot judge",
            lengths({}, few_shot_judge=1, max_model_len=700),
            ("judge.checkpoint: found base", engine_ + "700"),
        ),
        (
            "long SFT pairs only",
            lengths({}, sft_max_length=16),
            ("training.sft.max_length: found 16",),
        ),
        ("a run that will run dry", rounds([3, 2, 2], 5, 2), ("found 2 with rounds: 5", "What would work: ")),
        (
            "more prompts than clusters",
            rounds([3, 2, 2], 2, 4),
            ("prompts.raw_per_shard and prompts.clusters",),
        ),
    ]
    return [Case("What does not fit", name, read, expected) for name, read, expected in cases]


def imported(name: str, content: Any) -> Callable[[Path], None]:
    """Imports a file of labels with this content: JSON where it is not text."""

    def read(folder: Path) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")
        import_files([folder / name], folder / "labels.jsonl")

    return read


def annotation_cases() -> list[Case]:
    """What tools/import_labels is given."""

    def task(value: Any, **changes: Any) -> list[dict[str, Any]]:
        data = {"prompt": "Why?", "response_a": "Because.", "response_b": "No."} | changes
        result = {"from_name": "score_a", "to_name": "response_a", "type": "choices", "value": value}
        return [{"data": data, "annotations": [{"completed_by": 1, "result": [result]}]}]

    head = "prompt,response,score,annotator,key\n"
    wanted = "expected one rating from 0 to 10"
    cases: list[tuple[str, str, Any, tuple[str, ...]]] = [
        (
            "a score above the scale",
            "a.csv",
            head + "p,r,11,,\n",
            ("a.csv: row 1, score: found '11'", "0 to 10"),
        ),
        ("a score in words", "a.csv", head + "p,r,good,,\n", ("row 1, score: found 'good'",)),
        ("no score at all", "a.csv", head + "p,r,,ann,\n", ("a.csv: found no label",)),
        (
            "a text that a program changed",
            "a.csv",
            head + "p,#NAME?,5,,r0123456789abcdef\n",
            ("row 1, prompt and response: found another text", "--tasks"),
        ),
        (
            "a table without responses",
            "a.csv",
            "prompt,score\np,5\n",
            ("missing columns", "prompt and response"),
        ),
        ("a rating above the scale", "e.json", task({"choices": ["12"]}), ("e.json: row 1, score_a", wanted)),
        ("two ratings", "e.json", task({"choices": ["1", "2"]}), ("row 1, score_a", wanted)),
        ("a rating that is a list", "e.json", task({"rating": [5]}), ("row 1, score_a", wanted)),
        (
            "half of a surrogate pair",
            "e.json",
            task({"rating": 5}, response_a="a\ud800"),
            ("response_a", "UTF-8"),
        ),
        (
            "a response that is a number",
            "e.json",
            task({"rating": 5}, response_a=7),
            ("response_a: found 7",),
        ),
        (
            "Label Studio's other JSON",
            "e.json",
            [{"prompt": "p", "score_a": "7", "annotator": 1}],
            ("missing columns", "annotations and data"),
        ),
        ("annotations that are no list", "e.json", [{"data": {}, "annotations": 3}], ("format JSON",)),
        ("another kind of file", "e.yaml", "a: 1", ("found the extension '.yaml'",)),
    ]
    return [Case("Annotations", what, imported(name, content), parts) for what, name, content, parts in cases]


CASES = [
    *file_cases(),
    *row_cases(),
    *conversation_cases(),
    *config_cases(),
    *model_cases(),
    *fitting_cases(),
    *annotation_cases(),
]

# odd text that is nobody's fault: it must come out as it went in
ODD_TEXTS = {
    "Arabic": "ما هو لون السماء؟",
    "Hebrew and English": "שלום world, what is נכון?",
    "right-to-left override": "abc \u202edef\u202c ghi \u2067jkl\u2069",
    "combining marks": "Cafe\u0301 Z\u0351\u036balgo",
    "emoji of several code points": "👩🏽‍🚀 and 🇫🇷",
    "astral plane": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎",
    "line and paragraph separators": "one\u2028two\u2029three\x0bfour\x85five",
    "zero-width characters": "a\u200bb\u200cc\ufeffd",
    "a noncharacter": "a\uffff b\U0010ffff",
    "white space around": "  two words \t",
    "a Jinja template": "{{ 7 * 7 }}{% for m in messages %}{{ raise_exception('x') }}{% endfor %}",
    "format fields": "{0} {prompt} %s %(a)s $HOME ${x}",
    "JSON in a text": '{"prompt": "x", "score": NaN}',
    "a list in a text": '["a", "b"]',
    "HTML": "<b>bold</b> &amp; <script>alert(1)</script>",
    "a CSV formula": '=cmd|"/c calc"!A1, "quoted"',
    "words for nothing": "null",
    "NaN as a word": "NaN",
    "a path": "../../etc/passwd",
    "SQL": "'; DROP TABLE seeds; --",
    "escape codes": "\x1b[31mred\x1b[0m",
    "marks of a plain template": "### assistant\nThe answer is 10.",
    "a rating": "Rating: [[10]]",
    "30,000 words": "word " * 30_000 + "end",
}


def page() -> str:
    """docs/bad_input.md."""
    lines = [
        "# Bad input, and what the user sees\n",
        "Made by `PYTHONPATH=scripts python tests/support/corpus.py`; do not edit by hand.\n",
        f"{len(CASES)} cases. Each is read as a job reads it and ends in one message, before any",
        "expensive work; `tests/test_bad_input.py` checks all. Shown are the lines that tell the fault.\n",
        f"Odd text that is no fault is kept as it is, in every format ({len(ODD_TEXTS)} texts): "
        f"{', '.join(ODD_TEXTS)}.",
    ]
    group = ""
    for case in CASES:
        if case.group != group:
            group = case.group
            count = sum(other.group == group for other in CASES)
            lines += [f"\n## {group} ({count})\n", "| case | message |", "|---|---|"]
        told = [line.strip() for line in message_of(case).splitlines() if line.strip()]
        told = told[1:] if "wrong keys" in told[0] or "cannot be used" in told[0] else told
        shown = " ".join(line if len(line) < 400 else line[:300] + " ..." for line in told[:3])
        name = case.name.replace("|", "\\|")
        lines.append(f"| {name} | `{shown.replace('`', chr(39)).replace('|', chr(92) + '|')}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
