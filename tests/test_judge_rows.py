"""The sampling of responses to be rated: which are kept, and what is said of prompts that cannot be used."""

import json
import subprocess
import sys
from collections import Counter

import judge_rows
import pytest

from alma.errors import InputError
from alma.workflow.config import ROOT


def rows_of(prompt, good, bad):
    texts = [(f"good {i}", True) for i in range(good)] + [(f"bad {i}", False) for i in range(bad)]
    return [{"prompt": prompt, "response": text, "passed": passed} for text, passed in texts]


@pytest.mark.parametrize(
    ("good", "bad", "kept"), [(5, 4, 3), (5, 2, 2), (1, 7, 1), (0, 8, 0), (8, 0, 0), (0, 0, 0)]
)
def test_as_many_good_as_bad_ones_are_kept(good, bad, kept):
    found = judge_rows.balanced(rows_of("Say yes.", good, bad), 3, seed=0)
    assert Counter(row["passed"] for row in found) == Counter({True: kept, False: kept})


def test_equal_texts_count_once():
    rows = rows_of("Say yes.", 1, 3)
    found = judge_rows.balanced(rows + [dict(rows[0]) for _ in range(4)], 3, seed=0)
    assert sorted(row["passed"] for row in found) == [False, True]


def test_the_choice_depends_on_seed_and_texts_and_not_on_their_order():
    rows = rows_of("Say yes.", 8, 8)
    found = judge_rows.balanced(rows, 3, seed=0)
    assert judge_rows.balanced(rows[::-1], 3, seed=0) == found
    assert any(judge_rows.balanced(rows, 3, seed=seed) != found for seed in (1, 2))


def test_good_and_bad_ones_are_mixed():
    orders = {
        tuple(row["passed"] for row in judge_rows.balanced(rows_of(prompt, 3, 3), 3, seed=0))
        for prompt in map(str, range(20))
    }
    assert len(orders) > 5  # of 20: the place tells a rater nothing


def test_prompts_are_read_once_each(tmp_path):
    path = tmp_path / "rated.jsonl"
    first = {"prompt": "Say yes.", "category": "write", "checks": [{"kind": "words", "max": 5}]}
    second = {"prompt": "Go.", "checks": [{"kind": "words", "max": 1}]}
    rated = [first | {"response": "Yes", "score": 9}, first | {"response": "No", "score": 2}, second]
    path.write_text("".join(json.dumps(row) + "\n" for row in rated))
    assert judge_rows.read_prompts(path) == [first, second]


GOOD = '{"prompt": "Say no.", "checks": [{"kind": "words", "max": 5}]}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "p"}', "line 2, checks: found nothing, expected at least one check"),
        (
            '{"prompt": "p", "checks": [{"kind": "rhyme"}]}',
            "line 2, checks: found [{'kind': 'rhyme'}], expected",
        ),
        ('{"prompt": 3, "checks": [{"kind": "words", "max": 5}]}', "line 2, prompt: found 3, expected text"),
        ('{"checks": [{"kind": "words", "max": 5}]}', "line 2, prompt: found nothing, expected text"),
        (
            GOOD.replace("5", "6"),
            "line 2, checks: found [{'kind': 'words', 'max': 6}], expected the prompt's: ",
        ),
        ("[]", "line 2: found [], expected a JSON object"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, line, message):
    path = tmp_path / "prompts.jsonl"
    path.write_text(GOOD + line)
    with pytest.raises(InputError) as error:
        judge_rows.read_prompts(path)
    assert f"{path}: {message}" in str(error.value)


def test_what_is_not_there_is_said_before_a_model_is_loaded(tmp_path):
    path = tmp_path / "prompts.jsonl"
    command = [sys.executable, str(ROOT / "tools/judge_rows.py"), str(path), str(tmp_path / "rows.jsonl")]
    command += ["--models", str(tmp_path)]
    missing = subprocess.run(command, capture_output=True, text=True)
    path.write_text(GOOD)
    no_model = subprocess.run(command, capture_output=True, text=True)
    no_samples = subprocess.run([*command, "--samples", "0"], capture_output=True, text=True)
    assert f"{path}: no such file" in missing.stderr
    assert (
        f"--models: found {str(tmp_path)!r} without a config.json, expected a checkpoint" in no_model.stderr
    )
    assert "argument --samples: invalid positive value: '0'" in no_samples.stderr
    assert all(run.returncode for run in (missing, no_model, no_samples))
    assert not any("Traceback" in run.stderr for run in (missing, no_model, no_samples))
