"""What the judge's choice is worth: against brute force over all draws, and by hand."""

import itertools
import json
from statistics import fmean, stdev
from types import SimpleNamespace

import measure_selection
import plot_selection
import pytest
import sample_selection
import score_selection
import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.checked_prompts import checked_prompts
from alma.csv_tables import read_csv_table
from alma.selection_quality import (
    CHOICES,
    Pool,
    choice_values,
    draw_sizes,
    measures_of,
    selection_rows,
    tied_means,
)
from alma.tables import read_table, write_table
from alma.workflow.config import ROOT

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
    for n, values in choice_values(pool, range(1, pool.sampled + 1)).items():
        assert list(values) == list(CHOICES)
        for choice, key in keys.items():
            assert values[choice] == pytest.approx(by_all_draws(pool, n, key), abs=1e-9), (choice, n)


def test_of_one_response_every_choice_is_random_and_of_more_than_there_are_all_are_drawn():
    pool = Pool("", 4, [1.0, 2.0, 3.0], [0.0, 1.0, 0.5], [9, 8, 7])
    assert choice_values(pool, [1])[1] == pytest.approx(dict.fromkeys(CHOICES, 0.5))
    assert choice_values(pool, [9])[9] == choice_values(pool, [4])[4]
    assert choice_values(pool, [4])[4] == pytest.approx(
        {"random": 0.5, "judge": 0.5, "shortest": 0.5, "longest": 0.0, "best": 1.0}
    )


def test_scores_within_the_tolerance_of_the_highest_tie():
    truth = [0.0, 1.0, 4.0, 7.0]
    assert tied_means([1.0, 2.0, 3.0, 4.0], truth) == truth
    assert tied_means([4.0, 2.0, 3.0, 1.0], truth) == [7.0, 1.0, 4.0, 0.0]
    # 3.9 ties with 4, 3.8 does not, although it is as close to 3.9: as in `alma.selection.best_of`.
    assert tied_means([3.8, 3.9, 4.0, 0.0], truth, 0.15) == [7.0, 0.0, 2.5, 2.5]
    pool = Pool("", 2, [5.0, 5.0 + 1e-9], [0.0, 1.0], [1, 2])
    assert choice_values(pool, [2])[2]["judge"] == 1.0
    assert choice_values(pool, [2], tolerance=1e-6)[2]["judge"] == 0.5


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
    length = found(rows, "judge_minus_length", n=4)
    assert (length["choice"], length["value"]) == ("longest", pytest.approx(0.0))
    assert (length["low"], length["high"]) == pytest.approx(
        (0.0, 0.0)
    )  # both prompts' longest is the judge's
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
        **{
            "quality": 2,
            "judge_minus_random": 2,
            "judge_minus_length": 2,
            "correlation_between": 2,
            "score_spread": 2,
        },
    }
    assert found(rows, "quality", choice="judge")["value"] == 1.0


def test_a_judge_is_compared_with_the_better_of_the_shortest_and_the_longest():
    short = Pool("words", 2, [3.0, 7.0], [1.0, 0.0], [5, 9])
    rows = measures_of([short, short, RIGHT], "all", [2], tolerance=0.0, resamples=100, seed=0)
    length = found(rows, "judge_minus_length")  # the shortest is right twice of three times, the judge once
    assert length["choice"] == "shortest" and length["value"] == pytest.approx(1 / 3 - 2 / 3)
    assert found(rows, "judge_minus_length", choice="shortest")["prompts"] == 3


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
    assert len(rows) == len({(row["measure"], row["choice"]) for row in rows}) == 7 + len(CHOICES)


def test_rows_do_not_depend_on_the_order_of_the_responses():
    turned = [
        Pool(p.kind, p.sampled, p.scores[::-1], p.truth[::-1], p.words[::-1]) for p in (RIGHT, WRONG, SAME)
    ]
    options = {"tolerance": 1e-6, "resamples": 100, "seed": 3}
    for one, other in zip(
        selection_rows([RIGHT, WRONG, SAME], **options), selection_rows(turned, **options), strict=True
    ):
        assert one == pytest.approx(other)


# which prompts, and the scripts


def asked(name, checks, benchmark="a"):
    row = {
        "benchmark": benchmark,
        "prompt_id": name,
        "prompt": f"Say the words of {name}.",
        "reference": None,
    }
    return row | {"category": None, "checks": json.dumps(checks)}


SHORT, RIVER = {"kind": "words", "max": 3}, {"kind": "contains", "words": ["river"]}
ASKED = [
    asked("p0", [SHORT]),
    asked("p1", [RIVER, SHORT]),
    asked("p2", []),
    asked("p0", [RIVER], benchmark="b"),
    asked("p3", [RIVER], benchmark="b"),
]


def test_only_prompts_with_checks_are_taken_and_each_once():
    taken = checked_prompts(ASKED, None, 9, 0)
    assert {(row["benchmark"], row["prompt_id"]) for row in taken} == {("a", "p0"), ("a", "p1"), ("b", "p3")}
    assert taken == checked_prompts(ASKED[::-1], None, 9, 0)
    assert checked_prompts(ASKED, None, 2, 0) == taken[:2], "more prompts keep those that there were"
    assert {row["checks"] for row in checked_prompts(ASKED, "b", 9, 0)} == {json.dumps([RIVER])}
    assert checked_prompts(ASKED, None, 0, 0) == []
    orders = {tuple(row["prompt_id"] for row in checked_prompts(ASKED, None, 9, seed)) for seed in range(20)}
    assert len(orders) > 1


class Engine:
    """Stands for vLLM: a response is the seed of its request."""

    max_model_len = 500

    def __init__(self):
        self.tokenizer = tiny_model.tiny_tokenizer()
        self.tokenizer.chat_template = (ROOT / "templates" / "chatml.jinja").read_text().rstrip("\n")

    def generate(self, requests, what):
        return [SimpleNamespace(text=f" {r.seed} ", finish_reason="stop", tokens=3) for r in requests]


def sample(folder, **changes):
    values = {"seed": 0, "engine": {"max_model_len": 500}, "checkpoint": "sft-0", "benchmark_name": None}
    values |= {"prompts_used": 9}
    values |= {"samples": 3, "temperature": 1.0, "top_p": 1.0, "max_tokens": 5}
    sample_selection.main("m", folder / "eval", folder / "responses", **(values | changes))
    return read_table(folder / "responses", "selection_response")


def score(folder):
    values = {
        "seed": 0,
        "engine": {},
        "shots": 0,
        "score": "expected",
        "reading": "fast",
        "min_mass": 0.5,
        "max_unreadable": 0,
    }
    score_selection.main("m", folder / "responses", [], folder / "scores", **values)
    return read_table(folder / "scores", "score")


def measure(folder, **changes):
    names = ("eval", "responses", "scores", "heldout", "heldout_scores")
    values = {"seed": 0, "resamples": 100, "judge": "judge", "score": "expected", "tie_tolerance": 1e-6}
    paths = [folder / name for name in names]
    measure_selection.main(*paths, folder / "selection.csv", **(values | changes))
    return read_csv_table(folder / "selection.csv", "selection")


def test_each_prompt_is_answered_as_often_as_asked_with_seeds_of_its_own(tmp_path, monkeypatch):
    engine = Engine()
    monkeypatch.setattr("alma.engine.open_engine", lambda *_: engine)
    monkeypatch.setattr("alma.tokenizer.load_tokenizer", lambda _: engine.tokenizer)
    long = ASKED[0] | {"prompt_id": "long", "prompt": "Say it again. " * 500}
    write_table(tmp_path / "eval", "eval", [*ASKED, long])
    rows = sample(tmp_path)
    taken = [row["prompt_id"] for row in checked_prompts(ASKED, None, 9, 0)]
    assert [(row["prompt_id"], row["sample"]) for row in rows] == [(i, s) for i in taken for s in range(3)]
    assert len({row["seed"] for row in rows}) == len({row["response_id"] for row in rows}) == len(rows)
    assert [row["response"] for row in rows] == [str(row["seed"]) for row in rows]
    assert sample(tmp_path, samples=2) == [row for row in rows if row["sample"] < 2]
    other = {row["seed"] for row in sample(tmp_path, checkpoint="sft-1")}
    assert other.isdisjoint(row["seed"] for row in rows)

    rows = sample(tmp_path)
    monkeypatch.setattr(
        "alma.fitting.score_fitting",
        lambda engine, pairs, **_: [
            {"score": len(text) / 2, "mass": 1.0, "p": [0.0] * 11} for _, text in pairs
        ],
    )
    scored = {row["response_id"]: row["score"] for row in score(tmp_path)}
    assert scored == {row["response_id"]: len(row["response"]) / 2 for row in rows}


def test_without_a_prompt_no_model_is_loaded_and_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("alma.engine.open_engine", None)
    write_table(tmp_path / "eval", "eval", [asked("p2", [])])
    assert sample(tmp_path) == score(tmp_path) == []
    write_table(tmp_path / "heldout", "judge", [])
    write_table(tmp_path / "heldout_scores", "judge_score", [])
    rows = measure(tmp_path)
    assert {row["truth"] for row in rows} == {"checks", "human"}
    assert {(row["value"], row["prompts"], row["n"]) for row in rows} == {(None, 0, None)}
    plot_selection.main(tmp_path / "selection.csv", tmp_path / "a.svg")
    assert "no prompt has checks or several rated responses" in (tmp_path / "a.svg").read_text()


def write_tables(folder, sampled, rated):
    """The tables that are measured.

    Args:
        sampled: (prompt_id, response, judge's score, finish_reason). rated: (prompt_id, response, human
            score, judge's score, its likeliest rating).
    """
    responses, scores, texts, judged = [], [], [], []
    prompts = {row["prompt_id"]: row["prompt"] for row in ASKED}
    for i, (name, text, value, finish) in enumerate(sampled):
        ids = {"prompt_id": name, "response_id": f"r{i}"}
        row = {"checkpoint": "sft-0", "sample": i, "seed": i, "response": text, "finish_reason": finish}
        row |= {"tokens": 9, "prompt": prompts[name], "benchmark": "b" if name == "p3" else "a"}
        responses.append(ids | row)
        scores.append(ids | {"score": value, "mass": 1.0, "p": [0.0] * 11})
    for i, (name, text, label, value, rating) in enumerate(rated):
        ids = {"prompt_id": name, "response_id": f"h{i}"}
        texts.append(ids | {"annotator": 0, "prompt": "Say it.", "response": text, "score": label})
        p = [float(k == rating) for k in range(11)]
        judged.append(ids | {"label": label, "score": value, "mass": 1.0, "p": p})
    pair = {"prompt_id": "pair:x:0", "score": 5.0, "mass": 1.0, "p": [0.0] * 11}
    judged += [pair | {"response_id": f"pair{label}", "label": label} for label in (0.0, 10.0)]
    for name, kind, rows in (
        *(
            ("eval", "eval", ASKED),
            ("responses", "selection_response", responses),
            ("scores", "score", scores),
        ),
        *(("heldout", "judge", texts), ("heldout_scores", "judge_score", judged)),
    ):
        write_table(folder / name, kind, rows)


def test_the_table_by_hand(tmp_path):
    sampled = [
        ("p0", "one two three four", 9.0, "stop"),  # fails: four words
        ("p0", "one", 5.0, "stop"),  # passes
        ("p0", "two", 10.0, "length"),  # passes, but is cut off: selection would not take it
        ("p0", "", 10.0, "stop"),
        ("p1", "a river", 8.0, "stop"),  # both checks
        ("p1", "a river runs through it", 3.0, "stop"),  # one of two
        ("p1", "three", None, "stop"),  # no score
        ("p1", "Say the words of p1.", 10.0, "stop"),  # an echo
        ("p3", "a road", 5.0, "stop"),  # fails, as all that was sampled
    ]
    rated = [
        *(("h0", "good", 8.0, 6.0, 7), ("h0", "bad", 2.0, 5.8, 7), ("h0", "fair", 5.0, 5.9, 7)),
        ("h1", "only one", 9.0, 1.0, 1),
    ]
    write_tables(tmp_path, sampled, rated)
    rows = measure(tmp_path)
    assert {row["judge"] for row in rows} == {"judge"}
    checks = [row for row in rows if row["truth"] == "checks"]
    pairs = found(checks, "pair_accuracy", kind="all")
    assert (pairs["value"], pairs["prompts"], pairs["pairs"]) == (0.5, 2, 2)
    assert found(checks, "pair_accuracy", kind="words")["value"] == 0.0
    assert found(checks, "pair_accuracy", kind="contains+words")["value"] == 1.0
    assert found(checks, "pair_accuracy", kind="contains")["value"] is None
    quality = {c: found(checks, "quality", kind="all", choice=c, n=4)["value"] for c in CHOICES}
    means = {"random": 0.5 + 0.75, "judge": 0.0 + 1.0, "shortest": 1.0 + 1.0, "longest": 0.0 + 0.5}
    expected = {choice: value / 3 for choice, value in (means | {"best": 2.0}).items()}
    assert quality == pytest.approx(expected, rel=1e-5)

    human = [row for row in rows if row["truth"] == "human"]
    assert {row["kind"] for row in human} == {"all"} and max(row["n"] or 0 for row in human) == 3
    pairs = found(human, "pair_accuracy")
    assert (pairs["value"], pairs["prompts"], pairs["pairs"]) == (1.0, 1, 3)
    assert found(human, "quality", choice="judge", n=3)["value"] == 8.0
    assert found(human, "quality", choice="best", n=2)["value"] == pytest.approx(7.0)
    integer = [row for row in measure(tmp_path, score="integer") if row["truth"] == "human"]
    assert found(integer, "pair_accuracy")["value"] == 0.5, "the likeliest ratings tie"
