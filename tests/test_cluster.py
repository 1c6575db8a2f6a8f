"""What a run does for its jobs on other machines, without a cluster: tests/test_slurm.py has one."""

import json
import threading
import time
from types import SimpleNamespace

import pytest
import yaml
from fast_run import ROOT
from rule_texts import written_rules

from alma.errors import InputError
from alma.workflow import leftovers, run_plan

UUID = "84418435-668e-4376-9e8c-e58258c0ce07"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory of runs; nothing of the environment is left behind."""
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALMA_RUN", "none")
    return tmp_path


@pytest.fixture
def slurm(folder, monkeypatch):
    """squeue prints the file `queue`; scancel notes its arguments, and empties it unless `stuck` is there."""
    path = folder / "bin"
    path.mkdir()
    (path / "squeue").write_text(f"#!/bin/sh\ncat {folder}/queue\n")
    (path / "scancel").write_text(
        f"#!/bin/sh\necho $@ >> {folder}/canceled\n[ -e {folder}/stuck ] || : > {folder}/queue\n"
    )
    for name in ("squeue", "scancel"):
        (path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    return folder


def test_only_live_jobs_of_runs_in_this_folder_are_canceled(slurm):
    (slurm / "link").symlink_to(slurm)
    lines = [
        ("1", "RUNNING", f"alma_{UUID}", slurm),
        ("2_[3-9]", "PENDING", f"alma_{UUID}", slurm / "link"),
        ("3", "COMPLETING", f"alma_{UUID}", slurm),
        ("4", "RUNNING", UUID, slurm),  # of a run without the prefix
        ("5", "COMPLETED", f"alma_{UUID}", slurm),
        ("6", "RUNNING", f"alma_{UUID}", slurm / "bin"),  # of a run somewhere else
        ("7", "RUNNING", f"other_{UUID}", slurm),
        ("8", "RUNNING", "alma_mine", slurm),  # what the user calls so
    ]
    (slurm / "queue").write_text("".join("|".join(map(str, line)) + "\n" for line in lines))
    said = []
    assert leftovers.cancel("alma", slurm, said.append) == ["1", "2_[3-9]", "3", "4"]
    assert (slurm / "canceled").read_text() == "1 2_[3-9] 3 4\n"
    assert len(said) == 1 and "left 4 jobs" in said[0]
    assert leftovers.cancel("alma", slurm, said.append) == [] and len(said) == 1


def test_jobs_that_do_not_end_stop_the_run(slurm):
    (slurm / "queue").write_text(f"1|RUNNING|alma_{UUID}|{slurm}\n")
    (slurm / "stuck").touch()
    with pytest.raises(InputError, match=r"still there 0 s after scancel: 1"):
        leftovers.cancel("alma", slurm, patience=0)


def test_a_queue_that_cannot_be_asked_stops_the_run(slurm, monkeypatch):
    (slurm / "bin" / "squeue").write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    with pytest.raises(InputError, match="squeue failed: no controller"):
        leftovers.cancel("alma", slurm)
    monkeypatch.setenv("PATH", str(slurm))
    with pytest.raises(InputError, match="squeue was not found"):
        leftovers.cancel("alma", slurm)


def test_a_job_takes_the_plan_of_its_run(folder, monkeypatch):
    run_plan.write({"seed": 1, "rates": [1e-5, None]}, {"read_seeds": "abc"})
    plan = run_plan.read(0)
    assert (plan["config"], plan["code"]) == ({"seed": 1, "rates": [1e-5, None]}, {"read_seeds": "abc"})
    monkeypatch.delenv("ALMA_RUN")
    assert run_plan.read(0) is None, "an executor that hands on no environment"


def test_a_job_of_a_run_that_is_gone_does_not_run(folder, monkeypatch):
    run_plan.write({}, {})
    first = json.loads((folder / ".snakemake" / "alma.plan.json").read_text())["run"]
    run_plan.write({}, {})
    monkeypatch.setenv("ALMA_RUN", first)
    with pytest.raises(InputError, match="has ended and another has begun"):
        run_plan.read(0)


def test_a_file_system_that_shows_the_plan_late_is_waited_for(folder, monkeypatch):
    run_plan.write({"seed": 2}, {})
    path = folder / ".snakemake" / "alma.plan.json"
    late = path.read_text()
    path.write_text(json.dumps({"run": "the last one"}))
    threading.Timer(0.5, path.write_text, [late]).start()
    begin = time.monotonic()
    assert run_plan.read(20)["config"] == {"seed": 2}
    assert time.monotonic() - begin >= 0.5


def test_a_run_on_this_machine_asks_no_scheduler_and_writes_no_plan(folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    run_plan.begin(SimpleNamespace(non_local_exec=False), {}, {})
    kubernetes = SimpleNamespace(non_local_exec=True, executor_plugin=SimpleNamespace(name="kubernetes"))
    assert not (folder / ".snakemake" / "alma.plan.json").exists()
    run_plan.begin(kubernetes, {}, {})
    assert (folder / ".snakemake" / "alma.plan.json").exists()


def profile(name):
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def test_profiles_agree_where_they_need_not_differ():
    """A workflow profile replaces profiles/default, so it repeats what holds everywhere."""
    default = profile("default")
    own = {"slurm": {"max-checksum-file-size", "keep-going", "latency-wait", "resources"}}
    for name, different in own.items():
        found = profile(name)
        assert {key for key in default if found.get(key) != default[key]} == different


def test_the_groups_of_the_slurm_profile_are_rules():
    names = {line.split("=")[0] for line in profile("slurm")["groups"]}
    assert names <= {rule.name for rule in written_rules()}
