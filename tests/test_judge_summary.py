"""Rows of evaluation/summary.csv for judges that training never used, and what they cost."""

import importlib

import pytest

from alma.csv_tables import read_csv_table
from alma.outside_judges import FIRST, SCORE, SECOND, judged_row
from alma.summary_rows import OWN, of_own_judge
from alma.tables import write_table

judge_costs, summarize_evaluation, summary = (
    importlib.import_module(name) for name in ("judge_costs", "summarize_evaluation", "summary")
)

PROMPTS = "abcd"
# Won games by checkpoint and prompt, first and second order; against sft-0.
GAMES = {
    "sft-1": [(1, 1), (0, 0), (1, 0), (0.5, 0.5)],
    "round-2": [(1, 1), (1, 1), (1, 1), (1, None)],
    "round-3": [(1, 1), (0, 0), (0, 1), (1, 1)],
}
REWARDS = {"sft-0": [0, 0, 0, 0], "sft-1": [-1, 1, 0, 2], "round-2": [2, 3, 4, None], "round-3": [1, 1, 1, 1]}
CHECKPOINTS = ["base", "sft-0", "sft-1", "round-2", "round-3"]


def response(checkpoint, prompt):
    return {
        "prompt_id": prompt,
        "response_id": f"{checkpoint}{prompt}",
        "checkpoint": checkpoint,
        "benchmark": "b",
        "response": "one two",
    }


def own_rows(checkpoint):
    more = {"sample": 0, "seed": 0, "finish_reason": "stop", "tokens": 2, "passed": [True]}
    return [response(checkpoint, p) | more | {"score": 5.0, "mass": 1.0, "p": [0.0] * 11} for p in PROMPTS]


def api_rows(checkpoint):
    paid = {
        "reference": "sft-0",
        "reference_length": 7,
        "input_tokens": 100,
        "output_tokens": 10,
        "answer": "x",
    }
    return [
        judged_row("gpt", response(checkpoint, prompt), question, **paid, value=value)
        for prompt, values in zip(PROMPTS, GAMES[checkpoint], strict=True)
        for question, value in zip((FIRST, SECOND), values, strict=True)
    ]


def reward_rows(checkpoint):
    return [
        judged_row("rm", response(checkpoint, prompt), SCORE, value=value)
        for prompt, value in zip(PROMPTS, REWARDS[checkpoint], strict=True)
    ]


def summarize(root, with_judges=True):
    asked = [
        {"benchmark": "b", "prompt_id": p, "prompt": p, "category": None, "reference": None, "checks": "[]"}
        for p in PROMPTS
    ]
    write_table(root / "eval.parquet", "eval", asked)
    results, judged = [], []
    for checkpoint in CHECKPOINTS:
        results.append(str(root / f"{checkpoint}.parquet"))
        write_table(results[-1], "evaluation", own_rows(checkpoint))
    for name, rows, wanted in (("gpt", api_rows, GAMES), ("rm", reward_rows, REWARDS)):
        for checkpoint in wanted:
            judged.append(str(root / f"{name}-{checkpoint}.parquet"))
            write_table(judged[-1], "judged", rows(checkpoint))
    summarize_evaluation.main(
        results,
        root / "eval.parquet",
        root / "summary.csv",
        judged[::-1] if with_judges else [],
        seed=0,
        checkpoints=CHECKPOINTS,
        resamples=200,
        reference="sft-0" if with_judges else "",
    )
    return read_csv_table(root / "summary.csv", "summary"), judged


def test_each_judge_has_its_rows_beside_those_of_the_run_s_own(tmp_path):
    rows, _ = summarize(tmp_path)
    found = {(row["checkpoint"], row["judge"]): row for row in rows}
    expected = [(c, OWN) for c in CHECKPOINTS] + [(c, "gpt") for c in GAMES] + [(c, "rm") for c in REWARDS]
    assert sorted(found) == sorted(expected)
    assert [row["judge"] for row in rows if row["checkpoint"] == "round-2"] == [OWN, "gpt", "rm"]
    assert {row["check_rate"] for row in rows} == {1.0}, "what no judge says is the same for all"

    gpt = found["round-3", "gpt"]
    assert (gpt["win_rate"], gpt["games"], gpt["reference"]) == (0.625, 4, "sft-0")
    assert gpt["same_in_both_orders"] == 0.75 and gpt["judge_score"] is None
    assert gpt["win_rate_low"] <= 0.625 <= gpt["win_rate_high"]
    assert gpt["win_rate_lc"] == pytest.approx(0.625, abs=1e-5), "equal lengths"
    # The SFT's mean by prompt: sft-0 draws against itself, sft-1 won 1, 0, 0.5, 0.5.
    assert gpt["vs_sft_win"] == pytest.approx(
        ((1 - 0.75) + (0 - 0.25) + (0.5 - 0.5) + (1 - 0.5)) / 4, abs=1e-6
    )
    assert gpt["vs_before_win"] == pytest.approx((0 - 1 + (0.5 - 1)) / 3, abs=1e-6), "paired by prompt"
    assert found["round-2", "gpt"]["games"] == 3 and found["round-2", "gpt"]["judge_unreadable"] == 1
    assert found["sft-1", "gpt"]["vs_sft_win"] is None

    rm = found["round-2", "rm"]
    assert (rm["judge_score"], rm["judge_prompts"], rm["judge_unreadable"], rm["win_rate"]) == (
        3.0,
        4,
        1,
        1.0,
    )
    assert rm["vs_sft_judge"] == pytest.approx((2.5 + 2.5 + 4) / 3, abs=1e-6)
    assert found["sft-1", "rm"]["win_rate"] == pytest.approx((0 + 1 + 0.5 + 1) / 4)
    assert found["sft-0", "rm"]["win_rate"] is None and found["sft-0", "rm"]["judge_score"] == 0
    assert rm["same_in_both_orders"] is None, "a reward model sees no order"


def test_the_rows_of_the_run_s_own_judge_do_not_depend_on_the_others(tmp_path):
    rows, _ = summarize(tmp_path)
    alone, _ = summarize(tmp_path, with_judges=False)
    assert of_own_judge(rows) == alone and len(alone) == len(CHECKPOINTS)


def test_the_end_of_a_run_tells_what_the_other_judges_say(tmp_path):
    rows, _ = summarize(tmp_path)
    lines = summary.outside_lines([row for row in rows if row["judge"] != OWN])
    assert lines[0].startswith("Judges that training never used")
    assert (
        lines[1].startswith("  gpt on b, round-3: wins against sft-0 0.62 [")
        and "at equal length" in lines[1]
    )
    assert lines[2].startswith("  rm on b, round-3: score 1.00 [1.00, 1.00], wins against sft-0 ")
    assert summary.outside_lines([]) == []


def test_what_the_answers_cost(tmp_path):
    _, judged = summarize(tmp_path)
    files = [path for path in judged if "gpt" in path]
    judge_costs.main(files, tmp_path / "a.csv", prices={"gpt": {"input": 2.0, "output": 10.0}})
    rows = read_csv_table(tmp_path / "a.csv", "judge_costs")
    assert [row["checkpoint"] for row in rows] == [*GAMES, "all"]
    assert rows[1]["questions"] == 8 and rows[1]["unreadable"] == 1
    assert (rows[-1]["input_tokens"], rows[-1]["output_tokens"]) == (2400, 240)
    assert rows[-1]["cost"] == pytest.approx(2400 * 2e-6 + 240 * 1e-5)
    judge_costs.main(files, tmp_path / "a.csv", prices={"gpt": {"input": 2.0, "output": None}})
    assert read_csv_table(tmp_path / "a.csv", "judge_costs")[-1]["cost"] is None
