"""Snakemake's scheduler chooses jobs when one has ended, and not every second for each that has."""

import re
import subprocess
import sys
import time

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from alma.workflow import pacing
from alma.workflow.config import ROOT

JOBS = 15
SNAKEFILE = f"""
import sys

sys.path.insert(0, {str(ROOT / "scripts")!r})

from snakemake.scheduling.job_scheduler import JobScheduler
from alma.workflow.pacing import install

if config.get("pacing", True):
    assert install() and install()
choices, choose = [], JobScheduler.job_selector


def counted(self, jobs):
    choices.append(len(jobs))
    return choose(self, jobs)


JobScheduler.job_selector = counted


rule all:
    input:
        expand("out/{{i}}", i=range({JOBS})),


rule one:
    output:
        "out/{{i}}",
    shell:
        "sleep 0.3; date +%s.%N > {{output}}"


onsuccess:
    print("choices:", len(choices))
"""


def run(folder, *arguments):
    """Times at which the jobs ended (seconds, sorted), how often jobs were chosen, seconds in all."""
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "none", "--scheduler", "greedy"]
    start = time.monotonic()
    done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    taken = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    ended = sorted(float((folder / f"out/{i}").read_text()) for i in range(JOBS))
    return ended, int(re.search(r"choices: (\d+)", done.stdout + done.stderr)[1]), taken


def test_jobs_are_chosen_when_one_has_ended(tmp_path):
    assert run(tmp_path / "paced", "--cores", "1")[1] <= JOBS + 2
    # What this is for; where it fails, Snakemake has mended it and the module can go.
    assert run(tmp_path / "plain", "--cores", "1", "--config", "pacing=False")[1] > JOBS + 4


def test_a_limit_of_jobs_in_a_time_still_holds_and_holds_none_back_for_ever(tmp_path):
    ended, choices, _ = run(tmp_path / "run", "--cores", str(JOBS), "--max-jobs-per-timespan", "5/3s")
    assert ended[-1] - ended[0] > 5.0, "15 jobs, five in three seconds"
    assert choices <= JOBS + 5


def test_a_long_span_does_not_keep_the_process_alive(tmp_path):
    _, _, taken = run(tmp_path / "run", "--cores", str(JOBS), "--max-jobs-per-timespan", f"{2 * JOBS}/600s")
    assert taken < 200


def test_another_snakemake_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(JobScheduler, "alma_pacing", False, raising=False)
    monkeypatch.delattr(JobScheduler, "_schedule_reevalutation")
    assert not pacing.install()


@pytest.mark.parametrize(("free", "queue", "expected"), [(3, False, 0), (0, False, 1), (3, True, 1)])
def test_one_timer_at_a_time_and_only_where_the_limit_held_jobs_back(monkeypatch, free, queue, expected):
    timers = []

    class Timer:
        def __init__(self, delay, function, arguments):
            timers.append((delay, function, arguments))

        def start(self):
            pass

    class Known:
        """A scheduler, its workflow, DAG and limiter in one."""

        def __init__(self):
            self.workflow = self.dag = self.job_rate_limiter = self
            self.released = 0
            self._open_jobs = self

        def release(self):
            self.released += 1

        def get_free_jobs(self):
            return free

        def has_unfinished_queue_input_jobs(self):
            return queue

    monkeypatch.setattr(JobScheduler, "alma_pacing", False, raising=False)
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", JobScheduler._schedule_reevalutation)
    assert pacing.install()
    monkeypatch.setattr(pacing.threading, "Timer", Timer)
    scheduler = Known()
    for _ in range(3):
        JobScheduler._schedule_reevalutation(scheduler, 7)
    assert len(timers) == expected
    for delay, function, arguments in list(timers):
        assert delay == 7
        function(*arguments)
        assert scheduler.released == 1
        JobScheduler._schedule_reevalutation(scheduler, 7)
        assert len(timers) == 2
