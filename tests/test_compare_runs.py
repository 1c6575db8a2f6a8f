"""Tables that compare runs: differences by hand, and what is compared with what."""

import compare_runs
import fake_run
import pytest
import score_evaluation
import summarize_evaluation
from test_measures import judge_rows, response, write_judge_tables

from alma.csv_schemas import CSV_TABLES
from alma.csv_tables import read_csv_table, write_csv_table
from alma.tables import write_table

RUN = {"changes": {}, "judge": ["judge", "expected"]}


def write_evaluation(root, models, prompts="ab"):
    """A run whose models pass these checks and have these scores, by prompt: {model: [(passed, score)]}."""
    asked = [
        {"benchmark": "b", "prompt_id": p, "prompt": p, "category": None, "reference": None, "checks": "[]"}
        for p in prompts
    ]
    write_table(root / "eval.parquet", "eval", asked)
    files = []
    for name, told in models.items():
        rows = [response(p, *values, checkpoint=name) for p, values in zip(prompts, told, strict=True)]
        files.append(str(root / f"{name}.parquet"))
        write_table(files[-1], "evaluation", rows)
    summarize_evaluation.main(
        files,
        root / "eval.parquet",
        root / "summary.csv",
        seed=0,
        checkpoints=list(models),
        resamples=100,
    )
    return files


def write_selection(path, accuracy):
    """What the judge's choice is worth: pairs that it orders rightly by two truths, and another measure."""
    row = dict.fromkeys(CSV_TABLES["selection"].columns) | {"judge": "judge", "choice": "", "prompts": 9}
    row |= {"measure": "pair_accuracy", "kind": "all", "truth": "checks", "value": accuracy}
    rows = [row | {"truth": "human", "value": 0.1}, row | {"kind": "json", "value": 0.2}]
    rows += [
        row | {"measure": "quality", "value": 0.3},
        row | {"low": accuracy - 0.25, "high": accuracy + 0.25},
    ]
    write_csv_table(path, "selection", rows)
    return str(path)


def compare(root, heldout=None, **runs):
    """Rows of the table of these runs, the first of which is the main run."""
    fake_run.write_judges(root, fake_run.random.Random(0), prompts=5, pairs=0)
    write_judge_tables(root)
    results, told = [], []
    for name, (models, *prompts) in runs.items():
        files = write_evaluation(root / name, models, *prompts)
        results += files
        told.append(RUN | {"run": name, "results": len(files)})
    compare_runs.main(
        [str(root / name / "summary.csv") for name in runs],
        [str(root / "evaluation/judge.csv")] * len(runs),
        [write_selection(root / f"{name}-selection.csv", 0.5 + i / 8) for i, name in enumerate(runs)],
        results,
        [str(root / "judge/heldout/judge.parquet")] * len(runs) if heldout is None else heldout,
        root / "table.csv",
        seed=0,
        resamples=300,
        runs=told,
    )
    return read_csv_table(root / "table.csv", "ablation")


HALF, ALL, NONE = [True, False], [True, True], [False, False]


def test_differences_by_hand(tmp_path):
    main = {"base": [(NONE, 1.0)] * 2, "sft-0": [(HALF, 4.0)] * 2, "round-2": [(HALF, 5.0), (NONE, 3.0)]}
    variant = main | {"round-2": [(ALL, 7.0), (HALF, None)]}
    rows = compare(tmp_path, main=(main,), variant=(variant,))
    assert [(row["run"], row["checkpoint"], row["against"]) for row in rows] == [
        ("main", "sft-0", ""),
        ("main", "round-2", ""),
        ("variant", "sft-0", "sft-0"),
        ("variant", "round-2", "round-2"),
    ]
    assert rows[0]["vs_main_checks"] is None and rows[1]["vs_main_judge_low"] is None
    last = rows[-1]
    # Both prompts gain half of their checks: no resample can give anything else, however they differ.
    assert (last["vs_main_checks"], last["vs_main_checks_low"], last["vs_main_checks_high"]) == (
        0.5,
        0.5,
        0.5,
    )
    # The second prompt has no score on one side: one pair, and one pair has no interval.
    assert (last["vs_main_judge"], last["vs_main_judge_low"]) == (2.0, None)


def test_prompts_that_were_not_judged_count_for_checks_alone():
    mine = {p: response(p, ALL, 9.0) for p in "abc"}
    theirs = {p: response(p, HALF, 5.0) for p in "abc"}
    theirs["b"] |= score_evaluation.NOT_ASKED
    found = compare_runs.differences(mine, theirs, [0], 100)
    assert (found["vs_main_checks"], found["vs_main_judge"]) == (0.5, 4.0)
    unjudged = {p: row | score_evaluation.NOT_ASKED for p, row in theirs.items()}
    found = compare_runs.differences(mine, unjudged, [0], 100)
    assert (found["vs_main_checks"], found["vs_main_judge"]) == (0.5, None)


def test_accuracy_on_own_responses_is_by_the_checks_and_of_each_run(tmp_path):
    same = ({"sft-0": [(HALF, 5.0)] * 2},)
    rows = compare(tmp_path, main=same, other=same)
    told = {r["run"]: [r[f"own_accuracy{end}"] for end in ("", "_low", "_high")] for r in rows}
    assert told == {"main": [0.5, 0.25, 0.75], "other": [0.625, 0.375, 0.875]}


def test_a_run_without_selected_responses_has_no_accuracy_on_them():
    assert compare_runs.own_row([]) == {}


def test_pairing_is_by_prompt_and_not_by_place(tmp_path):
    answers = {"a": (ALL, 9.0), "b": (NONE, 1.0), "c": (HALF, 5.0)}
    main = {"sft-0": list(answers.values())}
    variant = {"sft-0": [answers[p] for p in "cab"]}
    rows = compare(tmp_path, main=(main, "abc"), variant=(variant, "cab"))
    assert [rows[1][f"vs_main_checks{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]
    assert [rows[1][f"vs_main_judge{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]


def test_a_final_model_is_compared_with_the_final_model(tmp_path):
    same = [(HALF, 5.0)] * 2
    three = {"sft-0": same, "round-2": same, "round-3": [(ALL, 6.0)] * 2}
    two = {"sft-0": same, "round-2": [(NONE, 4.0)] * 2}
    four = three | {"round-3": same, "round-4": [(ALL, 7.0)] * 2}
    rows = compare(tmp_path, main=(three,), two=(two,), four=(four,))
    found = {(r["run"], r["checkpoint"]): (r["against"], r["vs_main_checks"]) for r in rows}
    assert found["two", "round-2"] == ("round-3", -1.0)
    assert found["four", "round-3"] == ("round-3", -0.5)
    assert found["four", "round-4"] == ("round-3", 0.0)
    assert found["four", "round-2"] == ("round-2", 0.0)


def test_a_round_that_the_main_run_lacks_has_no_difference(tmp_path):
    same = [(HALF, 5.0)] * 2
    rows = compare(
        tmp_path,
        main=({"sft-0": same, "round-2": same},),
        more=({"sft-0": same, **{f"round-{r}": same for r in (2, 3, 4)}},),
    )
    assert [row["against"] for row in rows[2:]] == ["sft-0", "round-2", "", "round-2"]
    assert rows[4]["vs_main_checks"] is None and rows[5]["vs_main_checks"] == 0


@pytest.mark.parametrize(
    ("prompts", "passed"), [("ac", HALF), ("a", HALF), ("ab", [True])], ids=["other", "fewer", "other checks"]
)
def test_other_prompts_or_checks_leave_the_difference_empty(tmp_path, capsys, prompts, passed):
    main = {"sft-0": [(HALF, 5.0)] * 2}
    variant = {"sft-0": [(passed, 5.0)] * len(prompts)}
    rows = compare(tmp_path, main=(main,), variant=(variant, prompts))
    assert rows[1]["against"] == "sft-0"
    assert all(rows[1][name] is None for name in compare_runs.NO_DIFFERENCE)
    assert "variant, sft-0, b: other prompts than the main run" in capsys.readouterr().out


def heldout(path, scores):
    """Held-out scores of a judge, and a pair of the judge benchmark that does not count."""
    pair = [("pair:x", 10.0, 1.0, 0), ("pair:x", 0.0, 9.0, 0)]
    write_table(path, "judge_score", judge_rows(*[(*given, 5) for given in scores], *pair))
    return str(path)


def test_accuracy_of_the_judges_is_paired_by_prompt(tmp_path):
    labels = [("a", 2.0), ("a", 8.0), ("b", 3.0), ("b", 6.0), ("b", 6.0)]  # one pair of a, two of b
    tied = [(*label, score) for label, score in zip(labels, (4, 4, 3, 6, 6), strict=True)]
    wrong = [(*label, score) for label, score in zip(labels, (2, 8, 7, 4, 4), strict=True)]
    main, other = heldout(tmp_path / "m.parquet", tied), heldout(tmp_path / "o.parquet", wrong)
    fewer = heldout(tmp_path / "f.parquet", tied[:2])
    same = ({"sft-0": [(HALF, 5.0)] * 2},)
    rows = compare(tmp_path, heldout=[main, main, other, fewer], main=same, one=same, two=same, three=same)
    found = {r["run"]: [r[f"vs_main_judge_accuracy{end}"] for end in ("", "_low", "_high")] for r in rows}
    assert found["main"] == found["three"] == [None] * 3
    assert found["one"] == [0, 0, 0]
    # Half a pair of a is won and both pairs of b are lost, of three; a resample may hold a or b alone.
    assert found["two"] == [(0.5 - 2) / 3, -2 / 2, 0.5 / 1]
