"""A run with nothing to do is told so without a plan where nothing has changed; a change leads to a plan."""

import os
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from alma.workflow import unchanged
from alma.workflow.config import ROOT

SAYS = "alma: nothing has changed"
SNAKEFILE = f"""
import sys
from pathlib import Path

sys.path.insert(0, {str(ROOT / "scripts")!r})

from alma.workflow.unchanged import install

if workflow.is_main_process:
    install(workflow, config)


def wanted(wildcards):
    if config.get("busy"):
        Path("data/1").touch()
    print("planned")
    return ["out/1", "out/2"]


rule all:
    input:
        wanted,


rule one:
    input:
        lambda w: sorted(map(str, Path("data").iterdir())),
    output:
        "out/{{i}}",
    params:
        spec=config.get("spec", 1),
    shell:
        "cat {{input}} > {{output}}"
"""


def run(folder, *arguments, cores=1):
    """(whether a plan was made, whether the note was used, whether there was nothing to do)."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "none", "--cores", str(cores)]
    done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return "planned" in printed, SAYS in printed, "Nothing to be done" in printed


PLANNED, KNOWN = (True, False, True), (False, True, True)


@pytest.fixture(scope="module")
def noted(tmp_path_factory):
    """A finished run with a note."""
    folder = tmp_path_factory.mktemp("unchanged") / "run"
    (folder / "data").mkdir(parents=True)
    for name in ("1", "2"):
        (folder / "data" / name).write_text(name)
    (folder / "Snakefile").write_text(SNAKEFILE)
    run(folder)
    time.sleep(2.5)
    assert run(folder) == PLANNED, "the first run with nothing to do makes a plan"
    assert (folder / unchanged.NOTE).is_file()
    return folder


@pytest.fixture
def copy(noted, tmp_path):
    return shutil.copytree(noted, tmp_path / "run")


def test_nothing_is_planned_where_nothing_has_changed(noted):
    assert run(noted) == run(noted, "-n") == KNOWN
    planned, known, _ = run(noted, "--summary")
    assert planned and not known, "other commands plan"


def add_a_file(folder):
    (folder / "data" / "3").write_text("3")


def lose_an_output(folder):
    (folder / "out" / "2").unlink()


@pytest.mark.parametrize("change", [add_a_file, lose_an_output])
def test_a_change_of_the_files_is_seen(copy, change):
    change(copy)
    assert run(copy) == (True, False, False)


@pytest.mark.parametrize("arguments", [("--config", "spec=2"), ("-R", "one")])
def test_a_change_of_config_or_command_is_seen(copy, arguments):
    assert run(copy, *arguments) == (True, False, False)


def test_nothing_is_noted_of_files_that_changed_meanwhile(copy):
    (copy / unchanged.NOTE).unlink()
    run(copy, "-n", "--config", "busy=True")
    assert not (copy / unchanged.NOTE).exists()


# What the note rests on, piece by piece, without Snakemake.


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A folder with a note, as the attributes of Snakemake's workflow that are used."""
    monkeypatch.chdir(tmp_path)
    names = ("data/a", "results/b", ".snakemake/metadata/x", ".snakemake/metadata/@y/z", "rules/r.smk")
    for name in (*names, ".snakemake/incomplete/none"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
        os.utime(path, (10**9, 10**9))
    (tmp_path / ".snakemake" / "incomplete" / "none").unlink()
    job = SimpleNamespace(input=["data/a"], output=["results/b"])
    reason = SimpleNamespace(no_metadata=False, outdated_metadata=False)
    workflow = SimpleNamespace(
        basedir=tmp_path,
        start_time=datetime.now() + timedelta(seconds=10),
        dag=SimpleNamespace(jobs=[job], reason=lambda job: reason),
        dag_settings=SimpleNamespace(targets=frozenset({"b", "a"}), max_checksum_file_size=5),
        workflow_settings=SimpleNamespace(),
        storage_settings=SimpleNamespace(default_storage_provider=None),
        deployment_settings=SimpleNamespace(deployment_method=frozenset()),
    )
    return SimpleNamespace(folder=tmp_path, workflow=workflow, facts={"key": 1}, reason=reason)


def now(state):
    return {"rest": unchanged._rest(state.workflow, state.facts), "records": unchanged._records()}


def holds(state):
    try:
        return unchanged._is_as_noted(now(state))
    except (unchanged._Other, OSError):
        return False


CHANGES = {
    "size": lambda s: (s.folder / "data" / "a").write_text("texts") and os.utime("data/a", (10**9, 10**9)),
    "time": lambda s: os.utime("results/b", (10**9 + 1, 10**9 + 1)),
    "older": lambda s: os.utime("results/b", (10**9 - 1, 10**9 - 1)),
    "gone": lambda s: os.unlink("results/b"),
    "a new file": lambda s: (s.folder / "data" / "c").write_text(""),
    "a record": lambda s: os.utime(".snakemake/metadata/@y/z", (10**9 + 1, 10**9 + 1)),
    "a record is gone": lambda s: os.unlink(".snakemake/metadata/x"),
    "unfinished": lambda s: (s.folder / ".snakemake" / "incomplete" / "b").write_text(""),
    "a rule": lambda s: (s.folder / "rules" / "r.smk").write_text("xext"),
    "the facts": lambda s: s.facts.update(key=2),
    "the target": lambda s: setattr(s.workflow.dag_settings, "targets", frozenset({"a"})),
    "a storage": lambda s: setattr(s.workflow.storage_settings, "default_storage_provider", "s3"),
    "environments": lambda s: setattr(s.workflow.deployment_settings, "deployment_method", {"conda"}),
    "no note": lambda s: unchanged.NOTE.unlink(),
    "a cut note": lambda s: unchanged.NOTE.write_text('{"rest": '),
    "another note": lambda s: unchanged.NOTE.write_text("[]"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen(state, change):
    unchanged._note(state.workflow, now(state))
    assert holds(state)
    CHANGES[change](state)
    assert not holds(state)


REFUSED = {
    "written since": lambda s: setattr(s.workflow, "start_time", datetime.now() - timedelta(seconds=10)),
    "a lost output": lambda s: os.unlink("results/b"),
    "a folder": lambda s: s.workflow.dag.jobs.append(SimpleNamespace(input=["data"], output=[])),
    "no record of a job": lambda s: setattr(s.reason, "no_metadata", True),
    "a rule that was edited": lambda s: os.utime("rules/r.smk", (2**32, 2**32)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_not_noted(state, case):
    before = now(state)
    REFUSED[case](state)
    with pytest.raises((unchanged._Other, OSError)):
        unchanged._note(state.workflow, before)
    assert not unchanged.NOTE.exists()


def test_a_record_that_changed_during_the_plan_is_not_noted(state):
    before = now(state)
    os.unlink(".snakemake/metadata/x")
    with pytest.raises(unchanged._Other):
        unchanged._note(state.workflow, before)


def test_another_snakemake_plans_as_ever():
    unchanged.install(SimpleNamespace(), {})
