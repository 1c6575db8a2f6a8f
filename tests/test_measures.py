"""Statistics and the two measurement tables, against hand-computed values and brute force."""

import itertools
import math
from statistics import fmean

import evaluate_judge
import fake_run
import numpy as np
import pytest
import score_evaluation
import summarize_evaluation
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.csv_tables import CSV_TABLES, read_csv_table
from alma.errors import InputError
from alma.judging import integer_rating
from alma.measures import check_share
from alma.statistics import (
    best_of_weights,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_spearman,
    calibration_bins,
    calibration_error,
    pair_results,
    spearman,
    wilson,
)
from alma.tables import read_table, write_table

SCORES = st.lists(st.floats(0, 10), min_size=1, max_size=7)

# best of n


@settings(deadline=None)
@given(SCORES)
def test_the_weights_give_the_mean_of_the_best_over_all_subsets(scores):
    for n, weights in enumerate(best_of_weights(len(scores)), start=1):
        subsets = itertools.combinations(scores, n)
        assert weights @ sorted(scores) == pytest.approx(fmean(map(max, subsets)), abs=1e-9)


@pytest.mark.parametrize("candidates", [1, 2, 9, 200])
def test_the_weights_are_a_distribution(candidates):
    weights = best_of_weights(candidates)
    assert weights.shape == (candidates, candidates)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-9)


# intervals


def test_wilson_known_values():
    # Newcombe (1998), table I: 81/263 and 15/148; and the ends.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == (None, None)


def test_bootstrap_is_seeded_and_covers_what_it_should():
    values = [float(v) for v in np.random.default_rng(0).normal(3, 2, size=400)]
    low, high = bootstrap_mean(values, 2000, seed=1)
    assert (low, high) == bootstrap_mean(values, 2000, seed=1)
    assert (low, high) != bootstrap_mean(values, 2000, seed=2)
    error = np.std(values) / math.sqrt(len(values))
    assert low == pytest.approx(fmean(values) - 1.96 * error, abs=0.03)
    assert high == pytest.approx(fmean(values) + 1.96 * error, abs=0.03)


def test_bootstrap_of_nothing_and_of_one_value():
    assert bootstrap_mean([], 100, seed=0) == (None, None)
    assert bootstrap_mean([4.0], 100, seed=0) == (None, None)  # one prompt says nothing about another
    assert bootstrap_mean([4.0, 4.0], 100, seed=0) == (4.0, 4.0)
    assert bootstrap_ratio([0.0], [0.0], 100, seed=0) == (None, None)
    # A prompt without pairs could fill a whole resample; it must not make the interval NaN.
    assert bootstrap_ratio([1.0, 0.0, 2.0], [2.0, 0.0, 4.0], 500, seed=0) == (0.5, 0.5)


def test_the_interval_of_a_rank_correlation():
    dice = np.random.default_rng(0)
    x = dice.normal(size=300)
    y = x + dice.normal(size=300)
    low, high = bootstrap_spearman(list(x), list(y), 500, seed=0)
    middle = spearman(list(x), list(y))
    assert low < middle < high and high - low == pytest.approx(4 * (1 - middle**2) / math.sqrt(300), rel=0.4)
    assert bootstrap_spearman([1.0, 2.0], [3.0, 3.0], 100, seed=0) == (None, None)
    # A resample of one prompt alone counts as 0, and the interval stays a number.
    assert bootstrap_spearman([1.0, 2.0], [3.0, 4.0], 500, seed=0) == (0.0, 1.0)


# judge


def test_pair_accuracy_with_ties_and_nulls():
    assert pair_results([3.0, 1.0, 2.0], [9.0, 1.0, 5.0]) == (3.0, 3)
    assert pair_results([1.0, 3.0], [9.0, 1.0]) == (0.0, 1)
    assert pair_results([2.0, 2.0], [9.0, 1.0]) == (0.5, 1)
    assert pair_results([None, 2.0], [9.0, 1.0]) == (0.5, 1)
    assert pair_results([8.0, 2.0], [4.0, 4.0]) == (0.0, 0)  # equal labels are no pair
    assert pair_results([8.0], [4.0]) == (0.0, 0)


def test_spearman():
    assert spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert spearman([3, 2, 1], [10, 20, 30]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman([5, 5, 5], [1, 2, 3]) == 0.0  # a constant prediction tells nothing
    assert spearman([1, 2], [4, 4]) is None
    assert spearman([1], [4]) is None


def test_calibration():
    bins = calibration_bins([1.0, 1.5, 9.0, 10.0], [2.0, 3.0, 9.0, 8.0])
    assert [row["rows"] for row in bins] == [2, 0, 0, 0, 2]
    assert (bins[0]["mean_score"], bins[0]["mean_label"]) == (1.25, 2.5)
    assert (bins[4]["bin_low"], bins[4]["bin_high"], bins[4]["mean_score"]) == (8.0, 10.0, 9.5)
    assert calibration_error(bins) == pytest.approx((2 * 1.25 + 2 * 1.0) / 4)
    assert calibration_error(calibration_bins([], [])) is None


def test_integer_rating_takes_the_lowest_of_equals():
    p = [0.0] * 11
    p[4] = p[10] = 0.4
    p[7] = 0.2
    assert integer_rating(p) == 4


def judge_rows(*rows):
    """Judge rows from (prompt, label, score, most probable rating)."""
    found = []
    for i, (prompt, label, score, rating) in enumerate(rows):
        p = [0.0] * 11
        p[rating] = 1.0
        keys = {"response_id": f"r{i}", "prompt_id": prompt, "label": label}
        found.append(keys | {"score": score, "mass": 0.9, "p": p})
    return found


def test_judge_measures_by_hand():
    rows = judge_rows(
        ("a", 2.0, 3.0, 3),
        ("a", 8.0, 7.5, 7),
        ("b", 5.0, 6.0, 6),
        ("b", 9.0, 6.4, 6),  # ties as an integer, right as a real value
        ("c", 1.0, None, 0),
        ("c", 4.0, 4.0, 4),
    )
    real, _ = evaluate_judge.measure(rows, "real-valued", 0, 200)
    whole, _ = evaluate_judge.measure(rows, "integer", 0, 200)
    assert (real["rows"], real["pairs"], real["unreadable"]) == (6, 3, 1)
    assert real["accuracy"] == pytest.approx(2.5 / 3)
    assert whole["accuracy"] == pytest.approx(2 / 3)
    assert real["mae"] == pytest.approx(fmean([1.0, 0.5, 1.0, 2.6, 0.0]))
    assert real["spearman_within"] == pytest.approx(1.0)  # c has one readable row: left out
    assert whole["spearman_within"] == pytest.approx(0.5)
    assert 0 <= whole["accuracy_low"] <= whole["accuracy"] <= whole["accuracy_high"] <= 1


def write_judge_tables(root):
    inputs = [root / f"judge/heldout/{name}.parquet" for name in ("base", "judge-seed", "judge")]
    outputs = root / "evaluation/judge.csv", root / "tables/judge_calibration.csv"
    evaluate_judge.main(*inputs, *outputs, seed=0, resamples=200)
    return [
        read_csv_table(path, name) for path, name in zip(outputs, ("judge", "judge_calibration"), strict=True)
    ]


def test_four_judges_on_both_benchmarks(tmp_path):
    fake_run.write_judges(tmp_path, fake_run.random.Random(0), prompts=30, pairs=10)
    table, bins = write_judge_tables(tmp_path)
    assert [(row["judge"], row["benchmark"]) for row in table] == [
        (name, part) for name, _, _ in evaluate_judge.JUDGES for part in ("heldout", "pairs")
    ]
    accuracy = {(row["judge"], row["benchmark"]): float(row["accuracy"]) for row in table}
    assert accuracy["self-distilled, real-valued", "heldout"] > accuracy["few-shot, integer", "heldout"]
    assert {row["pairs"] for row in table if row["benchmark"] == "pairs"} == {10}
    assert {row["mae"] for row in table if row["benchmark"] == "pairs"} == {None}
    assert {row["judge"] for row in bins} == {name for name, _, _ in evaluate_judge.JUDGES}


def test_without_a_judge_benchmark_there_are_no_rows_for_it(tmp_path):
    fake_run.write_judges(tmp_path, fake_run.random.Random(0), prompts=5, pairs=0)
    table, _ = write_judge_tables(tmp_path)
    assert [row["benchmark"] for row in table] == ["heldout"] * 4


# evaluation


def response(prompt, passed, score=5.0, text="one two", finish="stop", checkpoint="round-2"):
    return {
        "prompt_id": prompt,
        "response_id": f"{checkpoint}-{prompt}",
        "checkpoint": checkpoint,
        "sample": 0,
        "seed": 0,
        "response": text,
        "finish_reason": finish,
        "tokens": 3,
        "benchmark": "b",
        "passed": passed,
        "score": score,
        "mass": 1.0,
        "p": [0.0] * 11,
    }


def test_an_empty_response_passes_nothing():
    assert check_share(response("a", [True, True], text=" \n")) == 0.0
    assert check_share(response("a", [True, False])) == 0.5
    assert check_share(response("a", [])) is None


def test_summary_by_hand():
    rows = [
        response("a", [True, True], 8.0),
        response("b", [True, False], None, finish="length"),
        response("c", [], 4.0, text="one two three four"),
        response("d", [True], 6.0, text=""),
    ]
    reference = [response("a", [True, False], 5.0), response("b", [False, True], 1.0), response("d", [True])]
    row = summarize_evaluation.summary_row(rows, 0, 300)
    row |= summarize_evaluation.differences(rows, [reference], "vs_sft", 0, 300)
    assert (row["prompts"], row["checked_prompts"], row["judge_unreadable"]) == (4, 3, 1)
    assert row["check_rate"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert row["all_passed"] == pytest.approx(1 / 3)
    assert (row["all_low"], row["all_high"]) == pytest.approx(wilson(1, 3))
    assert row["judge_score"] == pytest.approx(6.0)  # the null is left out, not 0
    assert row["mean_words"] == pytest.approx((2 + 2 + 4 + 0) / 4)
    assert row["cut_off"] == pytest.approx(0.25)
    assert row["vs_sft"] == pytest.approx((0.5 + 0 - 1) / 3)
    assert row["vs_sft_low"] <= row["vs_sft"] <= row["vs_sft_high"]
    assert row["vs_sft_judge"] == pytest.approx((3 + 1) / 2)  # b has no score, c no partner
    assert row["judge_prompts"] == 4
    alone = summarize_evaluation.differences(rows, [], "vs_sft", 0, 300)
    assert set(alone.values()) == {None} and set(alone) < set(row)


def test_a_response_that_the_judge_was_not_asked_about_is_not_unreadable():
    asked = [response("a", [True], 8.0), response("b", [False], None), response("c", [True], 4.0)]
    left = [
        row | score_evaluation.NOT_ASKED for row in (response("d", [True]), response("e", [], text="one"))
    ]
    reference = [response(prompt, [False], 2.0) for prompt in "abcde"]
    row = summarize_evaluation.summary_row([*left, *asked], 0, 300)
    row |= summarize_evaluation.differences([*left, *asked], [reference], "vs_sft", 0, 300)
    assert (row["prompts"], row["judge_prompts"], row["judge_unreadable"]) == (5, 3, 1)
    assert row["judge_score"] == pytest.approx(6.0) and row["vs_sft_judge"] == pytest.approx((6 + 2) / 2)
    assert row["check_rate"] == pytest.approx(3 / 4), "checks are of all prompts"
    assert row["mean_words"] == pytest.approx(9 / 5)
    row = summarize_evaluation.summary_row(left, 0, 300)
    row |= summarize_evaluation.differences(left, [reference], "vs_sft", 0, 300)
    assert (row["judge_prompts"], row["judge_unreadable"], row["judge_score"]) == (0, 0, None)
    assert row["vs_sft_judge"] is None and row["vs_sft"] == 1


def score_some(folder, monkeypatch, most, checkpoint="sft-0", seed=0):
    """The evaluation table by prompt, of 20, with the judge asked about `most`; and what it was asked."""
    prompts = [f"p{i:02}" for i in range(20)]
    facts = {"benchmark": "b", "category": None, "reference": None, "checks": "[]"}
    other = {"prompt_id": "p00", "prompt": "another benchmark's"} | facts | {"benchmark": "a"}
    write_table(
        folder / "eval", "eval", [other, *({"prompt_id": p, "prompt": f"ask {p}"} | facts for p in prompts)]
    )
    keys = set(response("a", [])) - {"score", "mass", "p"}
    rows = [response(p, [], text=f"say {p}", checkpoint=checkpoint) for p in prompts]
    write_table(folder / "responses", "evaluation_response", [{k: row[k] for k in keys} for row in rows])
    seen = []

    def scored(engine, pairs, **_):
        assert engine == "judge"
        seen.extend(pairs)
        return [{"score": float(text[-2:]) / 2, "mass": 1.0, "p": [0.0] * 11} for _, text in pairs]

    monkeypatch.setattr("alma.fitting.score_fitting", scored)
    monkeypatch.setattr("alma.engine.open_engine", (lambda *_: "judge") if most != 0 else None)
    values = {"engine": {}, "reading": "exact", "min_mass": 0.5, "max_unreadable": 0.0}
    paths = [folder / name for name in ("eval", "responses", "scores")]
    score_evaluation.main("model", *paths, seed=seed, judge_prompts=most, **values)
    return {row["prompt_id"]: row for row in read_table(folder / "scores", "evaluation")}, seen


def test_the_judge_scores_as_many_prompts_as_asked_and_the_same_for_all(tmp_path, monkeypatch):
    def asked(most, **more):
        table, seen = score_some(tmp_path, monkeypatch, most, **more)
        assert len(table) == 20
        chosen = {prompt for prompt, row in table.items() if row["mass"] is not None}
        assert seen == [(f"ask {prompt}", f"say {prompt}") for prompt in sorted(chosen)]
        for prompt, row in table.items():
            told = (float(prompt[1:]) / 2, 1.0, [0.0] * 11) if prompt in chosen else (None, None, None)
            assert (row["score"], row["mass"], row["p"]) == told
        return chosen

    five, eight = asked(5), asked(8)
    assert len(five) == 5 and len(eight) == 8 and five < eight, "more of them keep the earlier ones"
    assert asked(5, checkpoint="round-2") == five != asked(5, seed=1)
    assert len(asked(None)) == len(asked(99)) == 20
    assert asked(0) == set(), "and no engine was opened"


def test_the_ratio_of_words_is_paired_by_prompt():
    mine = [response("a", [], text="one two three"), response("b", [], text="one"), response("c", [])]
    one = [response("a", [], text="one"), response("b", [], text="one"), response("c", [], text="")]
    two = [response("a", [], text="one two three"), response("b", [], text="one"), response("c", [], text="")]
    row = summarize_evaluation.words_ratio(mine, [one, two], 0, 300)
    assert row["words_vs_sft"] == pytest.approx((3 + 1) / (2 + 1))  # c divides by nothing
    assert row["words_vs_sft_low"] == pytest.approx(1.0) and row["words_vs_sft_high"] == pytest.approx(1.5)
    assert set(summarize_evaluation.words_ratio(mine, [], 0, 300).values()) == {None}


def test_pairing_removes_what_prompts_share():
    """Equal gaps on every prompt leave no doubt about the difference, however prompts differ."""
    rows = [response(f"p{i}", [True] * (i % 2 + 1) + [False] * 2) for i in range(20)]
    nothing = [row | {"passed": [False]} for row in rows]
    own = summarize_evaluation.summary_row(rows, 0, 300)
    row = summarize_evaluation.differences(rows, [nothing], "vs_sft", 0, 300)
    assert row["vs_sft"] == pytest.approx(own["check_rate"])
    same = summarize_evaluation.differences(rows, [rows], "vs_sft", 0, 300)
    assert (same["vs_sft"], same["vs_sft_low"], same["vs_sft_high"]) == (0, 0, 0)
    assert own["check_low"] < own["check_high"]


def test_the_reference_is_the_mean_of_all_sft_checkpoints(tmp_path):
    """By hand on two prompts; the SFT checkpoints themselves are compared with nothing."""
    passed = {
        "base": [[False, False], [True, False]],
        "sft-0": [[True, True], [False, False]],
        "sft-1": [[False, False], [True, False]],
        "round-2": [[True, True], [True, True]],
        "round-3": [[True, False], [True, True]],
    }
    asked = [
        {"benchmark": "b", "prompt_id": p, "prompt": p, "category": None, "reference": None, "checks": "[]"}
        for p in "ab"
    ]
    write_table(tmp_path / "eval.parquet", "eval", asked)
    for name, verdicts in passed.items():
        rows = [response(p, v, checkpoint=name) for p, v in zip("ab", verdicts, strict=True)]
        write_table(tmp_path / f"{name}.parquet", "evaluation", rows)
    summarize_evaluation.main(
        [str(tmp_path / f"{name}.parquet") for name in passed],
        tmp_path / "eval.parquet",
        tmp_path / "summary.csv",
        seed=0,
        checkpoints=list(passed),
        resamples=200,
    )
    rows = {row["checkpoint"]: row for row in read_csv_table(tmp_path / "summary.csv", "summary")}
    # Means of the two SFT checkpoints by prompt: 0.5 and 0.25.
    assert rows["round-2"]["vs_sft"] == pytest.approx((0.5 + 0.75) / 2)
    assert rows["base"]["vs_sft"] == pytest.approx((-0.5 + 0.25) / 2)
    assert rows["sft-0"]["vs_sft"] is None and rows["sft-1"]["vs_sft"] is None
    assert (rows["round-2"]["vs_sft_low"], rows["round-2"]["vs_sft_high"]) == (0.5, 0.75)
    assert rows["round-2"]["vs_before"] is None, "the round before is the SFT"
    assert rows["round-3"]["vs_before"] == pytest.approx((-0.5 + 0) / 2)
    assert rows["round-3"]["vs_before_judge"] == 0 and rows["sft-0"]["words_vs_sft"] is None
    assert set(rows["round-3"]) == set(CSV_TABLES["summary"].columns)


def write_summary(root, order=1, checkpoints=fake_run.CHECKPOINTS):
    files = [str(root / f"evaluation/{c}/everyday.parquet") for c in fake_run.CHECKPOINTS][::order]
    summarize_evaluation.main(
        files,
        root / "seeds/eval.parquet",
        root / "summary.csv",
        seed=0,
        checkpoints=list(checkpoints),
        resamples=200,
    )
    return (root / "summary.csv").read_bytes()


def test_summary_file_does_not_depend_on_the_order_of_files(tmp_path):
    fake_run.write_evaluation(tmp_path, fake_run.random.Random(0), 20, "everyday")
    assert write_summary(tmp_path) == write_summary(tmp_path, order=-1)
    rows = read_csv_table(tmp_path / "summary.csv", "summary")
    assert [row["checkpoint"] for row in rows] == list(fake_run.CHECKPOINTS)
    assert float(rows[-1]["check_rate"]) > float(rows[0]["check_rate"])


def test_missing_responses_are_named(tmp_path):
    fake_run.write_evaluation(tmp_path, fake_run.random.Random(0), 8, "everyday")
    with pytest.raises(InputError, match=r"round-4, everyday: 8 of 8 prompts"):
        write_summary(tmp_path, checkpoints=[*fake_run.CHECKPOINTS, "round-4"])


def test_a_prompt_that_no_checkpoint_answered_was_too_long_and_is_not_missed(tmp_path):
    fake_run.write_evaluation(tmp_path, fake_run.random.Random(0), 8, "everyday")
    path = tmp_path / "seeds/eval.parquet"
    rows = read_table(path, "eval")
    before = write_summary(tmp_path)
    write_table(path, "eval", [*rows, rows[0] | {"prompt_id": "long", "prompt": "long " * 9000}])
    assert write_summary(tmp_path) == before
