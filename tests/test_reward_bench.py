"""RewardBench 1 and 2 by section, against numbers computed by hand from the published rules."""

import json
import math

import evaluate_reward_bench
import pytest
import read_reward_bench
import yaml
from fast_run import FastRun, merged
from rule_texts import ROOT

from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.judge_accuracy import is_benchmark_pair
from alma.reward_bench import (
    RIGHT,
    SECTIONS,
    UNREADABLE,
    credit,
    margins,
    read_answers,
    read_items,
    section_rows,
)
from alma.seed_formats import Row
from alma.tables import read_table, write_table
from alma.workflow.plan import plan


def item(subset, right=1, wrong=3, id_="0", prompt=None):
    """A row of the file; its answers are r0, r1, ... and w0, w1, ..."""
    return {
        "id": id_,
        "prompt": prompt or f"{subset} {id_}?",
        "chosen": [f"r{i}" for i in range(right)],
        "rejected": [f"w{i}" for i in range(wrong)],
        "subset": subset,
    }


def answers_and_scores(given, name="rewardbench2"):
    """Rows of the table and {response_id: score}, from [(row of the file, scores of right, of wrong)]."""
    rows = [Row(f"line {i}", row) for i, (row, _, _) in enumerate(given)]
    answers, left_out = read_items(name, rows)
    assert left_out == []
    wanted = {}
    for row, right, wrong in given:
        for text, score in zip([*row["chosen"], *row["rejected"]], [*right, *wrong], strict=True):
            wanted[row["prompt"], text] = score
    return answers, {a["response_id"]: wanted[a["prompt"], a["response"]] for a in answers}


def scores_by_name(given, name="rewardbench2", resamples=100):
    rows = section_rows(name, *answers_and_scores(given, name), resamples, 0)
    return {(row["level"], row["name"]): row for row in rows}


@pytest.mark.parametrize(
    ("right", "wrong", "wanted"),
    [
        ([7.0], [1.0, 2.0, 3.0], 1),
        ([7.0], [8.0, 2.0, 3.0], 0),
        ([7.0], [7.0, 2.0, 3.0], 1 / 2),
        ([7.0], [7.0, 7.0, 7.0], 1 / 4),
        ([UNREADABLE], [0.0, UNREADABLE, UNREADABLE], 0),
        ([UNREADABLE], [UNREADABLE] * 3, 1 / 4),
        ([5.0], [5.0], 1 / 2),  # a pair of RewardBench
    ],
)
def test_an_item_counts_its_share_of_the_maximum(right, wrong, wanted):
    assert credit(right, wrong) == wanted


def test_margins_by_hand():
    assert margins([8.0, 6.0, 7.0], [5.0, 1.0]) == (2.0, 1.0)
    assert margins([8.0], [9.0, 1.0]) == (0.0, -1.0)


TIES = [
    # spread 1, distance 4; its reference is 2 above: all holds. tanh(2 / 1 - 1)
    (item("Ties", 3, 2, "tied:0", "a, tied"), [9.0, 8.0, 8.5], [4.0, 1.0]),
    (item("Ties", 1, 2, "ref:0", "a, ref"), [6.0], [4.0, 1.0]),
    # spread 3, distance 1: right, but spread further than the wrong ones are away. tanh(1 / 3 - 1)
    (item("Ties", 2, 2, "tied:1", "b, tied"), [9.0, 6.0], [5.0, 1.0]),
    (item("Ties", 1, 2, "ref:1", "b, ref"), [9.0], [5.0, 1.0]),
    # spread 1, distance 3, but the reference is wrong by 2. tanh(-2 / 1 - 1)
    (item("Ties", 2, 2, "tied:2", "c, tied"), [9.0, 8.0], [5.0, 1.0]),
    (item("Ties", 1, 2, "ref:2", "c, ref"), [3.0], [5.0, 1.0]),
    # spread 0, distance 2, reference at 0: a share of 0 / 0 is 0
    (item("Ties", 2, 2, "tied:3", "d, tied"), [7.0, 7.0], [5.0, 1.0]),
    (item("Ties", 1, 2, "ref:3", "d, ref"), [5.0], [5.0, 1.0]),
]


def test_the_section_ties_by_hand():
    """Accuracy 4/4 tied and 2/4 ref; 3/4 tied are closer together than to the wrong ones, with ref 1/4."""
    (row,) = scores_by_name(TIES).values()
    margin = (math.tanh(1) + math.tanh(-2 / 3) + math.tanh(-3) + 0) / 4
    wanted = 0.3 * 1 + 0.3 * 0.5 + 0.2 * 0.75 + 0.2 * 0.25 + 0.01 * margin
    assert (row["level"], row["name"], row["items"]) == ("section", "Ties", 8)
    assert row["score"] == pytest.approx(wanted, abs=1e-12)
    assert row["score_low"] <= row["score"] <= row["score_high"]


def test_a_spread_of_nothing_over_a_distance_is_the_largest_margin():
    """As published: the quotient is infinite, and its tanh 1."""
    (row,) = scores_by_name(
        [
            (item("Ties", 2, 1, "tied:0", "tied"), [7.0, 7.0], [5.0]),
            (item("Ties", 1, 1, "ref:0", "ref"), [7.0], [5.0]),
        ]
    ).values()
    assert row["score"] == pytest.approx(0.3 + 0.3 + 0.2 + 0.2 + 0.01)


def test_ties_without_a_prompt_that_has_both_items_have_no_score():
    (row,) = scores_by_name([TIES[0]]).values()
    assert row["score"] is None and row["score_low"] is None


def test_sections_and_total_of_rewardbench_2_by_hand():
    """Factuality (1 + 1/2 + 0) / 3, Math 1, Safety 0, the others 1; the total is the mean of the six."""
    given = [
        (item("Factuality", id_="0"), [9.0], [1.0, 2.0, 3.0]),
        (item("Factuality", id_="1"), [9.0], [9.0, 2.0, 3.0]),
        (item("Factuality", id_="2"), [1.0], [9.0, 2.0, 3.0]),
        (item("Math"), [9.0], [1.0, 2.0, 3.0]),
        (item("Safety"), [UNREADABLE], [1.0, 2.0, 3.0]),
        (item("Precise IF"), [9.0], [1.0, 2.0, 3.0]),
    ]
    found = scores_by_name(given)
    assert [name for _, name in found] == ["Factuality", "Precise IF", "Math", "Safety"], "no total"
    assert found["section", "Factuality"]["score"] == pytest.approx(0.5)
    assert found["section", "Factuality"]["items"] == 3
    assert found["section", "Math"]["score_low"] is None, "one item has nothing to resample"
    ties = [
        (item("Ties", 2, 1, "tied:0", "tied"), [7.0, 6.0], [1.0]),
        (item("Ties", 1, 1, "ref:0", "ref"), [3.0], [1.0]),
    ]
    found = scores_by_name([*given, (item("Focus"), [9.0], [1.0, 2.0, 3.0]), *ties])
    ties_score = 1 + 0.01 * math.tanh(2 / 1 - 1)
    total = (0.5 + 1 + 1 + 0 + 1 + ties_score) / 6
    assert found["total", "all"]["score"] == pytest.approx(total)
    assert found["total", "all"]["items"] == 9


def test_sections_of_rewardbench_have_the_published_weights():
    """Chat: alpacaeval 1, 0 and 1 with weights 100, 95 and 95, mt-bench 0 and a tie with 28 and 40."""
    values = {"alpacaeval-easy": 9, "alpacaeval-length": 1, "alpacaeval-hard": 9, "mt-bench-easy": 1}
    given = [(item(subset, 1, 1), [float(score)], [5.0]) for subset, score in values.items()]
    found = scores_by_name(given, "rewardbench")
    assert set(found) == {("subset", subset) for subset in values}, "a section without one of its subsets"
    found = scores_by_name([*given, (item("mt-bench-med", 1, 1), [5.0], [5.0])], "rewardbench")
    assert found["section", "Chat"]["score"] == pytest.approx((100 + 95 + 0.5 * 40) / 358)
    everything = [
        (item(subset, 1, 1), [9.0], [1.0])
        for weights in SECTIONS["rewardbench"].values()
        for subset in weights
    ]
    found = scores_by_name(everything, "rewardbench")
    assert found["total", "all"]["score"] == 1.0 and found["total", "all"]["items"] == 23
    sizes = {name: sum(weights.values()) for name, weights in SECTIONS["rewardbench"].items()}
    assert sizes == {"Chat": 358, "Chat Hard": 456, "Safety": 740, "Reasoning": 1968}


def test_the_published_pairs_of_rewardbench_are_columns_of_text():
    row = {"prompt": "1+1?", "chosen": "2", "rejected": "3", "subset": "hep-go", "id": 7}
    answers, left_out = read_items("rewardbench", [Row("row 1", row)])
    assert [(a["response"], a["label"], a["id"]) for a in answers] == [("2", 10.0, "7"), ("3", 0.0, "7")]
    assert left_out == [] and all(is_benchmark_pair({"prompt_id": a["item"]}) for a in answers)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chosen": []}, "no list of chosen and of rejected answers"),
        ({"prompt": " "}, "a prompt or an answer that is not text that is not blank"),
        ({"rejected": ["w", None]}, "a prompt or an answer that is not text"),
        ({"subset": "Chat"}, "a subset that is none of rewardbench2"),
        ({"rejected": ["r0"]}, "an answer that is both chosen and rejected"),
        ({"subset": "Ties"}, "an id in the subset Ties that is not ref:N or tied:N"),
        ({"subset": "Ties", "id": "tied:3"}, "a tied item with fewer than two right answers"),
        ({}, "an earlier row is the same"),
    ],
)
def test_what_cannot_be_measured_is_left_out_with_its_reason(change, reason):
    rows = [Row("line 1", item("Math")), Row("line 2", item("Math") | change)]
    answers, left_out = read_items("rewardbench2", rows)
    assert left_out == [reason] and len(answers) == 4


def written(folder, name, rows):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def label(prompt):
    keys = {"prompt_id": prompt, "response_id": "r", "annotator": 0, "response": "x", "score": 5.0}
    return keys | {"prompt": prompt}


def test_items_whose_prompt_is_judged_are_left_out(tmp_path, capsys):
    write_table(tmp_path / "judge.parquet", "judge", [label("MATH  1?")])
    write_table(tmp_path / "heldout.parquet", "judge", [label("Math 2?")])
    source = written(tmp_path, "rb.jsonl", [item("Math", id_=str(i)) for i in range(4)])
    tables = [tmp_path / f"{name}.parquet" for name in ("judge", "heldout", "items")]
    read_reward_bench.main(*tables, name="rewardbench2", source=source)
    assert {row["prompt"] for row in read_answers(tables[2])} == {"Math 0?", "Math 3?"}
    printed = capsys.readouterr().out
    assert "left out 2: the prompt is in labels.judge" in printed and "items: Math 2" in printed
    with pytest.raises(InputError, match=r"judge.benchmark cannot be used(.|\n)*no such file"):
        read_reward_bench.main(*tables, name="rewardbench2", source=str(tmp_path / "no.jsonl"))


def test_four_judges_are_measured(tmp_path):
    """As an integer the second judge has a tie; an item that no judge could read does not count."""
    answers, _ = read_items("rewardbench2", [Row("1", item("Math", id_=str(i))) for i in range(3)])
    write_table(tmp_path / "items.parquet", "reward_bench", answers)
    shown = [a for a in answers if a["prompt"] != "Math 2?"]
    tables = [tmp_path / f"{name}.parquet" for name in ("base", "judge-seed", "judge")]
    for table, right, rating in zip(tables, (4.0, 5.4, None), (4, 5, 0), strict=True):
        rows = []
        for answer in shown:
            is_right = answer["label"] == RIGHT
            p = [0.0] * 11
            p[rating if is_right else 5] = 1.0
            score = right if is_right else 5.0
            keys = {"response_id": answer["response_id"], "prompt_id": answer["item"]}
            rows.append(keys | {"label": answer["label"], "score": score, "mass": 1.0, "p": p})
        write_table(table, "judge_score", rows)
    out = tmp_path / "reward_bench.csv"
    evaluate_reward_bench.main(
        tmp_path / "items.parquet", *tables, out, name="rewardbench2", seed=0, resamples=100
    )
    rows = read_csv_table(out, "reward_bench")
    assert [(row["judge"], row["score"], row["items"]) for row in rows] == [
        ("few-shot, integer", 0.0, 2),
        ("fine-tuned, integer", 0.25, 2),
        ("fine-tuned, real-valued", 1.0, 2),
        ("self-distilled, real-valued", 0.0, 2),
    ]


def test_a_run_that_names_rewardbench_is_measured_by_section(tmp_path, monkeypatch):
    """Others have no such job: test_faults.py: test_the_list_of_rules_is_complete."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["judge"]["benchmark"] = "rewardbench2:rb.jsonl"
    written(tmp_path, "rb.jsonl", [item("Math")])
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    with plan(tmp_path, "results/default/report.html", ["my.yaml"]) as dag:
        rules = [job.rule.name for job in dag.jobs]
    wanted = {"read_reward_bench": 1, "score_reward_bench": 3, "evaluate_reward_bench": 1}
    assert {name: rules.count(name) for name in wanted} == wanted


@pytest.mark.slow
def test_a_run_scores_each_answer_once_and_leaves_long_items_out(tmp_path):
    run = FastRun.make(tmp_path / "run")
    long = "long " * 5000  # the stand-in's tokens are characters, and a context has 20,000
    given = [item("Math"), item("Ties", 2, 1, "tied:0"), item("Focus", prompt=long)]
    written(run.folder, "rb.jsonl", given)
    run.config = merged(run.config, {"judge": {"benchmark": "rewardbench2:rb.jsonl"}})
    run.finish("results/small/evaluation/reward_bench.csv")
    answers = read_answers(run.path("seeds/reward_bench.parquet"))
    wanted = sorted(a["response_id"] for a in answers if a["subset"] != "Focus")
    for name in ("base", "judge-seed", "judge"):
        rows = read_table(run.path(f"judge/reward_bench/{name}.parquet"), "judge_score")
        assert sorted(row["response_id"] for row in rows) == wanted
        assert all(row["score"] is not None for row in rows)
    rows = read_csv_table(run.path("evaluation/reward_bench.csv"), "reward_bench")
    assert {row["name"] for row in rows} == {"Math", "Ties"} and len(rows) == 8
