"""What happens around every script: log, code check, errors, provenance; and atomic tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from alma.errors import InputError, fail_with
from alma.files import atomic_path
from alma.tables import SCHEMAS, read_table, write_table
from alma.trace.provenance import file_hash, record_path
from alma.workflow.codehash import code_hash
from alma.workflow.config import ROOT
from alma.workflow.job import whole_config

ROW = {"prompt_id": "p", "prompt": "Hello?", "source": "seed", "examples": ["a"], "checks": "[]"}
PROGRAM = """
import json, sys
sys.path.insert(0, "{scripts}")
from types import SimpleNamespace as Box
from alma.errors import InputError
from alma.workflow.job import job
class Files(list):
    pass
snakemake = Box(rule="demo", log=["run/x.log"], params=Box(spec=sys.argv[1]), wildcards={{"round": "2"}},
                input=["in.txt"], output=["results/r/a/out.txt"])
with job(snakemake) as config:
    import atexit
    atexit.register(lambda: open("handler.txt", "w").close())
    atexit.register(lambda: print("goodbye of a library", file=sys.stderr))
    print("inside", end="")
    if config["fail"]:
        raise InputError("row 3: found x, expected y")
    import os
    os.makedirs("results/r/a")
    open("results/r/a/out.txt", "w").write("done")
"""


def run_job(folder, code=None, **config):
    script = "build_dataset.py"
    spec = {
        "script": script,
        "code": code or code_hash(ROOT / "scripts" / script),
        "threads": 1,
        "config": config,
    }
    (folder / "in.txt").write_text("input")
    program = PROGRAM.format(scripts=ROOT / "scripts")
    done = subprocess.run([sys.executable, "-c", program, json.dumps(spec)], cwd=folder, capture_output=True)
    return done.returncode, (folder / "run/x.log").read_text()


def test_a_finished_job_leaves_a_log_and_a_record(tmp_path):
    code, log = run_job(tmp_path, fail=False)
    assert code == 0 and "inside" in log
    record = json.loads((tmp_path / "results/r/provenance/a/out.txt.json").read_text())
    assert record["rule"] == "demo" and record["spec"]["config"] == {"fail": False}
    assert set(record["inputs"]) == {"in.txt"} and len(record["inputs"]["in.txt"]) == 64
    assert record["outputs"]["out.txt"]["size"] == 4
    assert "pyarrow" in record["packages"] and record["time"] and "commit" in record


def test_an_input_error_is_one_message_without_a_traceback(tmp_path):
    code, log = run_job(tmp_path, fail=True)
    assert code == 1 and "Traceback" not in log
    # The last line, and once, whatever libraries print as they leave.
    assert "goodbye of a library" in log and log.endswith("error: row 3: found x, expected y\n")
    assert log.count("error: row 3") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("fail", [False, True])
def test_exit_handlers_run_and_the_last_words_are_in_the_log(tmp_path, fail):
    """A job that ended well leaves without taking the libraries apart (`job._leave`)."""
    code, log = run_job(tmp_path, fail=fail)
    assert code == fail and (tmp_path / "handler.txt").exists() and "inside" in log


def test_code_edited_after_the_plan_stops_the_job(tmp_path):
    code, log = run_job(tmp_path, code="0" * 16, fail=False)
    assert code == 1 and "edited after this run started" in log and "inside" not in log


NOISE = """
import os, sys
sys.path.insert(0, "{scripts}")
from alma.workflow.quiet import held_back
print("before")
try:
    with held_back("the engine"):
        print("WARNING: twenty")
        os.write(2, b"lines of C\\n")
        {body}
except ValueError as error:
    print("error:", error)
print("after")
"""


@pytest.mark.parametrize(
    ("body", "show", "expected"),
    [
        ("pass", "", ["before", "the engine is ready; 2 lines that it printed are left out", "after"]),
        ("raise ValueError(3)", "", ["before", "lines of C", "WARNING: twenty", "error: 3", "after"]),
        ("pass", "1", ["before", "lines of C", "WARNING: twenty", "after"]),
    ],
)
def test_what_a_library_prints_as_it_starts_is_shown_where_it_fails(body, show, expected):
    program = NOISE.format(scripts=ROOT / "scripts", body=body)
    environment = os.environ | {"ALMA_SHOW_START": show}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0 and len(lines) == len(expected)
    # What C writes and what Python has buffered may change places.
    assert all(any(line.startswith(wanted) for line in lines) for wanted in expected)
    assert lines[-1] == "after"


def test_records_of_models_lie_in_their_folder():
    assert record_path("results/r/models/base/config.json") == Path("results/r/models/base/provenance.json")
    assert record_path("results/r/seeds/sft.parquet") == Path("results/r/provenance/seeds/sft.parquet.json")


def test_file_hash_notices_an_edit_after_the_record(tmp_path, monkeypatch):
    code, _ = run_job(tmp_path, fail=False)
    monkeypatch.chdir(tmp_path)
    before = file_hash("results/r/a/out.txt")
    Path("results/r/a/out.txt").write_text("edit")
    assert code == 0 and file_hash("results/r/a/out.txt") != before


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_tables_are_zstd_and_keep_their_schema_and_bytes(tmp_path):
    for name in ("a", "b"):
        write_table(tmp_path / name, "prompt", [ROW])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_table(tmp_path / "a", "prompt") == [ROW]
    file = pq.ParquetFile(tmp_path / "a")
    assert file.schema_arrow.equals(SCHEMAS["prompt"])
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_row_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(KeyError, match="row of prompt has columns"):
        write_table(tmp_path / "a", "prompt", [ROW | {"extra": 1}])
    assert not (tmp_path / "a").exists()


def test_a_damaged_table_says_which_file_and_what_to_do(tmp_path):
    write_table(tmp_path / "a.parquet", "prompt", [ROW])
    damaged = (tmp_path / "a.parquet").read_bytes()[:-20]
    (tmp_path / "a.parquet").write_bytes(damaged)
    with pytest.raises(InputError, match=r"a\.parquet: not a readable Parquet file[\s\S]*Delete it"):
        read_table(tmp_path / "a.parquet", "prompt")
    write_table(tmp_path / "b.parquet", "prompt", [ROW])
    with pytest.raises(InputError, match=r"b\.parquet: has columns .* expected those of a response table"):
        read_table(tmp_path / "b.parquet", "response")


def test_long_lists_of_problems_are_shortened_and_counted():
    with pytest.raises(InputError, match="and 10 more"):
        fail_with([f"problem {i}" for i in range(60)], "data.jsonl")
    fail_with([], "data.jsonl")


def test_what_is_not_compared_reaches_the_script_in_its_place():
    spec = {"config": {"seed": 1, "training": {"epochs": 2}}}
    uncompared = {"training": {"save_steps": 9}, "settings": {"run": "x"}}
    whole = whole_config(spec, uncompared)
    assert whole == {"seed": 1, "training": {"epochs": 2, "save_steps": 9}, "settings": {"run": "x"}}
    assert spec == {"config": {"seed": 1, "training": {"epochs": 2}}}, "the record shows what was compared"
