"""`tools/labels check` says what a run will make of its labels, without the run and without weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import base_model
import check_lengths
import pytest
import yaml
from stand_ins.tokenizer import load_tokenizer as load_characters
from test_label_sets import SAMPLES

from alma.chat_template import prompt_ids
from alma.tables import user
from alma.tokenizer import load_tokenizer
from alma.workflow import check_labels
from alma.workflow.config import ROOT


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


@pytest.fixture
def mine(tmp_path, monkeypatch) -> dict[str, Any]:
    """A config in the working directory, with public sets as labels and a tokenizer of characters."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(check_labels, "save_tokenizer", lambda folder, **config: None)
    monkeypatch.setattr(check_lengths, "load_tokenizer", load_characters)
    pairs = [
        {"instruction": f"Name {i} rivers.", "context": "", "response": "Loire" * i} for i in range(1, 7)
    ]
    write(tmp_path, "dolly.jsonl", [*pairs, *SAMPLES["dolly"]])
    write(tmp_path, "steered.jsonl", SAMPLES["helpsteer2"])
    write(tmp_path, "eval.jsonl", [{"prompt": "Why is the sky blue?"}, {"prompt": "Why? " * 1000}])
    return {
        "run": "mine",
        "base_model": "model",
        "labels": {"sft": "dolly:dolly.jsonl", "judge": "helpsteer2:steered.jsonl"},
        "evaluation": {"benchmarks": {"own": "eval.jsonl"}},
        "judge": {"shots": 1},
        "training": {"sft": {"max_length": 60}},
    }


def run(config: dict[str, Any]) -> int:
    Path("my.yaml").write_text(yaml.safe_dump(config))
    return check_labels.main(["check", "my.yaml"])


def test_it_prints_what_is_read_left_out_too_long_and_done(mine, capsys):
    status = run(mine)
    out, err = capsys.readouterr()
    assert status == 0, err
    for line in (
        "labels.sft: 9 rows read of dolly:dolly.jsonl",
        "  left out 1: a prompt or an answer that is not text that is not blank",
        "labels.judge: 5 rows read of helpsteer2:steered.jsonl",
        "SFT: 8 pairs of 8 prompts",
        "Judge: 5 labels of 4 responses to 3 prompts",
        "  SFT on 8 pairs, 1 step of 64, for each of 2 checkpoints",
        "Tokens, against the limits (rows that are too long are left out):",
    ):
        assert f"\n{line}\n" in f"\n{out}"
    assert "2 labels of 1 response that have several; Krippendorff's alpha" in out
    too_long = sum(
        len(f"Name {i} rivers." + "Loire" * i) + len("user: \nassistant: \n") > 60 for i in range(1, 7)
    )
    (line,) = [line for line in out.splitlines() if line.startswith("sft: 8 rows")]
    assert line.endswith("too long") and int(line.split()[-3]) >= too_long > 0
    assert "\nseeds/eval.parquet: row 1, prompt 'Why? Why?" in out and "/alma-" not in out, (
        "no name of a folder that is gone"
    )
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rounds": 1}, "rounds: found 1, expected at least 2"),
        ({"labels": {"sft": "dolly:dolly.jsonl", "judge": "absent.csv"}}, "expected a file that exists"),
        (
            {"labels": {"sft": "dolly.jsonl", "judge": "helpsteer2:steered.jsonl"}},
            "dolly.jsonl: missing columns",
        ),
        ({"training": {"sft": {"max_length": 16}}}, "training.sft.max_length: found 16, but the shortest"),
    ],
)
def test_what_would_end_the_run_ends_it_with_the_same_message(mine, capsys, change, expected):
    assert run(mine | change) == 1
    err = capsys.readouterr().err
    assert expected in err and "Traceback" not in err


def test_a_config_that_is_not_there_is_a_message(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert check_labels.main(["check", "absent.yaml"]) == 1
    assert "--configfile: no such file" in capsys.readouterr().err


def test_the_name_of_the_run_is_that_of_the_last_file(tmp_path):
    paths = []
    for name, text in (("a", "run: first"), ("b", "seed: 1"), ("c", "run: last"), ("d", "run: [")):
        paths.append(str(tmp_path / name))
        Path(paths[-1]).write_text(text)
    assert check_labels.name_of_run(paths) == "last"
    assert check_labels.name_of_run(paths[1:2]) == "default"


def test_the_tokenizer_is_that_of_the_base_checkpoint_and_needs_no_weights(tiny_model_dir, tmp_path):
    values: dict[str, Any] = {"chat_template": None, "accept_terms": False}
    base_model.main(tmp_path / "base", source=str(tiny_model_dir), **values)
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in tiny_model_dir.iterdir():
        if path.suffix != ".safetensors":
            (bare / path.name).write_bytes(path.read_bytes())
    check_labels.save_tokenizer(tmp_path / "found", source=str(bare), **values)
    wanted, found = load_tokenizer(tmp_path / "base"), load_tokenizer(tmp_path / "found")
    assert (found.chat_template, found.eos_token) == (wanted.chat_template, wanted.eos_token)
    messages = user("Name 3 rivers <|im_end|> of France.")
    assert prompt_ids(found, messages) == prompt_ids(wanted, messages)


def test_the_command_starts_with_any_python():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "labels"), "check", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "configfile" in done.stdout
