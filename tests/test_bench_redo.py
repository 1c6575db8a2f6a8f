"""benchmarks/bench_redo.py without a model: what it kills, what it cuts, what the plain loop makes again."""

import json
import re
import subprocess
import sys

import pytest

from alma.workflow.config import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import bench_redo

LOOP = ROOT / "benchmarks" / "ways" / "plain_loop"


def test_a_kill_ends_all_processes_of_a_run(tmp_path):
    busy = "echo $$; (while :; do :; done) & while :; do :; done"
    done = bench_redo.run(["bash", "-c", busy], tmp_path / "log", kill_at=0.3)
    assert done.status is None
    assert not bench_redo.pids_of(int(done.text))


def test_a_run_tells_its_status_and_its_output(tmp_path):
    done = bench_redo.run(["bash", "-c", "echo no such judge >&2; exit 3"], tmp_path / "log", kill_at=60.0)
    assert (done.status, done.text) == (3, "no such judge\n")
    with pytest.raises(SystemExit, match="no such judge"):
        bench_redo.checked(done)


def test_the_loop_makes_only_what_is_missing(tmp_path):
    """A stand-in for Python notes the script and makes its output, the last argument."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nbasename "$1" >> "$0.calls"\nfor last; do :; done\necho made > "$last"\n')
    python.chmod(0o755)
    calls = tmp_path / "python.calls"

    def ran(last):
        calls.write_text("")
        command = ["bash", str(LOOP / "run.sh"), str(python), "settings.json", str(tmp_path), str(last)]
        subprocess.run(command, check=True)
        return calls.read_text().split()

    assert ran(2) == ["write_prompts.py", "sample.py", "judge.py", "keep_best.py"]
    assert ran(2) == []
    for name in ("scores", "best"):
        (tmp_path / "round-2" / f"{name}.jsonl").unlink()
    assert ran(2) == ["judge.py", "keep_best.py"]
    assert ran(3) == ["sample.py", "judge.py", "keep_best.py"]


def test_the_loop_keeps_the_best_finished_response(tmp_path):
    rows = [
        ("a", "low", 3.0, True),
        ("a", "high", 7.0, True),
        ("a", "cut off", 9.0, False),
        ("b", "x", None, True),
    ]
    names = ("prompt", "response", "score", "finished")
    source, output = tmp_path / "scores.jsonl", tmp_path / "best.jsonl"
    source.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    subprocess.run([sys.executable, str(LOOP / "keep_best.py"), str(source), str(output)], check=True)
    assert [json.loads(line)["response"] for line in output.read_text().splitlines()] == ["high"]
    bench_redo.cut(source)
    done = subprocess.run(
        [sys.executable, str(LOOP / "keep_best.py"), str(source), str(output)], capture_output=True
    )
    assert b"JSONDecodeError" in done.stderr


@pytest.mark.parametrize("lock", ["cpu.txt", "cuda.txt"])
def test_the_layer_with_distilabel_holds_nothing_of_the_lock(lock):
    def names(path):
        found = re.findall(r"^([A-Za-z0-9_.-]+)==", path.read_text(), re.MULTILINE)
        return {re.sub(r"[-_.]+", "-", name).lower() for name in found}

    layer = names(ROOT / "envs" / "distilabel.txt")
    assert "distilabel" in layer and not layer & names(ROOT / "envs" / lock)
