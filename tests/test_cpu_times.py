"""The option --cpu-times counts what a test does, what its processes did, and what they still do."""

import os
import subprocess
import sys

import cpu_times
from rule_texts import ROOT

TESTS = """
import subprocess, sys, time

BURN = "import time\\nwhile time.process_time() < 0.5: pass\\n"


def test_nothing():
    pass


def test_itself():
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass


def test_a_process_that_has_ended():
    subprocess.run([sys.executable, "-c", BURN], check=True)


def test_a_process_that_goes_on():
    code = BURN + "print(flush=True)\\ninput()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
"""


def test_each_test_is_told_with_its_seconds(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["cpu_times"]\n')
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", f"--rootdir={tmp_path}"]
    command += ["-c", "/dev/null", "-o", f"pythonpath={ROOT / 'tests/support'}", "--cpu-times", "times.tsv"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take longer than the tests
    done = subprocess.run(
        [*command, "test_it.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    head, *lines = (tmp_path / "times.tsv").read_text().splitlines()
    assert head == cpu_times.HEAD
    rows = [(float(cpu), float(wall), name) for cpu, wall, name in (line.split("\t") for line in lines)]
    assert [cpu for cpu, _, _ in rows] == sorted((cpu for cpu, _, _ in rows), reverse=True)
    cost = {name.partition("::")[2]: cpu for cpu, _, name in rows}
    assert set(cost) == {name.split("(")[0] for name in TESTS.split("def ")[1:]}
    assert cost.pop("test_nothing") < 0.2
    assert all(0.45 <= cpu < 3 for cpu in cost.values()), cost
    assert "seconds of processor time" in done.stdout
