"""Jobs that load a model are forked from one process that has its libraries; the rest is as without it."""

import os
import signal
import subprocess
import time

import pytest

from alma.workflow import forks, warm_start

pytestmark = pytest.mark.slow

# Every job of the copy says what it found when it began; the first one may kill what it was forked from.
SAY = """

import os as _os
import sys as _sys

_open_engine = open_engine


def open_engine(*arguments, **named):
    with open("began.txt", "a") as handle:
        handle.write(f"{'vllm' in _sys.modules} {_os.getppid()} {_sys.modules['__main__'].snakemake.rule}\\n")
    if _os.path.exists("kill"):
        _os.unlink("kill")
        _os.kill(_os.getppid(), 9)
    return _open_engine(*arguments, **named)
"""

TARGETS = (  # at least a job with an engine for each
    "results/small/judge/heldout/base.parquet",
    "results/small/prompts/raw/0.parquet",
    *(f"results/small/evaluation/responses/{name}/everyday.parquet" for name in ("base", "sft-0", "round-2")),
)


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run whose engine says who started it, so that all jobs with one are to be run again."""
    run = finished_run.copy(tmp_path / "run")
    engine = run.folder / "scripts" / "alma" / "engine.py"
    engine.write_text(engine.read_text() + SAY)
    return run


def began(run):
    """[(whether vLLM was there, number of the parent, rule), ...] of the jobs with an engine."""
    rows = [line.split() for line in (run.folder / "began.txt").read_text().splitlines()]
    return [(warm == "True", int(parent), rule) for warm, parent, rule in rows]


def wait_for_the_end_of(process):
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{process}"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_jobs_with_an_engine_are_forks_and_make_the_same_bytes(run, finished_run):
    process = run.start(*TARGETS, ALMA_WARM_START="1")
    assert process.wait(600) == 0, (run.folder / "printed.txt").read_text()[-5000:]
    found = began(run)
    assert len(found) >= len(TARGETS) and {warm for warm, _, _ in found} == {True}
    parents = {parent for _, parent, _ in found}
    assert len(parents) == 1 and process.pid not in parents
    wait_for_the_end_of(parents.pop())
    assert run.artifacts() == finished_run.artifacts()


def test_jobs_start_as_ever_when_the_process_was_killed(run, finished_run):
    """The job that had it killed fails with it, and is tried again."""
    (run.folder / "kill").touch()
    process = run.start(*TARGETS, "--retries", "1", ALMA_WARM_START="1")
    status = process.wait(600)
    assert status == 0, (run.folder / "printed.txt").read_text()[-5000:]
    found = [warm for warm, _, _ in began(run)]
    assert True in found and found[-1] is False
    assert run.artifacts() == finished_run.artifacts()


def test_a_killed_run_leaves_nothing(run):
    process = run.start(*TARGETS, ALMA_WARM_START="1")
    began_at = run.folder / "began.txt"
    while not began_at.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server = began(run)[0][1]
    wait_for_the_end_of(server)


def test_ctrl_c_ends_the_jobs_too(run):
    """A terminal sends the signal to Snakemake, to the process that jobs are forked from, and to the jobs."""
    with (run.folder / "printed.txt").open("w") as handle:
        process = subprocess.Popen(
            run.command(*TARGETS),
            cwd=run.folder,
            env=run.environment(ALMA_WARM_START="1"),
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    while not (run.folder / "began.txt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    wait_for_the_end_of(began(run)[0][1])
    assert "Traceback" not in (run.folder / "printed.txt").read_text()


def test_all_that_it_imports_is_there():
    """A name that a new version has moved would silently cost every job its import."""
    import importlib.util

    assert [name for name in warm_start.MODULES if importlib.util.find_spec(name) is None] == []


def test_a_server_that_cannot_start_says_so(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit(3)")
    server = forks.Server([], os.environ, program=str(program))
    with pytest.raises(OSError, match="ended with 3"):
        server.wait()
    with pytest.raises(OSError):
        forks.Fork(server.path, ["x.py"], str(tmp_path), os.environ, [0, 1, 2])
