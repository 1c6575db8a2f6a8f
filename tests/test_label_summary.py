"""The summary of the labels: what was read and left out, how the scores are spread, what the run does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import read_seeds

from alma.agreement import Agreement
from alma.label_summary import (
    SourceCount,
    agreement_line,
    balance_lines,
    counted,
    evaluation_lines,
    plan_lines,
    sft_lines,
    source_lines,
)
from alma.tables import assistant, user

PLAN: dict[str, Any] = {
    "sft": {"epochs": 2, "batch_size": 4},
    "judge": {"epochs": 1.5, "batch_size": 2},
    "balance": "none",
    "checkpoints": 2,
    "shots": [3, 5],
    "rounds": 3,
    "prompts_per_round": 10,
    "samples_per_prompt": 6,
}


def label(prompt: str, response: str, score: float) -> dict[str, Any]:
    return {"prompt_id": prompt, "response_id": f"{prompt}{response}", "score": score}


def test_a_number_has_its_noun():
    assert [counted(n, "row") for n in (0, 1, 2345)] == ["0 rows", "1 row", "2,345 rows"]


def test_rows_are_counted_per_source_with_the_reasons_of_what_was_left_out():
    count = SourceCount("labels.sft", "dolly:a.jsonl", 100)
    count.left_out.update({"blank": 3, "same": 7} | {f"other {i}": 1 for i in range(8)})
    lines = source_lines([count, SourceCount("labels.judge", "b.csv", 1)])
    assert lines[:3] == [
        "labels.sft: 100 rows read of dolly:a.jsonl",
        "  left out 7: same",
        "  left out 3: blank",
    ]
    assert lines[-2:] == ["  left out 2: 2 other reasons", "labels.judge: 1 row read of b.csv"]


def test_pairs_after_earlier_turns_and_categories_are_told():
    turns = [*user("Hi"), *assistant("Hello"), *user("Bye")]
    rows = [
        {"prompt_id": "a", "prompt": user("Hi"), "category": "chat"},
        {"prompt_id": "a", "prompt": user("Hi"), "category": None},
        {"prompt_id": "b", "prompt": turns, "category": "chat"},
    ]
    assert sft_lines(rows) == [
        "SFT: 3 pairs of 2 prompts",
        "  1 pair after earlier turns (trained on the last answer)",
        "  categories: chat 2",
    ]


def test_balance_is_told_over_responses_and_within_prompts():
    rows = [label("p", "a", 9), label("p", "a", 10), label("p", "b", 1), label("q", "a", 6)]
    rows += [label("q", "b", 8), label("r", "a", 3)]
    spread, within = balance_lines(rows)
    assert spread == "  scores of responses: 0-1 20%, 2-3 20%, 4-6 20%, 7-8 20%, 9-10 20%; mean 5.5"
    assert within == (
        "  2 prompts with several responses: the scores differ in 2, and are above and below 5 in 1"
    )


def test_labels_that_teach_no_difference_are_warned_of():
    alike = balance_lines([label("p", "a", 8), label("p", "b", 8), label("q", "a", 8)])
    assert "more than 80% of the scores are alike" in alike[2] and "no prompt has responses" in alike[3]
    assert not [line for line in balance_lines([label("p", "a", 8), label("p", "b", 2)]) if "warning" in line]


def test_agreement_is_told_where_responses_have_several_labels():
    rows = [
        label("p", "a", 9),
        label("p", "a", 7),
        label("p", "b", 1),
        label("q", "a", 4),
        label("q", "a", 8),
    ]
    line = agreement_line(rows, Agreement(0.623, 0.41, 0.8, 2, 4))
    assert "4 labels of 2 responses that have several" in line
    assert "alpha 0.62 [0.41, 0.80]; the highest and the lowest are 3.0 apart" in line
    assert "not defined" in agreement_line(rows, Agreement(None, None, None, 2, 4))
    assert "is not known" in agreement_line(rows, Agreement(None, None, None, 0, 0))


def test_evaluation_prompts_are_counted_per_benchmark():
    rows = [
        {"benchmark": name, "prompt_id": str(i), "checks": checks}
        for i, (name, checks) in enumerate((("b", "[]"), ("a", "[{}]"), ("b", "[]"), ("a", "[]")))
    ]
    assert evaluation_lines(rows, [{}, {}], {"3"}) == [
        "Evaluation, a: 2 prompts, 1 with checks, 1 of several turns",
        "Evaluation, b: 2 prompts, 0 with checks",
        "Judge benchmark: 2 pairs",
    ]


def test_the_plan_counts_steps_and_responses():
    sft = [{}] * 9
    rows = [label("p", name, score) for name, score in (("a", 9), ("b", 8), ("c", 2), ("d", 5))]
    rows += [label("q", "a", 9)]
    told = "\n".join(plan_lines(sft, rows, PLAN))
    assert "SFT on 9 pairs, 5 steps of 4, for each of 2 checkpoints" in told
    assert "judge on 5 responses, 4 steps of 2" in told
    assert "2 rounds of 10 new prompts, 6 responses each: 120 responses" in told
    balanced = "\n".join(plan_lines(sft, rows, PLAN | {"balance": "within_prompt"}))
    assert "judge on 3 responses of 5 (judge.balance), 3 steps of 2" in balanced


def test_the_first_job_prints_the_summary(tmp_path: Path):
    for name, rows in {
        "sft": [{"prompt": "Hi", "response": "Hello"}] * 2,
        "judge": [{"prompt": f"p{i}", "response": r, "score": s} for i in range(3) for r, s in ("a9", "b1")],
        "eval": [{"prompt": "e"}],
    }.items():
        texts = [json.dumps(row | ({"score": int(row["score"])} if "score" in row else {})) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(texts))
    said: list[str] = []
    outputs = [tmp_path / "out" / f"{i}.parquet" for i in range(7)]
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("sft", "judge", "eval")}
    values: dict[str, Any] = {"seed": 0, "scale": [0, 10], "heldout_fraction": 0.4, "judge_benchmark": None}
    values |= {"max_bad_rows": 0.02}
    values |= {"sft": files["sft"], "judge": files["judge"], "benchmarks": {"mine": files["eval"]}}
    read_seeds.main(*outputs, **values, plan=PLAN, say=said.append)
    (text,) = said
    for line in (
        f"labels.sft: 2 rows read of {files['sft']}",
        "  left out 1: an earlier row is the same",
        "Judge: 6 labels of 6 responses to 3 prompts",
        "  held out to measure it: 2 labels of 2 responses to 1 prompt",
        "Evaluation, mine: 1 prompt, 0 with checks",
        "What the run will do with them:",
    ):
        assert f"\n{line}\n" in f"\n{text}\n"
