"""tools/alma run: the arguments that Snakemake gets, and that it reads them as they are meant."""

import os
import subprocess
import sys

import pytest

from alma.errors import InputError
from alma.workflow.config import ROOT
from alma.workflow.start import snakemake_arguments


@pytest.fixture(autouse=True)
def configs(tmp_path, monkeypatch):
    for name in ("my.yaml", "more.yml"):
        (tmp_path / name).write_text("run: mine\n")
    monkeypatch.chdir(tmp_path)


SNAKEFILE = ["--snakefile", str(ROOT / "Snakefile")]
ALL = ["--cores", "all"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("my.yaml", [*ALL, "--configfile", "my.yaml", "--"]),
        ("my.yaml judge", [*ALL, "--configfile", "my.yaml", "--", "judge"]),
        ("my.yaml more.yml a b", [*ALL, "--configfile", "my.yaml", "more.yml", "--", "a", "b"]),
        ("my.yaml judge -- -n", [*ALL, "-n", "--configfile", "my.yaml", "--", "judge"]),
        ("my.yaml judge -n", [*ALL, "-n", "--configfile", "my.yaml", "--", "judge"]),
        ("my.yaml -- --cores 3", ["--cores", "3", "--configfile", "my.yaml", "--"]),
        ("my.yaml -- -c1 -k", ["-c1", "-k", "--configfile", "my.yaml", "--"]),
        ("my.yaml x -- --profile=p", ["--profile=p", "--configfile", "my.yaml", "--", "x"]),
        ("my.yaml judge results/a.yaml", [*ALL, "--configfile", "my.yaml", "--", "judge", "results/a.yaml"]),
    ],
)
def test_configs_targets_and_options_are_told_apart(given, wanted):
    assert snakemake_arguments(given.split()) == [*SNAKEFILE, *wanted]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "found none, expected a file that ends in .yaml"),
        ("judge my.yaml", "found 'judge', expected a file that ends"),
        ("absent.yaml judge", "found 'absent.yaml', expected a file .looked in"),
        ("-- -n", "found none"),
    ],
)
def test_a_command_without_a_config_is_one_message(given, message):
    with pytest.raises(InputError, match=f"config: {message}"):
        snakemake_arguments(given.split())


def tool(*arguments):
    command = [sys.executable, str(ROOT / "tools" / "alma"), *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_target_after_the_config_is_planned(tmp_path):
    """From any folder; `snakemake --configfile my.yaml judge` ends in a traceback."""
    status, printed = tool("run", str(ROOT / "config/test.yaml"), "judge", "--", "-n", "--quiet", "rules")
    assert status == 0, printed
    assert "train_judge_seed" in printed and "train_round" not in printed
    assert not (tmp_path / "results").exists()


def test_a_wrong_command_is_one_message():
    for arguments in (("walk", "my.yaml"), ("run", "judge")):
        status, printed = tool(*arguments)
        assert status == 2 and printed.startswith("error: ") and "tools/alma run my.yaml" in printed
        assert "Traceback" not in printed
