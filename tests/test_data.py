"""The shipped data: what data/README.md says of it is true."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import read_seeds

from alma.checks import run_checks, validate_checks
from alma.duplicates import folded
from alma.tables import read_table

DATA = Path(__file__).parent.parent / "data"
ROWS = {
    name: [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    for name in ("sft", "judge", "eval")
}
CARD = (DATA / "README.md").read_text(encoding="utf-8")


def trigrams(text: str) -> set[tuple[str, ...]]:
    """The 3-grams of a text's words, in lower case."""
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def test_the_files_read_cleanly_and_to_the_counts(tmp_path):
    paths = [tmp_path / f"{i}.parquet" for i in range(5)]
    read_seeds.main(
        *paths,
        seed=0,
        sft=str(DATA / "sft.jsonl"),
        judge=str(DATA / "judge.jsonl"),
        scale=[0, 10],
        heldout_fraction=0.2,
        judge_benchmark=None,
        benchmarks={"everyday": str(DATA / "eval.jsonl")},
    )
    kinds = ("sft", "judge", "judge", "judge_pair", "eval")
    tables = [read_table(path, kind) for path, kind in zip(paths, kinds, strict=True)]
    assert [len(table) for table in tables] == [132, 246, 60, 0, 128]
    assert {row["annotator"] for table in tables[1:3] for row in table} == {0}


@pytest.mark.parametrize("name", ROWS)
def test_the_card_states_the_counts(name):
    assert f"| `{name}.jsonl` | {len(ROWS[name])} |" in CARD


def test_the_card_states_the_other_numbers():
    prompts = Counter(row["prompt"] for row in ROWS["judge"])
    assert f"({len(prompts)} prompts with 3 responses each)" in CARD
    assert set(prompts.values()) == {3}
    assert f"checks on {sum('checks' in row for row in ROWS['eval'])} of them" in CARD
    categories = {row["category"] for rows in ROWS.values() for row in rows}
    assert all(f"`{category}`" in CARD for category in categories)
    kinds = {check["kind"] for rows in ROWS.values() for row in rows for check in row.get("checks", [])}
    assert all(f"| `{kind}` |" in CARD for kind in kinds)


def test_there_are_enough_rows():
    assert len(ROWS["sft"]) >= 120
    assert len(ROWS["judge"]) >= 240
    assert len({row["prompt"] for row in ROWS["eval"]}) >= 100
    assert min(Counter(row["prompt"] for row in ROWS["judge"]).values()) >= 2


@pytest.mark.parametrize("name", ROWS)
def test_two_thirds_of_the_rows_carry_valid_checks(name):
    for row in ROWS[name]:
        assert validate_checks(row.get("checks", [])) == []
    assert sum(bool(row.get("checks")) for row in ROWS[name]) * 3 >= 2 * len(ROWS[name])


@pytest.mark.parametrize(("name", "column"), [("sft", "response"), ("eval", "reference")])
def test_shown_answers_pass_their_own_checks(name, column):
    for row in ROWS[name]:
        verdicts = run_checks(row.get("checks", []), row[column])
        assert all(verdicts), (row["prompt"], row[column], verdicts)


def test_scores_are_whole_numbers_and_differ_within_a_prompt():
    scores: dict[str, set[int]] = {}
    for row in ROWS["judge"]:
        assert type(row["score"]) is int
        assert 0 <= row["score"] <= 10
        scores.setdefault(row["prompt"], set()).add(row["score"])
    assert all(len(values) > 1 for values in scores.values())


def test_no_evaluation_prompt_is_in_the_seeds_or_close_to_one():
    seeds = {row["prompt"] for row in ROWS["sft"] + ROWS["judge"]}
    plain = {folded(prompt) for prompt in seeds}
    grams = [trigrams(prompt) for prompt in seeds]
    for row in ROWS["eval"]:
        assert folded(row["prompt"]) not in plain
        mine = trigrams(row["prompt"])
        shared = max(len(mine & other) for other in grams)
        assert shared * 2 <= len(mine), row["prompt"]
