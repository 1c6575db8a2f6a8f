"""What the judge's choice is worth: against brute force over all draws, and by hand."""

import itertools
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.selection_quality import (
    CHOICES,
    Pool,
    choice_values,
    draw_sizes,
    measures_of,
    selection_rows,
    tied_means,
)

LEVELS = st.sampled_from([0.0, 0.25, 0.5, 1.0])  # few levels, so that there are ties


@st.composite
def pools(draw):
    """Responses to one prompt, some of which may be chosen."""
    size = draw(st.integers(1, 5))
    values = [draw(st.lists(LEVELS, min_size=size, max_size=size)) for _ in range(3)]
    return Pool("words", size + draw(st.integers(0, 3)), *values)


def by_all_draws(pool, n, key):
    """Mean truth of the choice with the highest key over all draws of n that hold one that may be chosen.

    Of responses that tie each is chosen equally often.
    """
    found = []
    for drawn in itertools.combinations(range(pool.sampled), n):
        eligible = [i for i in drawn if i < len(pool.truth)]  # the others can never be chosen
        if eligible:
            top = max(key(i) for i in eligible)
            found.append(fmean(pool.truth[i] for i in eligible if key(i) == top))
    return fmean(found)


@settings(deadline=None)
@given(pools())
def test_every_choice_is_the_mean_over_all_draws(pool):
    keys = {
        "random": lambda i: 0,
        "judge": lambda i: pool.scores[i],
        "shortest": lambda i: -pool.words[i],
        "longest": lambda i: pool.words[i],
        "best": lambda i: pool.truth[i],
    }
    for n in range(1, pool.sampled + 1):
        values = choice_values(pool, n)
        assert list(values) == list(CHOICES)
        for choice, key in keys.items():
            assert values[choice] == pytest.approx(by_all_draws(pool, n, key), abs=1e-9), (choice, n)


def test_of_one_response_every_choice_is_random_and_of_more_than_there_are_all_are_drawn():
    pool = Pool("", 4, [1.0, 2.0, 3.0], [0.0, 1.0, 0.5], [9, 8, 7])
    assert choice_values(pool, 1) == pytest.approx(dict.fromkeys(CHOICES, 0.5))
    assert choice_values(pool, 9) == choice_values(pool, 4)
    assert choice_values(pool, 4) == pytest.approx(
        {"random": 0.5, "judge": 0.5, "shortest": 0.5, "longest": 0.0, "best": 1.0}
    )


def test_scores_within_the_tolerance_of_the_highest_tie():
    truth = [0.0, 1.0, 4.0, 7.0]
    assert tied_means([1.0, 2.0, 3.0, 4.0], truth) == truth
    assert tied_means([4.0, 2.0, 3.0, 1.0], truth) == [7.0, 1.0, 4.0, 0.0]
    # 3.9 ties with 4, 3.8 does not, although it is as close to 3.9: as in `alma.selection.best_of`.
    assert tied_means([3.8, 3.9, 4.0, 0.0], truth, 0.15) == [7.0, 0.0, 2.5, 2.5]
    pool = Pool("", 2, [5.0, 5.0 + 1e-9], [0.0, 1.0], [1, 2])
    assert choice_values(pool, 2)["judge"] == 1.0
    assert choice_values(pool, 2, tolerance=1e-6)["judge"] == 0.5


def test_the_sizes_of_the_draws_double_and_end_with_all():
    assert draw_sizes(1) == [1] and draw_sizes(8) == [1, 2, 4, 8]
    assert draw_sizes(6) == [1, 2, 4, 6] and draw_sizes(17) == [1, 2, 4, 8, 16, 17]


def found(rows, measure, **where):
    (row,) = [r for r in rows if r["measure"] == measure and where.items() <= r.items()]
    return row


# Two prompts by hand. The judge is right on the first and wrong on the second, where the best is short.
RIGHT = Pool("words", 2, [3.0, 7.0], [0.0, 1.0], [5, 9])
WRONG = Pool("json", 4, [2.0, 4.0, 6.0], [1.0, 0.5, 0.5], [1, 2, 3])
SAME = Pool("json", 4, [2.0, 4.0], [1.0, 1.0], [1, 2])


def test_the_measures_of_two_prompts_by_hand():
    rows = measures_of([RIGHT, WRONG], "all", [1, 4], tolerance=0.0, resamples=100, seed=0)
    pairs = found(rows, "pair_accuracy")
    assert pairs["value"] == pytest.approx(1 / 3) and (pairs["prompts"], pairs["pairs"]) == (2, 3)
    quality = {choice: found(rows, "quality", choice=choice, n=4)["value"] for choice in CHOICES}
    expected = {"random": (0.5 + 2 / 3) / 2, "judge": 0.75, "shortest": 0.5, "longest": 0.75, "best": 1.0}
    assert quality == pytest.approx(expected)
    gain = found(rows, "judge_minus_random", n=4)
    assert gain["value"] == pytest.approx((0.5 - 1 / 6) / 2) and gain["prompts"] == 2
    assert (gain["low"], gain["high"]) == pytest.approx((-1 / 6, 0.5))  # of two prompts, the two extremes
    assert found(rows, "judge_minus_random", n=1)["value"] == pytest.approx(0.0)
    headroom = found(rows, "headroom_taken")
    assert headroom["n"] == 4 and headroom["value"] == pytest.approx((0.5 - 1 / 6) / (0.5 + 1 / 3))
    within = (1.0 - 0.8660254) / 2  # 1 and the rank correlation of (1, 2, 3) with (3, 1.5, 1.5)
    assert found(rows, "correlation_within")["value"] == pytest.approx(within)
    assert found(rows, "correlation_between")["value"] == pytest.approx(-1.0)  # means 5, 4; 0.5, 2/3
    spread = (stdev([3, 7]) + stdev([2, 4, 6])) / 2
    assert found(rows, "score_spread")["value"] == pytest.approx(spread)


def test_prompts_without_a_difference_count_where_there_is_something_to_count():
    rows = measures_of([RIGHT, SAME], "all", [4], tolerance=0.0, resamples=100, seed=0)
    told = {row["measure"]: row["prompts"] for row in rows}
    assert told == {
        **{"pair_accuracy": 1, "headroom_taken": 1, "correlation_within": 1},
        **{"quality": 2, "judge_minus_random": 2, "correlation_between": 2, "score_spread": 2},
    }
    assert found(rows, "quality", choice="judge")["value"] == 1.0


def test_each_kind_has_its_rows_at_the_largest_n():
    rows = selection_rows([RIGHT, WRONG, SAME], tolerance=0.0, resamples=100, seed=0)
    assert list(dict.fromkeys(row["kind"] for row in rows)) == ["all", "json", "words"]
    assert sorted({row["n"] for row in rows if row["kind"] == "all" and row["n"]}) == [1, 2, 4]
    assert {row["n"] for row in rows if row["kind"] != "all"} == {None, 4}
    assert found(rows, "pair_accuracy", kind="words")["value"] == 1.0
    assert found(rows, "pair_accuracy", kind="json")["value"] == 0.0
    assert found(rows, "pair_accuracy", kind="json")["low"] is None  # one prompt has no interval
    both = [found(rows, "quality", kind=kind, choice="random")["value"] for kind in ("json", "words")]
    total = found(rows, "quality", kind="all", choice="random", n=4)["value"]
    assert total == pytest.approx((2 * both[0] + both[1]) / 3)


def test_nothing_measured_is_said_with_empty_values():
    rows = selection_rows([], tolerance=0.0, resamples=100, seed=0)
    assert [row for row in rows if row["value"] is not None or row["prompts"] or row["n"]] == []
    assert len(rows) == len({(row["measure"], row["choice"]) for row in rows}) == 6 + len(CHOICES)


def test_rows_do_not_depend_on_the_order_of_the_responses():
    turned = [
        Pool(p.kind, p.sampled, p.scores[::-1], p.truth[::-1], p.words[::-1]) for p in (RIGHT, WRONG, SAME)
    ]
    options = {"tolerance": 1e-6, "resamples": 100, "seed": 3}
    for one, other in zip(
        selection_rows([RIGHT, WRONG, SAME], **options), selection_rows(turned, **options), strict=True
    ):
        assert one == pytest.approx(other)
