"""The verdict of a run: every link in every state, from tables made by hand."""

import re
import xml.etree.ElementTree as ET

import check_judge
import gate_rounds
import pytest
import summary as end_of_run
import verdict as write_verdict
import yaml

from alma import verdict
from alma.csv_tables import CSV_TABLES, read_csv_table, write_csv_table
from alma.errors import InputError
from alma.tables import write_table
from alma.verdict import NO, NOT_MEASURED, UNCLEAR, YES
from alma.workflow.config import ROOT, merge
from alma.workflow.plan import plan

GOOD, BAD, SPANS = (0.1, 0.05, 0.2), (-0.1, -0.2, -0.05), (0.01, -0.1, 0.1)  # of a difference
EMPTY = (None, None, None)


def with_ends(name, measured):
    return dict(zip((name, f"{name}_low", f"{name}_high"), measured, strict=True))


def summary_row(checkpoint, benchmark="main", checked=100, **measured):
    """A row of summary.csv; what is not given is empty."""
    row = {"checkpoint": checkpoint, "benchmark": benchmark, "prompts": 120, "checked_prompts": checked}
    row["judge"] = "own"
    row["judge_prompts"] = measured.pop("asked", 90)
    for name in ("vs_sft", "vs_sft_judge", "vs_before", "vs_before_judge", "words_vs_sft"):
        row |= with_ends(name, measured.get(name, EMPTY))
    return row


def summary(sft=BAD, second=GOOD, third=GOOD, step=GOOD, words=(1.0, 0.9, 1.1), judged=False, **more):
    """A run of three rounds and two SFT checkpoints; `sft` is base minus SFT."""
    end = "_judge" if judged else ""
    return [
        summary_row("base", **{f"vs_sft{end}": sft}, **more),
        summary_row("sft-0", **more),
        summary_row("sft-1", **more),
        summary_row("round-2", **{f"vs_sft{end}": second}, **more),
        summary_row(
            "round-3", **{f"vs_sft{end}": third, f"vs_before{end}": step, "words_vs_sft": words}, **more
        ),
    ]


def judged(accuracy=(0.7, 0.6, 0.8), checkpoint="judge", kind="real-valued", benchmark="heldout", pairs=60):
    row = {"checkpoint": checkpoint, "kind": kind, "benchmark": benchmark, "pairs": pairs}
    return row | with_ends("accuracy", accuracy)


def selected(measure, measured, n=None, truth="checks", judge="judge", kind="all"):
    row = {"truth": truth, "judge": judge, "measure": measure, "kind": kind, "n": n, "choice": ""}
    return row | dict(zip(("value", "low", "high"), measured, strict=True)) | {"prompts": 40, "pairs": 300}


def selection(own=(0.7, 0.6, 0.8), choice=GOOD, length=GOOD):
    return [
        selected("pair_accuracy", own),
        selected("judge_minus_random", choice, n=8),
        selected("judge_minus_length", length, n=8) | {"choice": "shortest"},
    ]


def lengths(ratio=(1.0, 0.9, 1.1)):
    return [{"round": 2, "prompts": 20} | with_ends("ratio", ratio)]


def filters(*steps):
    return [{"filter": "f", "removed": removed, "kept": kept} for removed, kept in steps]


KEPT = filters((5, 95), (5, 90))
STATED = [{"kind": "any", "kept": 60}, {"kind": "json", "kept": 9}]


def all_rows(**changes):
    """The verdict of a run in which every link holds, but for the tables that are given; by link."""
    tables = {
        "summary": summary(),
        "judge": [judged()],
        "selection": selection(),
        "length": lengths(),
        "filters": KEPT,
        "quality": STATED,
        "seeds": (80, 100),
    }
    tables |= changes
    judge = verdict.judge_links(tables.pop("judge"), tables.pop("selection"), "judge", "expected", 8)
    rows = verdict.verdict(tables.pop("summary"), judge, **tables)
    found = {row["link"]: row for row in rows}
    assert len(found) == len(rows)
    return found


LINKS = (
    "rounds_made_the_model_better",
    "SFT_against_base",
    "judge_on_held-out_labels",
    "judge_on_own_responses",
    "choice_of_judge_against_random",
    "choice_of_judge_against_length",
    "round-2_against_SFT",
    "round-3_against_round-2",
    "round-3_against_SFT",
    "length_of_choice_in_round-2",
    "length_of_round-3_against_SFT",
    "prompts_kept_by_filters",
    "prompts_that_state_a_constraint",
)


def test_a_run_in_which_all_holds():
    rows = all_rows()
    assert tuple(rows) == LINKS
    assert {row["holds"] for row in rows.values()} == {YES}
    assert {row["advice"] for row in rows.values()} == {""}
    assert rows["rounds_made_the_model_better"]["says"] == (
        "The rounds made the model better: +0.10 [0.05, 0.20], round-3 minus the mean of sft-0 and sft-1 "
        "(checks passed on main, paired over 100 prompts)."
    )


# link: (its tables as a function of the measured figure, good, bad, spanning)
ABOVE_HALF = ((0.7, 0.6, 0.8), (0.4, 0.3, 0.5), (0.55, 0.45, 0.65))
BAND = ((0.9, 0.8, 1.25), (1.5, 1.26, 1.8), (1.2, 1.1, 1.3))
DIFFERENCE = (GOOD, BAD, SPANS)
CASES = {
    "SFT_against_base": (lambda m: {"summary": summary(sft=verdict.negated(m))}, *DIFFERENCE),
    "judge_on_held-out_labels": (lambda m: {"judge": [judged(m)]}, *ABOVE_HALF),
    "judge_on_own_responses": (lambda m: {"selection": selection(own=m)}, *ABOVE_HALF),
    "choice_of_judge_against_random": (lambda m: {"selection": selection(choice=m)}, *DIFFERENCE),
    "choice_of_judge_against_length": (lambda m: {"selection": selection(length=m)}, *DIFFERENCE),
    "round-2_against_SFT": (lambda m: {"summary": summary(second=m)}, *DIFFERENCE),
    "round-3_against_round-2": (lambda m: {"summary": summary(step=m)}, *DIFFERENCE),
    "round-3_against_SFT": (lambda m: {"summary": summary(third=m)}, *DIFFERENCE),
    "rounds_made_the_model_better": (lambda m: {"summary": summary(third=m)}, *DIFFERENCE),
    "length_of_choice_in_round-2": (lambda m: {"length": lengths(m)}, *BAND),
    "length_of_round-3_against_SFT": (lambda m: {"summary": summary(words=m)}, *BAND),
}


@pytest.mark.parametrize("link", CASES)
def test_every_state_of_every_link(link):
    tables, *figures = CASES[link]
    for measured, holds in zip([*figures, EMPTY], (YES, NO, UNCLEAR, NOT_MEASURED), strict=True):
        rows = all_rows(**tables(measured))
        row = rows[link]
        assert row["holds"] == holds, measured
        assert (row["value"], row["low"], row["high"]) == measured
        assert bool(row["advice"]) == (holds != YES)
        opening = {UNCLEAR: "It is not clear whether ", NOT_MEASURED: "It was not measured whether "}
        if link != "rounds_made_the_model_better":
            assert row["says"].startswith(opening.get(holds, ("The ", "round-")))
            assert (" not " in row["says"] or " no better " in row["says"]) == (holds != YES)
            others = {r["holds"] for name, r in rows.items() if name not in (link, LINKS[0])}
            assert others <= {YES, NOT_MEASURED}, "one figure decides one link"
    assert set(CASES) == set(LINKS) - {link for link in LINKS if link.startswith("prompts")}


def test_an_interval_that_ends_at_the_threshold_is_not_above_it():
    assert verdict.above(0.0, 0.1, 0.0) == UNCLEAR and verdict.above(1e-9, 0.1, 0.0) == YES
    assert verdict.above(0.5, 0.5, 0.5) == NO, "a judge that gives one score for all"
    assert verdict.within(0.8, 1.25, 1.25) == YES and verdict.within(1.25, 1.3, 1.25) == UNCLEAR
    assert verdict.within(0.5, 0.7, 1.25) == NO, "a taste for short responses"
    assert verdict.above(None, None, 0.5) == verdict.within(None, None, 1.25) == UNCLEAR


def test_the_share_of_prompts_kept():
    def row(table):
        return all_rows(filters=table, quality=[])["prompts_kept_by_filters"]

    assert row(KEPT)["value"] == pytest.approx(0.9) and row(KEPT)["low"] < 0.9 < row(KEPT)["high"]
    assert row(filters((80, 20), (10, 10)))["holds"] == NO
    assert row(filters((5, 5)))["holds"] == UNCLEAR
    assert row([])["holds"] == row(filters((0, 0)))["holds"] == NOT_MEASURED
    table = filters((20, 80), (50, 30))
    table[1]["filter"] = "no_constraint"  # these are not asked for
    assert row(table)["value"] == pytest.approx(30 / 50)
    assert "30 of 50, without 50 that state no constraint" in row(table)["says"]


def test_new_prompts_state_constraints_half_as_often_as_the_seeds():
    def row(stating, seeds=(80, 100), **more):
        quality = [{"kind": "any", "kept": stating}]
        return all_rows(quality=quality, seeds=seeds, **more)["prompts_that_state_a_constraint"]

    assert row(60)["value"] == pytest.approx(60 / 90) and row(60)["threshold"] == pytest.approx(0.4)
    assert [row(stating)["holds"] for stating in (60, 20, 36)] == [YES, NO, UNCLEAR]
    assert "in 20 of 90, and in 80 of 100 of the seeds" in row(20)["says"]
    open_ended = row(20, seeds=(9, 100))
    assert open_ended["holds"] == NOT_MEASURED and open_ended["advice"] == ""
    assert "9 of 100 of those state one" in open_ended["says"]
    assert row(0, seeds=(0, 0))["holds"] == row(0, filters=[])["holds"] == NOT_MEASURED


# what is compared


def test_the_main_benchmark_has_the_most_prompts_with_checks():
    rows = [summary_row("base", name, checked) for name, checked in (("b", 9), ("a", 30), ("c", 30))]
    assert verdict.main_benchmark(rows) == ("a", True)
    none = [summary_row("base", name, 0) | {"prompts": size} for name, size in (("b", 9), ("c", 12))]
    assert verdict.main_benchmark(none) == ("c", False)


def test_the_last_round_is_told_of_on_every_other_benchmark_with_checks():
    other = [summary_row("base", "hard", 20), summary_row("round-2", "hard", 20, vs_sft=GOOD)]
    other += [summary_row("round-3", "hard", 20, vs_sft=BAD), summary_row("round-3", "open", 0)]
    rows = all_rows(summary=[*summary(), *other])
    assert set(rows) - set(LINKS) == {"round-3_against_SFT_on_hard"}
    assert rows["round-3_against_SFT_on_hard"]["holds"] == NO
    assert rows[verdict.OVERALL]["holds"] == YES, "the main benchmark decides"


def test_without_checks_the_judge_grades_itself_and_the_verdict_says_so():
    rows = all_rows(summary=summary(judged=True, checked=0))
    for link in ("SFT_against_base", "round-2_against_SFT", "round-3_against_round-2", verdict.OVERALL):
        assert rows[link]["holds"] == YES
        assert (
            "by the judge that chose the training data, which so grades its own choice" in rows[link]["says"]
        )
    assert "round-3 has a better score than" in rows["round-3_against_SFT"]["says"]


def test_without_checks_and_scores_the_gain_is_not_measured_and_the_key_is_named():
    rows = all_rows(
        summary=[
            row | {"judge_prompts": 0}
            for row in summary(sft=EMPTY, second=EMPTY, third=EMPTY, step=EMPTY, judged=True, checked=0)
        ]
    )
    for link in ("SFT_against_base", "round-2_against_SFT", "round-3_against_round-2", verdict.OVERALL):
        assert rows[link]["holds"] == NOT_MEASURED
        assert "no benchmark has checks, and the judge was asked for no score" in rows[link]["says"]
        assert rows[link]["advice"] == verdict.ADVICE["unscored"]
    rows = all_rows(summary=[row | {"judge_prompts": 0} for row in summary()])
    assert rows[verdict.OVERALL]["holds"] == YES, "checks need no judge"


def test_a_score_is_told_with_the_prompts_that_were_judged():
    row = all_rows(summary=summary(judged=True, checked=0, asked=40))["round-3_against_SFT"]
    assert "paired over 40 prompts, by the judge" in row["says"]


def test_one_sft_checkpoint_and_one_judged_round():
    rows = [row for row in summary() if row["checkpoint"] in ("base", "sft-0", "round-2")]
    found = all_rows(summary=rows)
    assert [link for link in found if link.startswith("round-")] == ["round-2_against_SFT"]
    assert "round-2 minus sft-0 (checks passed" in found[verdict.OVERALL]["says"]


def test_a_run_without_rounds_has_no_gain_to_tell():
    rows = [row for row in summary() if row["checkpoint"] in ("base", "sft-0")]
    row = all_rows(summary=rows, length=[])[verdict.OVERALL]
    assert row["holds"] == NOT_MEASURED and row["value"] is None
    assert row["says"] == "This run has no judged rounds: it ends with the SFT."


def test_only_the_judge_that_selects_counts():
    others = [judged(BAD, "judge-seed"), judged(BAD, kind="integer"), judged(BAD, benchmark="pairs")]
    assert all_rows(judge=[*others, judged()])["judge_on_held-out_labels"]["holds"] == YES
    pairs = judged(benchmark="pairs")
    row = all_rows(judge=[judged(EMPTY, pairs=0), pairs])["judge_on_held-out_labels"]
    assert row["holds"] == YES and "the pairs of judge.benchmark" in row["says"]
    row = all_rows(judge=others[:2])["judge_on_held-out_labels"]
    assert row["holds"] == NOT_MEASURED and "judge.csv has no pairs for judge with judge.score" in row["says"]
    seed = verdict.judge_links([judged(), *others], selection(), "judge-seed", "expected", 8)
    assert [row["holds"] for row in seed] == [NO, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED]


def test_the_choice_is_of_as_many_as_the_rounds_choose_from_or_fewer():
    table = [selected("judge_minus_random", GOOD, n=n) for n in (1, 2, 4)]
    table += [selected("judge_minus_random", BAD, n=16), selected("judge_minus_random", BAD, 8, kind="json")]
    row = all_rows(selection=table)["choice_of_judge_against_random"]
    assert row["holds"] == YES and "best of 4, 40 prompts" in row["says"]


def test_the_choice_by_length_is_named():
    table = [selected("judge_minus_length", BAD, n=4) | {"choice": "longest"}]
    row = all_rows(selection=table)["choice_of_judge_against_length"]
    assert row["says"].startswith("The judge's choice is no better than always taking the longest (checks")
    assert row["holds"] == NO and "labels.judge" in row["advice"]


def test_human_scores_are_the_truth_of_a_choice_where_there_are_no_checks():
    human = [selected(m, GOOD, n, "human") for m, n in (("pair_accuracy", None), ("judge_minus_random", 4))]
    rows = all_rows(selection=human)
    assert "human scores, best of 4" in rows["choice_of_judge_against_random"]["says"]
    assert rows["judge_on_own_responses"]["holds"] == NOT_MEASURED, "people scored what was held out"
    rows = all_rows(selection=[*human, *selection(choice=BAD)])
    assert rows["choice_of_judge_against_random"]["holds"] == NO


# the overall sentence


def test_the_first_weak_link_is_the_first_that_does_not_hold_then_the_first_unclear():
    def weak(**tables):
        row = all_rows(summary=summary(third=SPANS, second=BAD), **tables)[verdict.OVERALL]
        assert row["says"].startswith("The rounds did not show a gain: +0.01 [-0.10, 0.10], round-3 minus")
        return row["says"].partition("(checks passed on main, paired over 100 prompts). ")[2], row["advice"]

    unclear = {"judge": [judged((0.55, 0.45, 0.65))]}
    told, advice = weak(**unclear, selection=selection(own=(0.51, 0.47, 0.5)))
    assert told == "The first weak link is judge on own responses: 0.510 [0.470, 0.500], expected above 0.5."
    assert advice == verdict.ADVICE["own"]
    told, advice = weak(**unclear, length=lengths((1.2, 1.1, 1.3)))
    assert told.startswith("The first weak link is judge on held-out labels: 0.55 [0.45, 0.65]")
    told, _ = weak(length=lengths((1.5, 1.3, 1.7)))
    assert told.endswith("length of choice in round-2: 1.50 [1.30, 1.70], expected between 0.8 and 1.25.")
    assert weak() == ("No link before it is weak.", verdict.ADVICE["round"])


def test_a_loss_is_called_one():
    row = all_rows(summary=summary(third=BAD))[verdict.OVERALL]
    assert row["says"].startswith("The rounds did not make the model better: -0.10 [-0.20, -0.05],")


def test_figures_for_people():
    row = {"value": -0.004, "low": -0.0449, "high": 0.038, "threshold": 0.0}
    assert verdict.figure(row) == "0.00 [-0.04, 0.04]"
    assert verdict.figure(row | {"value": 0.06, "low": 0.004}) == "+0.060 [0.004, 0.038]", (
        "on which side of 0"
    )
    assert verdict.figure(row | {"low": None, "high": None, "value": 0.06}) == "+0.06"
    assert verdict.figure({"value": 0.5, "low": 0.4, "high": 0.61, "threshold": 0.5}) == "0.50 [0.40, 0.61]"
    assert verdict.figure(row | {"value": None}) == ""


# the gate


def problems(judge=None, table=None):
    judge, table = judge or [judged()], selection() if table is None else table
    return verdict.gate_problems(verdict.judge_links(judge, table, "judge", "expected", 8))


def test_the_gate_lets_a_judge_pass_that_orders_own_responses_rightly():
    assert problems() == []
    assert problems(judge=[judged((0.4, 0.3, 0.5))]) == [], "own responses decide where they were measured"
    assert problems(table=selection(choice=SPANS)) == [], "the value of the choice is above 0"


def test_the_gate_names_what_is_wrong_and_what_to_do():
    (line,) = problems(table=selection(own=(0.505, 0.47, 0.54)))
    assert line.startswith(
        "judge on own responses: 0.51 [0.47, 0.54], expected above 0.5 with its whole interval."
    )
    assert verdict.ADVICE["own"] in line
    (line,) = problems(table=selection(choice=(0.0, -0.1, 0.1)))
    assert line.startswith("choice of judge against random: 0.00 [-0.10, 0.10], expected above 0.")


def test_the_gate_falls_back_on_held_out_labels_and_asks_for_one_of_the_two():
    assert problems(table=[]) == []
    (line,) = problems(judge=[judged((0.55, 0.45, 0.65))], table=[])
    assert line.startswith("judge on held-out labels: 0.55")
    (line,) = problems(judge=[judged(pairs=0)], table=[])
    assert line.count("It was not measured whether") == 2


# as people read it


def rows_of_a_run_in_doubt():
    return list(all_rows(summary=summary(third=SPANS), selection=selection(own=(0.5, 0.47, 0.5))).values())


def test_the_end_of_a_run_tells_the_verdict_first_and_every_link():
    rows = rows_of_a_run_in_doubt()
    lines = end_of_run.verdict_lines(rows)
    assert lines[0].startswith("Verdict: The rounds did not show a gain: +0.01 [-0.10, 0.10], ")
    assert lines[1] == f"What to do: {verdict.ADVICE['own']}"
    assert lines[2].split() == ["link", "holds", "figure,", "95%", "interval", "expected"]
    assert [line.split("  ")[1] for line in lines[3:]] == [verdict.title(row) for row in rows[1:]]
    own = next(line for line in lines if line.startswith("  judge on own"))
    assert re.split(r" {2,}", own.strip()) == [
        "judge on own responses",
        "no",
        "0.500 [0.470, 0.500]",
        "above 0.5",
    ]
    assert end_of_run.verdict_lines([]) == []
    assert len(end_of_run.verdict_lines(list(all_rows().values()))) == 1 + len(LINKS), "nothing to do"


def test_the_page_reads_without_color_and_escapes_all_text():
    rows = rows_of_a_run_in_doubt()
    rows[2] |= {"says": "<script>alert(1)</script>"}
    page = write_verdict.fragment(rows)
    assert "<script>" not in page and "&lt;script&gt;" in page
    for row in rows:
        assert verdict.figure(row) in page
        if row is not rows[0]:
            assert f"{write_verdict.LOOKS[row['holds']][0]} {row['holds']}</b>" in page
    assert len({sign for sign, _, _ in write_verdict.LOOKS.values()}) == 4
    assert page.index("The rounds did not show a gain") < page.index("<table>")
    assert page.count("<tr>") == page.count("</tr>") == len(rows)
    ET.fromstring(page)


def write_tables(folder, **changes):
    """The tables of a run as they are declared, with only the columns of a link filled in."""
    tables = {
        "summary": summary(),
        "judge": [judged()],
        "selection": selection(),
        "length": lengths(),
        "prompt_filters": KEPT,
        "prompt_quality": STATED,
    }
    for name, rows in (tables | changes).items():
        blank = {column: blank_cell(kind) for column, (kind, _) in CSV_TABLES[name].columns.items()}
        write_csv_table(folder / f"{name}.csv", name, [blank | row for row in rows])


def check_the_judge(folder):
    tables = [folder / f"{name}.csv" for name in ("judge", "selection", "gate")]
    return check_judge.main(*tables, checkpoint="judge", score="expected", samples_per_prompt=8)


def test_the_scripts_take_their_figures_from_the_tables(tmp_path):
    write_tables(tmp_path)
    assert check_the_judge(tmp_path) == ""
    made = tmp_path / "verdict.csv", tmp_path / "verdict.html"
    names = ("summary", "gate", "length", "prompt_filters", "prompt_quality")
    first, gate, length, *prompts = [tmp_path / f"{name}.csv" for name in names]
    texts = ["Name three rivers in one sentence.", "Why is the sky blue?", "Write two sentences on bees."]
    texts += ["Describe a forest in one sentence.", texts[0], "Reply in two sentences: what is a lake?"]
    pairs = [
        {
            "prompt_id": text,
            "prompt": [{"role": "user", "content": "Hi."}, {"role": "user", "content": text}],
            "completion": [{"role": "assistant", "content": "Fine."}],
            "category": None,
        }
        for text in texts
    ]
    write_table(tmp_path / "sft.parquet", "sft", pairs)
    write_verdict.main(first, gate, [str(length)], *prompts, tmp_path / "sft.parquet", *made)
    rows = read_csv_table(made[0], "verdict")
    told = ("link", "says", "holds", "advice")
    expected = [[row[key] for key in told] for row in all_rows(seeds=(4, 5)).values()]
    assert [[row[key] for key in told] for row in rows] == expected
    assert "The rounds made the model better: +0.10" in made[1].read_text()


def test_a_judge_at_chance_warns_and_stops_the_rounds_only_under_stop(tmp_path):
    write_tables(tmp_path, selection=selection(own=(0.505, 0.47, 0.54), choice=BAD))
    warning = check_the_judge(tmp_path)
    assert warning.startswith(
        "WARNING: the judge that chooses the rounds' training data is not fit for it:\n"
    )
    assert "judge on own responses: 0.51 [0.47, 0.54], expected above 0.5" in warning
    passed = tmp_path / "gate.txt"
    with pytest.raises(InputError) as caught:
        gate_rounds.main(tmp_path / "gate.csv", passed)
    message = str(caught.value)
    assert str(tmp_path / "gate.csv") in message and "judge.gate is stop" in message
    assert "judge on own responses: 0.51" in message and "choice of judge against random: -0.10" in message
    assert verdict.ADVICE["own"] in message and not passed.exists()
    gate_rounds.main(None, passed)
    warned = passed.read_bytes()
    write_tables(tmp_path)
    check_the_judge(tmp_path)
    gate_rounds.main(tmp_path / "gate.csv", passed)
    assert passed.read_bytes() == warned, "a change of the key makes no round again"


def jobs_planned(tmp_path, monkeypatch, gate):
    """{rule: its jobs} of the whole run under `judge.gate: gate`."""
    config = merge(yaml.safe_load((ROOT / "config.yaml").read_text()), {"judge": {"gate": gate}})
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    jobs: dict[str, list] = {}
    with plan(tmp_path, "results/default/report.html", ["my.yaml"]) as dag:
        for job in dag.jobs:
            needed = {other.rule.name for other in dag.bfs(dag.dependencies, job)}
            inputs = [str(path) for path in job.input]
            jobs.setdefault(job.rule.name, []).append((inputs, needed, list(job.non_derived_params)))
    return jobs


def test_the_rounds_wait_for_the_judge_under_stop_alone(tmp_path, monkeypatch):
    warn = jobs_planned(tmp_path, monkeypatch, "warn")
    stop = jobs_planned(tmp_path, monkeypatch, "stop")
    assert warn["gate_rounds"] == [([], {"gate_rounds"}, warn["gate_rounds"][0][2])]
    assert {"check_judge", "measure_selection", "evaluate_judge"} <= stop["gate_rounds"][0][1]
    first = [needed for inputs, needed, _ in warn["sample_responses"] if "rounds/2" in inputs[-2]]
    assert first and all("gate_rounds" in needed and "check_judge" not in needed for needed in first)
    assert all("check_judge" in needed for _, needed, _ in stop["sample_responses"])
    assert "check_judge" in warn["verdict"][0][1], "the warning is given in any case"
    for rule, jobs in warn.items():
        if rule != "gate_rounds":
            assert sorted(i for i, _, _ in jobs) == sorted(i for i, _, _ in stop[rule]), rule
            assert sorted(p for _, _, p in jobs) == sorted(p for _, _, p in stop[rule]), rule


def blank_cell(kind):
    return {int: 0, float: 0.0, str: ""}.get(kind)


def test_the_document_explains_every_link_and_its_threshold():
    page = (ROOT / "docs" / "verdict.md").read_text().partition("## The links")[2]
    named = set(re.findall(r"^\| `([^`]+)` \|", page, flags=re.M))
    patterns = {link.replace("round-2", "round-N").replace("round-3", "round-N") for link in LINKS}
    assert named == patterns | {"round-N_against_SFT_on_BENCHMARK"}
    assert f"{1 / verdict.LENGTH_BAND} and {verdict.LENGTH_BAND}" in page
    assert f"above {verdict.PROMPTS_KEPT}" in page and f"above {verdict.GUESSING}" in page
