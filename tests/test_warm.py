"""Processes that start warm behave as those that start anew: output, status, surroundings."""

import os
import signal
import sys
import time

import fast_run
import pytest
import warm

pytestmark = pytest.mark.slow

PROGRAM = """
import os, sys
print(os.getcwd(), sys.argv, os.environ["NAME"], sys.stdin.read(), __name__)
print(sorted({"alma", "torch", "warm"} & set(sys.modules)), os.path.dirname(sys.path[0]))
print("a complaint", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def start(request, monkeypatch):
    monkeypatch.setattr(warm, "COLD", request.param)


def script(folder, text):
    path = folder / "program.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def run(folder, text, *arguments, **options):
    command = [*script(folder, text), *arguments]
    return warm.run(command, cwd=folder, env=os.environ | {"NAME": "value"}, **options)


@pytest.mark.parametrize("status", [0, 3])
def test_a_script_has_its_own_surroundings(start, tmp_path, status):
    done = run(tmp_path, PROGRAM, str(status), stdin="given")
    argv = [str(tmp_path / "program.py"), str(status)]
    assert (done.returncode, done.stderr) == (status, "a complaint\n")
    assert done.stdout == f"{tmp_path} {argv} value given __main__\n[] {tmp_path.parent}\n"


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("import sys\nsys.exit('no such file')", 1, "no such file\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os\nos.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
        ("import atexit, sys\natexit.register(lambda: print('last', file=sys.stderr))", 0, "last\n"),
    ],
)
def test_every_end_is_told(start, tmp_path, text, status, said):
    done = run(tmp_path, text)
    assert done.returncode == status
    assert done.stderr.endswith(said)


def test_sets_have_another_order_in_the_next_process(tmp_path):
    words = {run(tmp_path, "print(hash('a'))").stdout for _ in range(4)}
    assert len(words) == 2


def test_who_is_not_waited_for_ends(tmp_path):
    run(tmp_path, "")  # so that there is a server
    path = next(iter(warm._servers.values())).path
    program = script(tmp_path, "import time\ntime.sleep(600)")[1:]
    process = warm.forks.Fork(path, program, str(tmp_path), dict(os.environ), [0, 1, 2])
    process.close()
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{process.pid}"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_makes_the_same_bytes_and_says_the_same(tmp_path, monkeypatch):
    target = "results/small/seeds/checked.txt"
    made = []
    for cold in (True, False):
        monkeypatch.setattr(warm, "COLD", cold)
        run = fast_run.FastRun.make(tmp_path / f"cold-{cold}")
        printed = run.finish(target)
        log = run.path("logs/read_seeds.log").read_text()
        made.append((run.artifacts(), fast_run.planned(printed), log))
    assert made[0] == made[1]
