"""The trial of a judge outside the workflow: its measures, its settings, its table."""

import csv
import json
import subprocess
import sys

import judge_trial
import pytest
import yaml

from alma.errors import InputError
from alma.workflow.config import ROOT


def rows_of(*groups):
    return [
        {"prompt_id": f"p{number}", "truth": truth, "kind": kind}
        for number, (kind, truths) in enumerate(groups)
        for truth in truths
    ]


def test_measures_of_a_judge():
    rows = rows_of(("json", [1, 0, 1, 0]), ("words", [1, 0]), ("words", [1, 1]))
    found = judge_trial.measures(rows, [8.0, 2.0, 7.0, 3.0, 1.0, 4.0, 5.0, 5.0], 2)
    assert (found["rows"], found["prompts"], found["pairs"]) == (8, 3, 5)
    assert found["pair_accuracy"] == pytest.approx(4 / 5)
    assert found["by_kind"] == "json 1.000 (4); words 0.000 (1)"
    assert found["random"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found["judge"] == pytest.approx((5 / 6 + 0 + 1) / 3)
    assert found["best"] == pytest.approx((5 / 6 + 1 + 1) / 3)
    assert found["judge_minus_random"] == pytest.approx(found["judge"] - found["random"])
    assert found["spearman_within"] == pytest.approx((0.894427191 - 1) / 2)


def test_a_response_without_a_score_is_never_chosen():
    found = judge_trial.measures(rows_of(("json", [1, 0, 0]), ("json", [1])), [None, 0.0, 3.0, None], 2)
    assert (found["prompts"], found["pairs"], found["pair_accuracy"], found["judge"]) == (2, 0, None, 0.0)


def test_changes_go_to_the_training_of_the_judge():
    config = {"judge": {"training": {"epochs": 3, "last_layers": 15}}}
    changed = judge_trial.changed(config, ["last_layers=null", "loss.ranking=1", "judge.dtype=float32"])
    assert changed["judge"]["training"] == {"epochs": 3, "last_layers": None}
    assert (changed["judge"]["loss"], changed["judge"]["dtype"]) == ({"ranking": 1}, "float32")
    with pytest.raises(InputError, match="KEY=VALUE"):
        judge_trial.changed(config, ["last_layers"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "p", "response": "r"}', ":1, truth: found None, expected a number"),
        ('{"prompt": 3, "response": "r", "truth": 1}', ":1, prompt: found 3, expected a text"),
        ("[]", ":1, prompt: found [], expected a text"),
        ("{", ":1: no JSON"),
        ("", "found no row"),
    ],
)
def test_a_bad_row_is_named(tmp_path, line, message):
    path = tmp_path / "test.jsonl"
    path.write_text(line)
    with pytest.raises(InputError) as error:
        judge_trial.read_rows(path, "truth")
    assert message in str(error.value)


@pytest.mark.slow
def test_a_trial_is_measured_once(tmp_path, tiny_checkpoint):
    rows = [
        {"prompt": f"Say {word}.", "response": answer, "score": score, "truth": score > 5, "kind": "words"}
        for word in ("yes", "no", "maybe")
        for answer, score in ((word, 9), ("What?", 2))
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["judge"]["min_mass"] = 0.0
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    table = tmp_path / "trials.csv"
    command = [sys.executable, str(ROOT / "tools/judge_trial.py"), str(data), str(data)]
    command += ["--base", str(tiny_checkpoint), "--table", str(table)]
    command += ["--configfile", str(tmp_path / "config.yaml")]
    command += ["--set", "last_layers=null", "--set", "epochs=1", "--set", "max_length=512"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr[-2000:]
    assert first.stdout.count("pair accuracy") == 1
    with table.open(newline="") as file:
        (found,) = csv.DictReader(file)
    assert (found["seed"], found["pairs"]) == ("0", "3")
    assert not list(table.with_name("trials.csv.work").iterdir())
    with table.open("a", newline="") as file:  # as if another seed had been measured too
        csv.DictWriter(file, found).writerow(found | {"seed": "1"})
    command += ["--seeds", "0", "1"]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert again.stdout.count("already in") == 2 and "pair accuracy" not in again.stdout
