"""What CI runs: its steps and their times, and the linter of the rules."""

import importlib.util
import os
import re
import shutil
import subprocess

import pytest

from alma.workflow.config import ROOT

RUN = ROOT / ".ci" / "run"
SPEC = importlib.util.spec_from_file_location("lint_rules", ROOT / ".ci" / "lint_rules.py")
lint_rules = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(lint_rules)

LINTED = """Using workflow specific profile profiles/default for setting default command line arguments.
Lints for snakefile rules/sft.smk:
    * Mixed rules and functions in same snakefile.:
      Small one-liner functions used only once should be defined as lambda
      expressions.
Lints for rule loose (line 38, rules/sft.smk):
    * No log directive defined:
      Without a log directive, all output will be printed to the terminal.
    * Absolute path "/data" in line 3:
      Do not define absolute paths.
"""


def ci(folder, python=True, fail=""):
    """Run .ci/run with a `make` that prints its words, where Python 3.12 is there or not."""
    found = 'echo "$0"' if python else "exit 1"
    for name, body in {
        "make": f'echo "make $*"; [ "$1" != "{fail}" ]',
        "python3.12": found,
        "pyenv": "exit 1",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run([RUN], env=environment, capture_output=True, text=True)


def steps(done):
    """The steps of the report at the end, without their times."""
    report = done.stdout.rpartition("\n\n")[2]
    assert re.search(r"^ci: \d+ s in all$", report, flags=re.M)
    return re.findall(r"^ci: make (\S+).* took \d+ s \(exit status (\d+)\)$", report, flags=re.M)


def test_ci_runs_its_steps_and_prints_their_times(tmp_path):
    done = ci(tmp_path)
    assert done.returncode == 0
    assert steps(done) == [("lint", "0"), ("test", "0"), ("test-fast", "0"), ("test-services", "0")]
    assert "make test-fast ENV=light PYTHON=python3.12\n" in done.stdout


def test_ci_ends_with_the_step_that_fails(tmp_path):
    done = ci(tmp_path, fail="test")
    assert done.returncode == 1
    assert steps(done) == [("lint", "0"), ("test", "1")]


def test_ci_says_why_it_leaves_out_python_3_12(tmp_path):
    done = ci(tmp_path, python=False)
    assert done.returncode == 0
    assert [name for name, _ in steps(done)] == ["lint", "test", "test-services"]
    assert "skipped: no Python 3.12 with venv, neither on PATH nor by pyenv" in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_tests_against_servers_are_named_where_they_are_left_out():
    made = (
        ("test", "make test-services"),
        ("test-services", "envs/label_studio.sh"),
        ("test-services", "lm_eval.sh"),
        ("test-services", "s3.sh"),
        ("test-services", "envs/slurm.sh"),
    )
    for target, words in made:
        printed = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert words in printed.stdout


def test_one_suggestion_of_the_linter_is_left_out():
    found = lint_rules.suggestions(LINTED)
    assert len(found) == 3
    wanted = [text for text in found if lint_rules.UNWANTED not in text]
    assert [text.splitlines()[1].strip()[:20] for text in wanted] == [
        "* No log directive d",
        '* Absolute path "/da',
    ]
    assert all(text.startswith("Lints for rule loose") for text in wanted)
