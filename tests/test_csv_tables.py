"""CSV tables: each is declared, what is written can be read, and what does not fit is refused."""

import re
import sys

import pytest
import warm
import yaml

from alma.csv_tables import CSV_TABLES, read_csv_table, write_csv_table
from alma.errors import InputError
from alma.workflow.config import ROOT

CURVE = {"step": 3, "epoch": 0.5, "loss": 1.25, "learning_rate": 1e-5, "tokens": 90}


def planned_tables(folder):
    """Paths below results/{run}/ of every CSV file that the workflow makes, in any of its targets."""
    override = folder / "my.yaml"
    judges = {"gpt": {"kind": "api", "model": "m"}}
    variants = {"dpo": {"training": {"objective": "dpo"}, "table": "a"}}
    (folder / "rb.jsonl").write_text("{}")  # a plan looks whether it is there
    evaluation = {"judges": judges, "benchmarks": {"ifeval": "ifeval:rb.jsonl"}}
    evaluation["harness"] = {"tasks": ["arc_easy"]}
    more = {"judge": {"benchmark": "rewardbench2:rb.jsonl"}, "evaluation": evaluation}
    more["prompts"] = {"cells": 2}
    override.write_text(yaml.safe_dump({"runs": variants} | more))
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(folder)]
    command += ["--cores", "1", "--configfile", str(ROOT / "config" / "test.yaml"), str(override)]
    done = warm.run([*command, "--summary", "--", "all", "ablations", "annotate"], cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return set(re.findall(r"^results/\w+/(\S+\.csv)\t", done.stdout, flags=re.M))


def declared(path):
    """Names of the declared tables that a path belongs to."""
    patterns = {
        re.sub(r"\\{\w+\\}", "[^/]+", re.escape(p)): n for n, t in CSV_TABLES.items() for p in t.paths
    }
    return [name for pattern, name in patterns.items() if re.fullmatch(pattern, path)]


def test_every_csv_output_is_declared_once_and_every_declared_path_is_made(tmp_path):
    made = planned_tables(tmp_path)
    assert {path: declared(path) for path in made if len(declared(path)) != 1} == {}
    assert {name for path in made for name in declared(path)} == set(CSV_TABLES)
    assert "tables/scores.csv" in made and declared("tables/rounds/2/scores.csv") == ["scores"]


def test_every_column_has_a_type_and_a_description():
    for name, table in CSV_TABLES.items():
        assert table.row
        for column, (kind, text) in table.columns.items():
            assert kind in (int, float, str, int | None, float | None), f"{name}.{column}"
            assert text, f"{name}.{column}"


def test_rows_come_back_as_they_were(tmp_path):
    path = tmp_path / "a.csv"
    rows = [CURVE, CURVE | {"loss": None, "step": 4}]
    write_csv_table(path, "training_curve", [dict(reversed(row.items())) for row in rows])
    assert read_csv_table(path, "training_curve") == rows
    assert path.read_text().splitlines() == [
        "step,epoch,loss,learning_rate,tokens",
        "3,0.5,1.25,1e-05,90",
        "4,0.5,,1e-05,90",
    ]
    text = 'Line one\nline "two", with a comma\r and 🙂'
    row = dict.fromkeys(CSV_TABLES["candidates"].columns, text)
    row |= {"round": 2, "sample": 0, "score": None, "tokens": 5, "verdict": ""}
    write_csv_table(path, "candidates", [row])
    assert read_csv_table(path, "candidates") == [row]


def test_floats_have_six_digits_and_infinite_ones_are_empty(tmp_path):
    path = tmp_path / "a.csv"
    write_csv_table(path, "training_curve", [CURVE | {"epoch": 1 / 3, "loss": float("nan")}])
    (row,) = read_csv_table(path, "training_curve")
    assert row["epoch"] == 0.333333 and row["loss"] is None
    write_csv_table(path, "training_curve", [CURVE | {"epoch": 2}])
    assert ",2.0," not in path.read_text().splitlines()[0] and "3,2.0,1.25" in path.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 1.0}, "row 1 of training_curve, step: found 1.0, expected a whole number"),
        ({"step": True}, "step: found True"),
        ({"step": None}, "step: found None, expected a whole number$"),
        ({"loss": "1"}, "loss: found '1', expected a finite number or nothing"),
        ({"epoch": float("inf")}, "epoch: found None"),
        ({"other": 1}, "row 1 of training_curve has columns"),
    ],
    ids=str,
)
def test_a_row_that_does_not_fit_is_not_written(tmp_path, change, message):
    path = tmp_path / "a.csv"
    with pytest.raises(ValueError, match=message):
        write_csv_table(path, "training_curve", [CURVE | change])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not a readable CSV table"),
        (b"\xff\xfe", "not a readable CSV table"),
        (b"step,epoch\n", r"found columns \['step', 'epoch'\], expected \['step', 'epoch', 'loss'"),
        (b"step,epoch,loss,learning_rate,tokens\n1,2\n", "row 1: found 2 cells, expected 5"),
        (b"step,epoch,loss,learning_rate,tokens\nx,1,1,1,1\n", "row 1, step: found 'x', expected a whole"),
        (
            b"step,epoch,loss,learning_rate,tokens\n1.0,1,1,1,1\n",
            "row 1, step: found '1.0', expected a whole",
        ),
        (b"step,epoch,loss,learning_rate,tokens\n1,,1,1,1\n", "row 1, epoch: found '', expected a finite"),
        (b"step,epoch,loss,learning_rate,tokens\n1,nan,1,1,1\n", "row 1, epoch: found 'nan'"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:30],
)
def test_a_damaged_table_is_named_with_row_and_column(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    with pytest.raises(InputError, match=message) as caught:
        read_csv_table(path, "training_curve")
    assert str(path) in str(caught.value) and "Delete it" in str(caught.value)
