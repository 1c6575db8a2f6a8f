"""make gpu-check: what it says without a GPU, its table, and its steps on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rule_texts import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import gpu_check


def test_without_a_gpu_it_says_so_and_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "gpus_here", lambda: 0)
    assert gpu_check.main(["--folder", str(tmp_path)]) == 1
    assert "no GPU: nvidia-smi lists no GPU on this machine. Nothing was checked" in capsys.readouterr().out
    monkeypatch.setattr(gpu_check, "gpus_here", lambda: 1)
    monkeypatch.setattr(gpu_check, "cuda_build", lambda: False)
    assert gpu_check.main(["--folder", str(tmp_path)]) == 1
    assert "PyTorch's CPU build" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [], "and does nothing else"


def test_the_command_names_the_script():
    done = subprocess.run(["make", "-n", "gpu-check"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tools/gpu_check.py" in done.stdout


def steps(monkeypatch, **bodies):
    monkeypatch.setattr(gpu_check, "STEPS", bodies)

    def in_this_process(command, **_):
        try:
            gpu_check.run_step(command[3], json.loads(command[4]))
        except AssertionError:
            return subprocess.CompletedProcess(command, 1)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", in_this_process)
    monkeypatch.setattr("alma.workflow.job.limit_threads", lambda threads: None)


def skips(options):
    raise gpu_check.Skipped("needs two GPUs, found 1")


def fails(options):
    raise AssertionError


def test_the_table_tells_passes_failures_and_rates(tmp_path, monkeypatch, capsys):
    steps(
        monkeypatch,
        good=lambda options: {"tokens": 1234.5, "kind": "decode", "note": f"on {options['device']}"},
        lost=skips,
        bad=fails,
    )
    (tmp_path / "bad.log").write_text("AssertionError: x\n")
    assert gpu_check.main(["--dry", "--model", "m", "--folder", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4].split()[:3] == ["good", "pass", "1,234"] and lines[-4].endswith("on cpu")
    assert lines[-3].split()[:2] == ["lost", "skipped"] and "needs two GPUs" in lines[-3]
    assert lines[-2].split()[:2] == ["bad", "FAIL"]
    assert lines[-1] == "gpu-check: 1 of 3 steps failed: bad (a dry run on a CPU, no GPU path)"
    figures = json.loads((tmp_path / "gpu-check.json").read_text())
    assert figures["decode"] == 1234.5 and set(figures) == {"decode", "results"}


def test_a_step_of_before_does_not_count(tmp_path, monkeypatch):
    steps(monkeypatch, bad=fails)
    (tmp_path / "bad.json").write_text('{"result": "pass", "note": ""}')
    assert gpu_check.checked("bad", {"folder": str(tmp_path), "device": "cpu"})["result"] == "FAIL"


@pytest.mark.slow
def test_the_steps_run_on_a_cpu(tiny_checkpoint, tmp_path):
    """Those that start no process of their own beside the others; all of them are what --dry runs."""
    only = ["device", "leases", "parts", "embedding", "train_full", "two_gpus"]
    command = [sys.executable, "tools/gpu_check.py", "--dry", "--model", str(tiny_checkpoint)]
    command += ["--folder", str(tmp_path), "--only", *only]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    logs = "\n".join(path.read_text()[-2000:] for path in Path(tmp_path).glob("*.log"))
    assert done.returncode == 0, done.stdout + logs
    found = json.loads((tmp_path / "gpu-check.json").read_text())
    results = {name: facts["result"] for name, facts in found["results"].items()}
    assert results == dict.fromkeys(only, "pass") | {"leases": "skipped", "two_gpus": "skipped"}
    assert found["train"] > 0
