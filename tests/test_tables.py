"""Tables as polars frames: the schema, equal bytes for equal rows, damage that only the data show."""

import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alma import tables
from alma.errors import InputError
from alma.tables import (
    SCHEMAS,
    assistant,
    collect,
    frame_schema,
    read_table,
    scan_table,
    scan_tables,
    user,
    write_columns,
    write_frames,
    write_table,
)
from alma.workflow.config import ROOT

KIND = "evaluation"  # has text, whole numbers, floats, lists and nulls


def row(number):
    asked = number % 3 > 0
    return {
        "prompt_id": f"p{number // 2}",
        "response_id": f"r{number}",
        "checkpoint": "sft-0",
        "sample": number,
        "seed": number**5,
        "response": "word " * (number % 7) + "ß字",
        "finish_reason": "stop",
        "tokens": number % 11,
        "benchmark": "b",
        "passed": [True, False][: number % 3],
        "score": number / 7 if asked else None,
        "mass": 1.0 if asked else None,
        "p": [k / 64 for k in range(11)] if asked else None,
    }


def frame_of(rows, kind=KIND):
    return pl.DataFrame(rows, schema=frame_schema(kind))


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_table_is_read_and_written_as_a_frame(tmp_path, kind):
    write_table(tmp_path / "a", kind, [])
    frame = collect(scan_table(tmp_path / "a", kind))
    assert frame.schema == frame_schema(kind) and frame.columns == SCHEMAS[kind].names
    assert write_frames(tmp_path / "b", kind, [frame]) == 0
    write_frames(tmp_path / "c", kind, [])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 9), max_size=8), group=st.integers(1, 12))
def test_the_bytes_follow_from_the_rows_however_they_are_cut(tmp_path_factory, sizes, group):
    folder = tmp_path_factory.mktemp("cut")
    rows = [row(i) for i in range(sum(sizes))]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    frames = [frame_of(rows[start : start + size]) for start, size in zip(starts, sizes, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROW_GROUP", group)
        assert write_frames(folder / "frames", KIND, iter(frames)) == len(rows)
        write_frames(folder / "chunks", KIND, [pl.concat([frame_of([]), *frames], rechunk=False)])
        write_table(folder / "rows", KIND, rows)
        parts = [pa.Table.from_pylist(rows[i : i + 3], SCHEMAS[KIND]) for i in range(0, len(rows), 3)]
        write_columns(folder / "columns", KIND, pa.concat_tables([SCHEMAS[KIND].empty_table(), *parts]))
    assert len({(folder / name).read_bytes() for name in ("frames", "chunks", "rows", "columns")}) == 1
    assert read_table(folder / "frames", KIND) == read_table(folder / "rows", KIND)
    assert [r["response_id"] for r in read_table(folder / "rows", KIND)] == [r["response_id"] for r in rows]


PROGRAM = """
import json, sys
sys.path.insert(0, "scripts")
from alma.workflow.job import limit_threads
limit_threads(int(sys.argv[1]))
import polars as pl
from alma.tables import collect, scan_tables, write_frames
paths, out = json.loads(sys.argv[2])
frame = collect(scan_tables(paths, "evaluation").filter(pl.col("tokens") > 2).sort("tokens", "response_id"))
write_frames(out, "evaluation", [frame])
print(pl.thread_pool_size())
"""


def test_a_job_computes_on_its_threads_and_their_number_changes_no_byte(tmp_path):
    rows = [row(i) for i in range(3000)]
    for size in (3000, 700):  # other shards
        for start in range(0, 3000, size):
            write_table(tmp_path / f"{size}/{start:04}", KIND, rows[start : start + size])
    bare = {key: value for key, value in os.environ.items() if key != "POLARS_MAX_THREADS"}
    for threads, size in ((1, 3000), (3, 3000), (3, 700)):
        paths = [str(path) for path in sorted((tmp_path / str(size)).iterdir())]
        arguments = [str(threads), json.dumps([paths, str(tmp_path / f"out-{threads}-{size}")])]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, env=bare, capture_output=True, check=True
        )
        assert int(done.stdout) == threads
    assert len({path.read_bytes() for path in tmp_path.glob("out-*")}) == 1


def test_a_frame_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path):
    whole = frame_of([row(0)])
    for wrong in (
        whole.drop("tokens"),
        whole.select(reversed(whole.columns)),
        whole.cast({"tokens": pl.Int64}),
    ):
        with pytest.raises(ValueError, match="has the schema"):
            write_frames(tmp_path / "a", KIND, [whole, wrong])
    assert not list(tmp_path.iterdir())


def test_a_scan_checks_the_schema_and_the_end_of_the_file(tmp_path):
    write_table(tmp_path / "[1].parquet", KIND, [row(0)])  # a name that is no pattern
    assert collect(scan_table(tmp_path / "[1].parquet", KIND)).rows(named=True) == [row(0)]
    with pytest.raises(InputError, match=r"has columns .* expected those of a prompt table"):
        scan_table(tmp_path / "[1].parquet", "prompt")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "[1].parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cut\.parquet: not a readable Parquet file[\s\S]*Delete it"):
        scan_tables([tmp_path / "[1].parquet", tmp_path / "cut.parquet"], KIND)


def test_damage_that_only_the_data_show_names_the_file(tmp_path):
    for name in "ab":
        write_table(tmp_path / f"{name}.parquet", KIND, [row(i) for i in range(500)])
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[:4] + b"\xff" * 2000 + whole[2004:])
    frame = scan_tables([tmp_path / "a.parquet", tmp_path / "b.parquet"], KIND)
    with pytest.raises(InputError, match=r"b\.parquet: not a readable Parquet file[\s\S]*Delete it"):
        collect(frame)


def test_an_error_of_the_program_stays_one(tmp_path):
    write_table(tmp_path / "a.parquet", KIND, [row(0)])
    with pytest.raises(pl.exceptions.PolarsError):
        collect(scan_table(tmp_path / "a.parquet", KIND).filter(pl.col("tokens").str.len_bytes() > 0))


def test_the_probabilities_of_a_score_are_eleven_float32(tmp_path):
    scored = {"response_id": "r", "prompt_id": "p", "score": 1 / 3, "mass": 1 / 3, "p": [1 / 3] * 11}
    write_table(tmp_path / "a", "score", [scored, scored | {"score": None, "mass": None, "p": None}])
    first, second = read_table(tmp_path / "a", "score")
    assert first["p"] == [float(np.float32(1 / 3))] * 11 and first["score"] == first["mass"] == 1 / 3
    assert second["p"] is second["score"] is None
    for length in (10, 12):
        with pytest.raises(pa.ArrowInvalid):
            write_table(tmp_path / "b", "score", [scored | {"p": [0.0] * length}])


def test_messages_are_one_turn():
    assert user("a") + assistant("b") == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


def test_no_job_pays_for_polars_unless_it_uses_it():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, alma.tables, alma.selection; sys.exit('polars' in sys.modules)"],
        cwd=ROOT / "scripts",
    )
    assert done.returncode == 0
