"""tools/replay and tools/accept, on the first stages of a run with a stand-in for the model."""

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import fast_run
import pytest
import warm

from alma.workflow import accept, replay

pytestmark = pytest.mark.slow  # each test starts Snakemake a few times
ROOT = Path(__file__).parents[1]
KEPT = "results/small/prompts/kept.parquet"
DEALT = "results/small/rounds/2/prompts/0.parquet"
PAIRS = "results/small/prompts/pairs/0.parquet"
SCRATCH = "results/small/.replay/drop_duplicates/prompts/kept.parquet"
NOTHING = "Nothing to be done"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = fast_run.FastRun.make(tmp_path_factory.mktemp("commands") / "run")
    run.finish(DEALT)
    return run


@pytest.fixture
def run(finished, tmp_path):
    return finished.copy(tmp_path / "run")


def tool(run, name, *arguments, given="", configfile="my.yaml"):
    """Run a command of the copy: (exit status, standard output, standard error)."""
    command = [sys.executable, str(run.folder / "tools" / name), *arguments]
    command += ["--configfile", configfile] if configfile else []
    done = warm.run(command, cwd=run.folder, stdin=given)
    assert "Traceback" not in done.stderr or name == "replay", done.stderr
    return done.returncode, done.stdout, done.stderr


def edit(run, script, old, new):
    path = run.folder / "scripts" / script
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def state(run):
    """Bytes and time stamps of everything in results/ but the scratch folder."""
    files = [path for path in (run.folder / "results").rglob("*") if path.is_file()]
    kept = [path for path in files if ".replay" not in path.parts]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}


def record(run, path=KEPT):
    place = Path(path)
    inside = place.relative_to("results/small")
    return json.loads((run.folder / "results/small/provenance" / f"{inside}.json").read_text())


# replay


def test_a_replay_gives_the_same_bytes_elsewhere(run):
    before = state(run)
    status, printed, _ = tool(run, "replay", KEPT)
    assert status == 0
    assert f"  {SCRATCH}: the same bytes as the finished one" in printed
    assert "near_duplicate: removed" in printed, "what the script prints goes to the terminal"
    assert "note:" not in printed
    assert (run.folder / SCRATCH).read_bytes() == (run.folder / KEPT).read_bytes()
    assert state(run) == before


def test_a_replay_after_an_edit_says_so_and_leaves_the_finished_file(run):
    edit(run, "drop_duplicates.py", "stays = by == len(FILTERS)", "stays = by == 0")
    before = state(run)
    status, printed, _ = tool(run, "replay", "results/small/logs/drop_duplicates.log")
    assert status == 0
    assert "note: code changed since the finished one was made" in printed
    assert f"  {SCRATCH}: other bytes than the finished one" in printed
    assert state(run) == before


def test_a_replay_of_a_failing_job_shows_where_it_fails(run):
    edit(run, "drop_duplicates.py", "counts = []", "counts = []\n        needle = 17 * 3\n        {}['x']")
    status, printed, errors = tool(run, "replay", KEPT)
    assert status == 1
    assert "KeyError: 'x'" in errors
    assert f"  {SCRATCH}: not made" in printed
    status, printed, _ = tool(
        run, "replay", KEPT, "--pdb", given="p 'at the top', __name__\nc\np needle\nq\n"
    )
    assert status == 1
    assert "('at the top', '__main__')" in printed
    assert "(Pdb) 51\n" in printed


def test_an_input_error_in_a_replay_is_a_message_and_under_the_debugger_a_place(run):
    edit(run, "drop_duplicates.py", "counts = []", "needle = 17 * 3\n        raise InputError('bad row 3')")
    status, printed, errors = tool(run, "replay", KEPT)
    assert status == 1
    assert "error: bad row 3" in printed
    assert "Traceback" not in errors + printed
    status, printed, errors = tool(run, "replay", KEPT, "--pdb", given="c\np needle\nq\n")
    assert status == 1
    assert "(Pdb) 51\n" in printed


def test_a_job_that_has_not_run_can_be_replayed_into_a_folder(run, tmp_path):
    (run.folder / KEPT).unlink()
    into = tmp_path / "into"
    status, printed, _ = tool(run, "replay", KEPT, "--into", str(into))
    assert status == 0
    assert f"  {into}/prompts/kept.parquet: made; there is no finished one" in printed
    status, _, errors = tool(run, "replay", KEPT, "--into", str(into))
    assert status == 1
    assert "found files there, expected a new or empty folder" in errors


@pytest.mark.parametrize(
    ("path", "configfile", "message"),
    [
        (KEPT, None, "no job of this config makes it (add the --configfile of its run)"),
        (KEPT, "gone.yaml", "--configfile: no such file"),
        ("results/small/prompts/kept.csv", "my.yaml", "no job of this config makes it"),
        ("results/small/prompts", "my.yaml", "jobs make files in it; name one file, such as"),
        (
            "results/small/rounds/3/selected/0.parquet",
            "my.yaml",
            "inputs of select_responses (round=3, shard=0) are",
        ),
        ("data/sft.jsonl", "my.yaml", "not part of a run"),
    ],
)
def test_what_cannot_be_replayed_is_one_message(finished, path, configfile, message):
    status, _, errors = tool(finished, "replay", path, configfile=configfile)
    assert status == 1
    assert errors.startswith("error: ")
    assert message in errors
    assert "Traceback" not in errors


def test_a_refused_config_is_the_message_of_the_run(run):
    (run.folder / "bad.yaml").write_text("run: small\nroundz: 3\n")
    for name in ("replay", "accept"):
        status, _, errors = tool(run, name, KEPT, configfile="bad.yaml")
        assert status == 1
        assert "roundz" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["_prepare_dag", "_build_dag"])
def test_another_snakemake_is_a_message(monkeypatch, capsys, finished, name):
    from snakemake import api

    monkeypatch.delattr(api.Workflow, name)
    for command in (replay.main, accept.main):
        assert command([str(finished.path("seeds")), "--configfile", str(finished.folder / "my.yaml")]) == 1
        printed = capsys.readouterr().err
        assert "does not fit this command" in printed
        assert name in printed


def test_make_hands_the_job_and_the_options_on():
    command = ["make", "-n", "replay", "JOB=results/a/b.parquet", "ARGS=--pdb"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ".venv/bin/python tools/replay results/a/b.parquet --pdb\n" in done.stdout
    done = subprocess.run(["make", "replay"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "say which job" in done.stdout


# accept


def test_a_harmless_edit_is_accepted_recorded_and_a_real_one_runs(run):
    edit(run, "drop_duplicates.py", "count += len(table)", "count += len(table) + 0")
    assert "drop_duplicates" in run.finish("-n", DEALT)
    before = state(run)
    status, shown, errors = tool(run, "accept", "results/small")
    assert status == 1
    assert 'say why with --reason "..."' in errors
    assert KEPT in shown
    assert "code: " in shown
    assert state(run) == before

    old = record(run)["spec"]["code"]
    options = ["--reason", "a copy of a list", "--who", "R. Reader"]
    status, printed, _ = tool(run, "accept", "results/small", *options)
    assert (status, "1 jobs accepted by R. Reader" in printed) == (0, True)
    assert NOTHING in run.finish("-n", DEALT)
    entry = record(run)["accepted"][0]
    assert entry["reason"] == "a copy of a list"
    assert entry["changes"]["code"]["old"] == record(run)["spec"]["code"] == old
    new = entry["changes"]["code"]["new"]
    assert {path for path, facts in state(run).items() if before[path] != facts} == {
        str(run.folder / "results/small/provenance/prompts/kept.parquet.json"),
        str(run.folder / "results/small/provenance/tables/prompt_filters.csv.json"),
        str(run.folder / "results/small/provenance/tables/prompt_quality.csv.json"),
    }
    for options in (["--check", "results/small"], [KEPT]):
        status, printed, _ = tool(run, "trace", *options, configfile=None)
        assert status == 0
        assert f"accepted code {old[:8]} -> {new[:8]} | R. Reader | " in printed
        assert KEPT in printed
        assert "a copy of a list" in printed

    edit(run, "drop_duplicates.py", "count += len(table) + 0", "count += 0 + len(table)")
    assert run.update(DEALT)[1] == {"small/drop_duplicates"}
    assert "accepted" not in record(run)
    status, printed, _ = tool(run, "accept", "results/small/prompts")
    assert status == 0
    assert re.fullmatch(
        r"results/small/prompts: \d+ finished jobs, none of which differs from today's workflow\n", printed
    )


def test_a_change_of_the_config_has_to_be_named(run):
    run.config = fast_run.merged(run.config, {"prompts": {"near_duplicate": 0.95}})
    assert "compare_prompts" in run.finish("-n", DEALT)
    before = state(run)
    status, shown, errors = tool(run, "accept", PAIRS, "--reason", "no such pair")
    assert status == 1
    assert "config.near_duplicate: 0.9 -> 0.95" in shown
    assert "more than the code changed: config.near_duplicate" in errors
    assert "add: --also config.near_duplicate" in errors
    assert state(run) == before
    options = ["--also", "config.near_duplicate", "--reason", "no such pair"]
    assert tool(run, "accept", PAIRS, *options)[0] == 0
    assert NOTHING in run.finish("-n", DEALT)
    assert record(run, PAIRS)["accepted"][0]["changes"] == {
        "config.near_duplicate": {"old": 0.9, "new": 0.95}
    }


def test_a_change_of_the_inputs_has_to_be_named(run):
    data = run.folder / "data/sft.jsonl"
    data.write_text(data.read_text() + "\n")
    assert "read_seeds" in run.finish("-n", DEALT)
    status, shown, errors = tool(run, "accept", "results/small/seeds", "--reason", "an empty line")
    assert status == 1
    assert "inputs: data/sft.jsonl was edited since" in shown
    assert "--also inputs" in errors
    options = ["--also", "inputs", "--reason", "an empty line"]
    assert tool(run, "accept", "results/small/seeds", *options)[0] == 0
    assert NOTHING in run.finish("-n", DEALT)
    data.write_text(data.read_text() + "\n")
    assert "read_seeds" in run.finish("-n", DEALT)


def test_a_damaged_file_and_one_without_a_record_are_not_accepted(run):
    edit(run, "drop_duplicates.py", "count += len(table)", "count += len(table) + 0")
    path = run.folder / KEPT
    path.write_bytes(path.read_bytes()[:-9])
    status, _, errors = tool(run, "accept", KEPT, "--reason", "fine")
    assert status == 1
    assert "it is cut short since it was made" in errors
    (run.folder / "results/small/provenance/prompts/kept.parquet.json").unlink()
    status, _, errors = tool(run, "accept", KEPT, "--reason", "fine")
    assert status == 1
    assert "it has no record of provenance" in errors


def test_nothing_is_accepted_beside_a_run(run):
    edit(run, "drop_duplicates.py", "count += len(table)", "count += len(table) + 0")
    before = state(run)
    lock = os.open(run.folder / ".snakemake/alma.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_SH)
    status, _, errors = tool(run, "accept", KEPT, "--reason", "fine")
    assert (status, "a run is going on here" in errors) == (1, True)
    os.ftruncate(lock, 0)
    os.write(lock, b"another-machine")
    os.close(lock)
    locks = run.folder / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text(f"{KEPT}\n")
    status, _, errors = tool(run, "accept", KEPT, "--reason", "fine")
    assert (status, "Snakemake's lock is held" in errors) == (1, True)
    assert state(run) == before


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("results/other", [], "no job of this config makes it"),
        ("data/sft.jsonl", [], "not part of a run"),
        ("results/small", ["--reason", " "], "--reason: found nothing"),
    ],
)
def test_what_cannot_be_accepted_is_one_message(finished, path, options, message):
    status, _, errors = tool(finished, "accept", path, *options)
    assert status == 1
    assert errors.startswith("error: ")
    assert message in errors
