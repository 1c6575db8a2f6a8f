"""Figures, tables to read, the summary and the chat, from made-up tables."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import escape
from pathlib import Path

import build_dataset
import chat
import evaluate_judge
import fake_run
import list_candidates
import measure_round
import measure_selection
import numpy as np
import plot_checks
import plot_judge
import plot_length
import plot_progress
import plot_prompt_filters
import plot_prompts
import plot_scores
import plot_selection
import plot_training
import polars as pl
import pytest
import read_seeds
import render_report
import summarize_evaluation
import summary
import warm
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_texts import written_rules

from alma.clustering import write_embeddings
from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.statistics import spearman
from alma.tables import assistant, read_table, read_tables, user, write_table
from alma.workflow.config import ROOT

REPOSITORY = Path(__file__).resolve().parent.parent
ROUNDS = tuple(fake_run.SAMPLED)
FIGURES = {
    "progress": ("Share of checks passed", "mean score (0-10)", "mean words", "checkpoint"),
    "checks": ("Checks passed by kind of check", "share passed (numbers: percent)", "code (36)"),
    "judge": ("Pairwise accuracy", "mean human score (0-10)", "few-shot, integer"),
    "selection": (
        "share of checks passed (0-1)",
        "human score (0-10)",
        "n, responses to choose from",
        "judge",
    ),
    "scores": ("Scores of the candidates, and of the chosen responses", "judge score (0-10)", "chosen"),
    "length": ("mean words per response", "words of chosen / words of pool", "round"),
    "prompts": ("120 prompts in 12 clusters", "largest clusters"),
    "training": ("optimizer step", "training loss (thick: mean of the last five)"),
    "prompt_filters": ("prompts", "evaluation overlap", "285 kept, 6 removed"),
}


def measure(root, round_, samples=8):
    names = fake_run.SAMPLED[round_]
    folder, tables = root / f"rounds/{round_}", root / f"tables/rounds/{round_}"
    measure_round.main(
        [str(folder / "prompts/0.parquet")],
        [str(folder / f"samples/{name}/0-0.parquet") for name in names],
        [str(folder / f"scores/{name}/0-0.parquet") for name in names],
        [str(folder / "selected/0.parquet")],
        *[tables / f"{name}.csv" for name in ("scores", "length", "candidates")],
        round_=round_,
        checkpoints=list(names),
        samples_per_prompt=samples,
        seed=0,
        resamples=200,
    )


def make_everything(root):
    """All tables, figures and pages of a fake run, as the rules make them."""
    checkpoints = list(fake_run.CHECKPOINTS)
    results = [str(root / f"evaluation/{c}/everyday.parquet") for c in checkpoints]
    asked = root / "seeds/eval.parquet"
    summarize_evaluation.main(
        results, asked, root / "evaluation/summary.csv", seed=0, checkpoints=checkpoints, resamples=200
    )
    judges = [root / f"judge/heldout/{name}.parquet" for name in ("base", "judge-seed", "judge")]
    tables = root / "evaluation/judge.csv", root / "tables/judge_calibration.csv"
    evaluate_judge.main(*judges, *tables, seed=0, resamples=200)
    measure_selection.main(
        asked,
        *[root / f"evaluation/selection/{name}.parquet" for name in ("responses", "scores")],
        *[root / "seeds/judge_heldout.parquet", root / "judge/heldout/judge.parquet"],
        root / "evaluation/selection.csv",
        **{"seed": 0, "resamples": 200, "judge": "judge", "score": "expected", "tie_tolerance": 1e-6},
    )
    for round_ in ROUNDS:
        measure(root, round_)

    def rounds(name):
        return [str(root / f"tables/rounds/{round_}/{name}.csv") for round_ in ROUNDS]

    def svg(name):
        return root / f"figures/{name}.svg"

    plot_progress.main(root / "evaluation/summary.csv", svg("progress"))
    plot_checks.main(results, asked, root / "tables/checks.csv", svg("checks"), checkpoints=checkpoints)
    plot_judge.main(*tables, svg("judge"))
    plot_selection.main(root / "evaluation/selection.csv", svg("selection"))
    plot_scores.main(rounds("scores"), root / "tables/scores.csv", svg("scores"))
    plot_length.main(rounds("length"), root / "tables/length.csv", svg("length"))
    plot_prompt_filters.main(root / "tables/prompt_filters.csv", svg("prompt_filters"))
    embeddings = [str(root / f"prompts/embeddings/{shard}.parquet") for shard in (0, 1)]
    plot_prompts.main(embeddings, root / "prompts/clusters.parquet", svg("prompts"))
    curves = [str(root / f"tables/training/{name}.csv") for name in fake_run.TRAINED]
    plot_training.main(curves, svg("training"), checkpoints=list(fake_run.TRAINED))
    page = root / "tables/candidates.csv", root / "tables/candidates.html"
    list_candidates.main(rounds("candidates"), *page)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A fake run, made once; the root is results/default in a folder of its own. Read-only."""
    root = fake_run.write_run(tmp_path_factory.mktemp("run") / "results" / "default")
    make_everything(root)
    return root


# figures


@pytest.mark.parametrize("name", FIGURES)
def test_figures_have_title_and_axes(run, name):
    path = run / f"figures/{name}.svg"
    texts = {"".join(node.itertext()) for node in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    assert set(FIGURES[name]) <= texts
    assert path.stat().st_size < 200_000


def test_the_same_tables_give_the_same_bytes(run, tmp_path):
    root = tmp_path / "results" / "default"
    shutil.copytree(run, root, ignore=shutil.ignore_patterns("figures", "rounds.csv"))
    make_everything(root)
    made = sorted(p.relative_to(run) for p in run.rglob("*") if p.suffix in {".svg", ".csv", ".html"})
    assert len(made) > 20
    for path in made:
        assert (root / path).read_bytes() == (run / path).read_bytes(), path


def test_figures_hold_no_time_and_no_path(run):
    assert {path.stem for path in (run / "figures").glob("*.svg")} == set(FIGURES)
    for path in (run / "figures").glob("*.svg"):
        assert "<dc:date>" not in path.read_text()
        assert str(run) not in path.read_text()


def test_figures_of_almost_nothing(tmp_path):
    """No checks, no scores, one round, one prompt: every figure still says what is missing."""
    rows = [{**row, "passed": [], "score": None} for row in evaluation_rows(tmp_path)]
    path = tmp_path / "evaluation/base/everyday.parquet"
    write_table(path, "evaluation", rows)
    prompts = [
        {**row, "checks": "[]", "category": None}
        for row in read_table(tmp_path / "seeds/eval.parquet", "eval")
    ]
    write_table(tmp_path / "seeds/eval.parquet", "eval", prompts)
    arguments = [str(path)], tmp_path / "seeds/eval.parquet"
    summarize_evaluation.main(
        *arguments, tmp_path / "summary.csv", seed=0, checkpoints=["base"], resamples=100
    )
    plot_progress.main(tmp_path / "summary.csv", tmp_path / "a.svg")
    plot_checks.main(*arguments, tmp_path / "checks.csv", tmp_path / "b.svg", checkpoints=["base"])
    assert "nothing was measured" in (tmp_path / "a.svg").read_text()
    assert "no prompt has checks" in (tmp_path / "b.svg").read_text()
    assert (tmp_path / "checks.csv").read_text().count("\n") == 1

    write_embeddings(tmp_path / "e.parquet", ["a"], np.array([[1.0, 2.0]]))
    cluster = {"prompt_id": "a", "cluster": 0, "rank": 0, "distance": 0.0}
    write_table(tmp_path / "c.parquet", "cluster", [cluster])
    plot_prompts.main([str(tmp_path / "e.parquet")], tmp_path / "c.parquet", tmp_path / "d.svg")
    assert "1 prompts in 1 clusters" in (tmp_path / "d.svg").read_text()


def evaluation_rows(root):
    fake_run.write_evaluation(root, fake_run.random.Random(0), 4, "everyday")
    return read_table(root / "evaluation/base/everyday.parquet", "evaluation")


# measures of a round


def test_round_tables_agree_with_the_rows(run):
    names = fake_run.SAMPLED[3]
    folder = run / "rounds/3"
    scores = read_tables([folder / f"scores/{name}/0-0.parquet" for name in names], "score")
    by_id = {row["response_id"]: row["score"] for row in scores}
    selected = read_table(folder / "selected/0.parquet", "selected")

    table = read_csv_table(run / "tables/rounds/3/scores.csv", "scores")
    assert [row["source"] for row in table] == [*names, "chosen"]
    assert sum(int(row["responses"]) for row in table[:-1]) == len(scores)
    assert sum(int(row["unreadable"]) for row in table[:-1]) == sum(r["score"] is None for r in scores)
    mean = sum(row["chosen_score"] for row in selected) / len(selected)
    assert float(table[-1]["mean"]) == pytest.approx(mean, rel=1e-5)

    candidates = read_csv_table(run / "tables/rounds/3/candidates.csv", "candidates")
    assert len(candidates) == len(scores)
    chosen = {row["response_id"] for row in candidates if row["verdict"] == "chosen"}
    assert chosen == {row["chosen_id"] for row in selected}
    for row in candidates:
        assert row["score"] is None or row["score"] == pytest.approx(by_id[row["response_id"]], rel=1e-5)


def small_round(root, texts):
    """A round of one prompt, whose responses have these words and scores; the longest wins."""
    folder = root / "rounds/2"
    keys = {"prompt_id": "p", "prompt": "Say something.", "source": "synthetic", "examples": [], "cluster": 0}
    keys["checks"] = "[]"
    write_table(folder / "prompts/0.parquet", "round_prompt", [keys])
    responses, scores = [], []
    for sample, (words, score, finish) in enumerate(texts):
        responses.append(
            {
                "prompt_id": "p",
                "response_id": f"r{sample}",
                "checkpoint": "sft-0",
                "sample": sample,
                "seed": 0,
                "response": " ".join(f"w{sample}" for _ in range(words)),
                "finish_reason": finish,
                "tokens": 2 * words,
            }
        )
        row = {"response_id": f"r{sample}", "prompt_id": "p"}
        scores.append(row | {"score": score, "mass": 1.0, "p": [0.0] * 11})
    best = max((s for s in range(len(texts)) if texts[s][2] == "stop"), key=lambda s: texts[s][1])
    chosen = {
        "prompt_id": "p",
        "prompt": "Say something.",
        "chosen": responses[best]["response"],
        "chosen_score": texts[best][1],
        "chosen_id": f"r{best}",
        "rejected": None,
        "rejected_score": None,
        "rejected_id": None,
        "candidates": len(texts),
    }
    write_table(folder / "samples/sft-0/0-0.parquet", "response", responses)
    write_table(folder / "scores/sft-0/0-0.parquet", "score", scores)
    for name, kind in (("samples", "response"), ("scores", "score")):
        write_table(folder / f"{name}/sft-1/0-0.parquet", kind, [])
    write_table(folder / "selected/0.parquet", "selected", [chosen])


def test_the_length_ratio_has_an_interval_over_prompts():
    chosen = pl.DataFrame({key: [10, 20, 12] for key in ("words", "tokens")})
    chosen = chosen.with_columns(pool_words=10.0, pool_tokens=10.0)
    sampled = pl.DataFrame({"words": [10], "finish_reason": ["stop"]})
    row = measure_round.length_row(chosen, sampled, pl.Series([0.5]), 0, 300)
    assert row["ratio"] == pytest.approx(1.4)
    assert 1.0 <= row["ratio_low"] < 1.4 < row["ratio_high"] <= 2.0


def test_quantiles_of_the_scores_by_hand():
    row = measure_round.score_row("sft-0", pl.Series([*map(float, range(100, -1, -1)), None]))
    assert row == {
        "source": "sft-0",
        "responses": 102,
        "unreadable": 1,
        "mean": 50.0,
        **{"p05": 5.0, "p25": 25.0, "p50": 50.0, "p75": 75.0, "p95": 95.0},
    }
    empty = measure_round.score_row("sft-0", pl.Series([None, None], dtype=pl.Float64))
    assert (empty["responses"], empty["unreadable"], empty["mean"], empty["p50"]) == (2, 2, None, None)


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([0.5, 1.0, 1.25, 9.0]), st.integers(0, 4)), max_size=9), max_size=4
    )
)
def test_rank_correlations_are_scipys(prompts):
    rows = [(place, *row) for place, group in enumerate(prompts) for row in group]
    schema = {"place": pl.UInt32, "score": pl.Float64, "words": pl.Int32}
    found = measure_round.rank_correlations(pl.DataFrame(rows, schema=schema, orient="row")).rows()
    by_hand = [
        (place, spearman(*zip(*group, strict=True)) if group else None) for place, group in enumerate(prompts)
    ]
    expected = [(place, value) for place, value in by_hand if value is not None]
    assert [place for place, _ in found] == [place for place, _ in expected]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected], abs=1e-12)


def test_candidates_are_read_from_the_best_to_the_unreadable():
    scores = [None, 0.0, 7.0, 2.0, 7.0]
    rows = pl.DataFrame(
        {"response_id": [f"r{i}" for i in range(5)], "sample": range(5), "score": scores}
    ).with_columns(
        place=0, checkpoint=pl.lit("sft-0"), finish_reason=pl.lit("stop"), tokens=3, response=pl.lit("x")
    )
    prompt = pl.DataFrame({"place": [0], "prompt_id": ["p"], "prompt": ["Say something."]})
    selected = pl.DataFrame({"chosen_id": ["r2"], "rejected_id": ["r3"]})
    found = measure_round.candidate_rows(prompt, rows.reverse(), selected)
    told = [(row["response_id"], row["verdict"]) for row in found]
    assert told == [("r2", "chosen"), ("r4", ""), ("r3", "rejected"), ("r1", ""), ("r0", "")]
    none = measure_round.candidate_rows(prompt, rows, selected.clear())
    assert {row["verdict"] for row in none} == {""}


def test_only_the_first_prompts_of_a_round_are_kept_for_reading(tmp_path, monkeypatch):
    fake_run.write_round(tmp_path, fake_run.random.Random(0), 2, prompts=7, samples=8)
    asked = [row["prompt_id"] for row in read_table(tmp_path / "rounds/2/prompts/0.parquet", "round_prompt")]
    for limit, expected in ((24, 3), (0, 1)):  # one prompt at least
        monkeypatch.setattr(measure_round, "READABLE_CANDIDATES", limit)
        measure(tmp_path, 2)
        rows = read_csv_table(tmp_path / "tables/rounds/2/candidates.csv", "candidates")
        assert list(dict.fromkeys(row["prompt_id"] for row in rows)) == asked[:expected]
        assert len(rows) == 8 * expected


def in_shards(root, other, size):
    """A fake round of one shard, with other shards: the paths that `measure_round.main` reads."""
    asked = read_table(root / "rounds/2/prompts/0.parquet", "round_prompt")
    found = {"prompts": [], "samples": [], "scores": [], "selected": []}
    kinds = {"prompts": "round_prompt", "samples": "response", "scores": "score", "selected": "selected"}
    for shard, start in enumerate(range(0, len(asked), size)):
        part = {row["prompt_id"] for row in asked[start : start + size]}
        for name, kind in kinds.items():
            for path in sorted((root / f"rounds/2/{name}").rglob("*.parquet")):
                rows = [row for row in read_table(path, kind) if row["prompt_id"] in part]
                made = other / name / str(shard) / path.parent.name
                write_table(made, kind, rows)
                found[name].append(str(made))
    return list(found.values())


def test_shards_change_no_byte_of_the_data_sets_and_measures(tmp_path):
    fake_run.write_round(tmp_path, fake_run.random.Random(1), 2, prompts=11, samples=8)
    written = []
    for size in (11, 4, 1):
        folder = tmp_path / f"shards-{size}"
        files = in_shards(tmp_path, folder, size)
        outputs = [
            folder / "out" / name for name in ("scores", "length", "candidates", "dataset", "preferences")
        ]
        names = list(fake_run.SAMPLED[2])
        options = {"checkpoints": names, "samples_per_prompt": 8, "seed": 0, "resamples": 100}
        measure_round.main(*files, *outputs[:3], round_=2, **options)
        build_dataset.main(files[3], *outputs[3:], round_=2)
        written.append([path.read_bytes() for path in outputs])
    assert written[0] == written[1] == written[2]
    rows = read_table(tmp_path / "rounds/2/selected/0.parquet", "selected")
    examples = read_table(outputs[3], "dataset")
    assert [(row["prompt"], row["completion"]) for row in examples] == [
        (user(row["prompt"]), assistant(row["chosen"])) for row in rows
    ]
    pairs = [row for row in rows if row["rejected"] is not None]
    assert pairs
    assert [
        (row["prompt_id"], row["chosen"], row["rejected"]) for row in read_table(outputs[4], "preferences")
    ] == [(row["prompt_id"], assistant(row["chosen"]), assistant(row["rejected"])) for row in pairs]


def test_a_round_without_a_chosen_response_is_refused(tmp_path):
    write_table(tmp_path / "selected", "selected", [])
    with pytest.raises(InputError, match="round 2: no prompt has a response that can be chosen"):
        build_dataset.main([tmp_path / "selected"], tmp_path / "a", tmp_path / "b", round_=2)
    assert not (tmp_path / "a").exists()


def test_length_ratio_by_hand(tmp_path):
    # Chosen: 12 words. Pool: what could be chosen, (4 + 8 + 12) / 3; the cut-off one is not in it.
    small_round(tmp_path, [(4, 3.0, "stop"), (8, 5.0, "stop"), (12, 7.0, "stop"), (40, 9.0, "length")])
    measure(tmp_path, 2, samples=4)
    (row,) = read_csv_table(tmp_path / "tables/rounds/2/length.csv", "length")
    assert float(row["chosen_words"]) == 12 and float(row["pool_words"]) == 8
    assert float(row["ratio"]) == float(row["ratio_tokens"]) == 1.5
    assert row["ratio_low"] is None, "one prompt gives nothing to resample"
    assert float(row["sampled_words"]) == 16 and float(row["cut_off"]) == 0.25
    assert float(row["rank_correlation"]) == 1.0


# the page of candidates


def test_page_escapes_all_text_and_needs_no_network(run):
    page = (run / "tables/candidates.html").read_text()
    assert "<b>prompt</b>" not in page
    assert "&lt;b&gt;prompt&lt;/b&gt;" in page
    assert not re.search(r"""(src|href)\s*=|https?://|@import""", page)
    assert page.count("<details") == page.count("</details>") == 48
    assert page.count('class="chosen"') + page.count('class="chosen cut"') >= 40


def test_page_keeps_a_hostile_response_as_text():
    row = {
        "round": 2,
        "prompt_id": "p",
        "prompt": "</script><script>alert(1)</script> __PROMPTS__",
        "response_id": "r",
        "checkpoint": "sft-0",
        "sample": 0,
        "score": None,
        "verdict": "",
        "finish_reason": "length",
        "tokens": 3,
        "response": '<img src=x onerror="alert(1)"> __COUNT__',
    }
    page = list_candidates.page([row])
    assert "<img" not in page and "<script>alert" not in page
    assert "__COUNT__" in page and "__PROMPTS__" in page  # what the texts hold stays as it is
    assert "no score" in page and "none chosen" in page


# Snakemake's report


def test_report_has_every_caption():
    rules = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    named = set(re.findall(r'caption="../report/(\w+\.rst)"', rules))
    there = {path.name for path in (REPOSITORY / "report").glob("*.rst")}
    assert named | {"workflow.rst"} == there


def test_report_command_has_no_lock_and_no_profile():
    words = render_report.command("c.json", "r.html", ["results/x/figures/a.svg"])
    assert words[:3] == [sys.executable, "-m", "snakemake"]
    assert "--nolock" in words and words[words.index("--workflow-profile") + 1] == "none"
    assert words[-2:] == ["--", "results/x/figures/a.svg"]
    assert words[words.index("--snakefile") + 1] == str(ROOT / "Snakefile")


RULES = [rule.name for rule in written_rules() if rule.stage == "report"]
RULES += ["summarize_evaluation", "evaluate_judge", "measure_selection", "check_judge"]


@pytest.mark.slow
def test_report_is_made_within_the_run(tmp_path):
    """The rules themselves, on the tables of a fake run; Snakemake renders its report as one of its jobs."""
    root = fake_run.write_run(tmp_path / "results" / "default", prompts=6)
    # The fake run answers one benchmark; those that the demonstration has besides are empty.
    for name in yaml.safe_load((REPOSITORY / "config.yaml").read_text())["evaluation"]["benchmarks"]:
        for checkpoint in fake_run.CHECKPOINTS:
            path = root / f"evaluation/{checkpoint}/{name}.parquet"
            if not path.exists():
                write_table(path, "evaluation", [])
    pairs, *_ = read_seeds.read_sft(str(REPOSITORY / "data/sft.jsonl"), [], [], max_bad=0)
    write_table(root / "seeds/sft.parquet", "sft", pairs)
    for name in ("data", "templates"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    command = [sys.executable, "-m", "snakemake", "-s", str(REPOSITORY / "Snakefile"), "-d", str(tmp_path)]
    # A small number must reach the report's own call as a number.
    config = tmp_path / "my.yaml"
    config.write_text("training: {tie_tolerance: 0.00001}\nevaluation: {resamples: 200}\n")
    command += ["--cores", "2", "--configfile", str(REPOSITORY / "config.yaml"), str(config)]
    command += ["--allowed-rules", *RULES, "--", "results/default/report.html"]
    done = warm.run(command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    page = (tmp_path / "results/default/report.html").read_text()
    for words in ("Progress by checkpoint", "Candidates to read", "Four judges", "Map of the prompts"):
        assert words in page
    description = json.loads(re.search(r"workflow_desc = (\".*?[^\\]\");", page)[1])
    sentence = read_csv_table(tmp_path / "results/default/evaluation/verdict.csv", "verdict")[0]["says"]
    assert escape(sentence) in description, "the verdict is what the report opens with"
    assert description.index('id="verdict"') < description.index("This report belongs to the run")
    assert not re.search(r"""(src|href)=["']https?://""", page)
    assert not list((tmp_path / ".snakemake").glob("locks/*"))
    again = warm.run(command, cwd=tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr


# summary


def printed(run, when, folder, final="round-3"):
    command = [sys.executable, str(REPOSITORY / "tools/summary.py"), when, run, final]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_start_is_two_lines(tmp_path):
    lines = printed("default", "start", tmp_path).splitlines()
    assert len(lines) == 2
    assert "results/default/logs/" in lines[0] and "Ctrl-C" in lines[1]


def test_end_tells_the_figures_and_what_to_do_next(run, tmp_path):
    root = tmp_path / "results" / "default"
    shutil.copytree(run, root)
    (root / "models/round-3").mkdir(parents=True)
    (root / "models/round-3/model.safetensors").touch()
    (root / "report.html").touch()
    text = printed("default", "end", tmp_path)
    row = read_csv_table(root / "evaluation/summary.csv", "summary")[-1]
    assert f"{float(row['check_rate']):.2f} [{float(row['check_low']):.2f}," in text
    assert "round-3 minus the mean of sft-0 and sft-1, checks passed, paired by prompt: " in text
    order = [text.index(f"\n  {name} ") for name in fake_run.CHECKPOINTS]
    assert order == sorted(order)
    assert "Judge on held-out human scores: 0." in text
    assert "ratio of words: " in text and "in round 2" in text
    assert "Report: results/default/report.html" in text
    assert "Prompts and candidates to read: results/default/tables/candidates.html" in text
    last = text.splitlines()[-1]
    assert last.startswith("Chat with it: ") and last.endswith("tools/chat.py results/default/models/round-3")


def summary_line(benchmark, checkpoint, check_rate=None, vs_sft=None):
    """A row of the summary with intervals of 0.1 around what is given."""
    row = {"benchmark": benchmark, "checkpoint": checkpoint, "prompts": 9, "mean_words": 12.4}
    row["judge_prompts"] = 9 if benchmark == "a" else 5
    row |= {"judge_score": None, "judge_low": None, "judge_high": None}
    for name, ends, value in (("check_rate", "check", check_rate), ("vs_sft", "vs_sft", vs_sft)):
        low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
        row |= {name: value, f"{ends}_low": low, f"{ends}_high": high}
    return row


def test_the_progress_of_two_benchmarks_by_hand():
    rows = [
        summary_line("a", "sft-0", 0.4),
        summary_line("b", "sft-0"),
        summary_line("a", "round-2", 0.5, vs_sft=0.1) | {"check_low": None},
        summary_line("b", "round-2"),
    ]
    assert summary.progress_lines(rows) == [
        "Evaluation on a (9 prompts, 95% intervals):",
        "  checkpoint  checks passed (0-1)  judge score (0-10)  words",
        "  sft-0       0.40 [0.30, 0.50]    -                   12",
        "  round-2     0.50                 -                   12",
        "  round-2 minus sft-0, checks passed, paired by prompt: 0.10 [0.00, 0.20]",
        "Evaluation on b (9 prompts, 5 of them judged, 95% intervals):",
        "  checkpoint  checks passed (0-1)  judge score (0-10)  words",
        "  sft-0       -                    -                   12",
        "  round-2     -                    -                   12",
    ]


def test_only_the_judge_of_the_rounds_is_told_of_and_only_where_it_was_measured():
    judged = {"accuracy": 0.75, "accuracy_low": 0.6, "accuracy_high": 0.9, "pairs": 60}
    rows = [
        judged | {"checkpoint": "judge-seed", "benchmark": "heldout"},
        judged | {"checkpoint": "judge", "benchmark": "heldout"},
        judged | {"checkpoint": "judge", "benchmark": "pairs", "accuracy": None},
    ]
    lengths = [{"round": 2, "ratio": 1.034}, {"round": 3, "ratio": None}]
    assert summary.judge_lines(rows, lengths) == [
        "Judge on held-out human scores: 0.75 [0.60, 0.90] of 60 pairs right (0.5 is guessing)",
        "Chosen responses against their pool, ratio of words: 1.03 in round 2",
    ]
    assert summary.judge_lines([], []) == []


def test_one_sft_checkpoint_is_named(run):
    rows = [
        row
        for row in read_csv_table(run / "evaluation/summary.csv", "summary")
        if row["checkpoint"] in ("sft-0", "round-3")
    ]
    assert "  round-3 minus sft-0, checks passed, paired by prompt: " in summary.progress_lines(rows)[-1]


def test_end_of_a_partial_run_says_what_exists(tmp_path):
    assert "Done. Results are in results/default/" in printed("default", "end", tmp_path)
    model = tmp_path / "results/default/models/sft-0"
    model.mkdir(parents=True)
    (model / "model.safetensors").touch()
    text = printed("default", "end", tmp_path)
    assert "checkpoints so far: sft-0" in text and "Chat" not in text


def test_end_survives_damaged_tables(tmp_path):
    folder = tmp_path / "results/default/evaluation"
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_bytes(b"\xff\xfe broken")
    (folder / "judge.csv").write_text("judge,checkpoint\nx,judge\n")
    assert printed("default", "end", tmp_path)


# chat


def test_chat_needs_a_checkpoint(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert chat.main([str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    assert chat.main([str(tmp_path / "half")]) == 1
    assert "model.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--max-tokens", "0"], ["--temperature", "-1"]])
def test_chat_refuses_wrong_numbers(wrong, capsys):
    with pytest.raises(SystemExit):
        chat.arguments(["x", *wrong])
    assert "expected" in capsys.readouterr().err


def test_chat_answers_one_prompt_the_same_way_for_a_seed(tiny_checkpoint, capsys):
    options = ["--prompt", "Name three rivers.", "--max-tokens", "12"]
    assert chat.main([str(tiny_checkpoint), *options]) == 0
    first = capsys.readouterr().out
    assert chat.main([str(tiny_checkpoint), *options]) == 0
    assert capsys.readouterr().out == first != ""
    assert chat.main([str(tiny_checkpoint), *options, "--seed", "1"]) == 0
    assert capsys.readouterr().out != first


def test_chat_goes_on_until_the_input_ends(tiny_checkpoint):
    command = [sys.executable, str(REPOSITORY / "tools/chat.py"), str(tiny_checkpoint), "--max-tokens", "4"]
    lines = "Hello.\n\nAnd now?\nnew\nHello.\n"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, input=lines, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "(a new conversation)" in done.stdout


def test_chat_drops_the_oldest_turns_first(tiny_checkpoint):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    turns = [
        {"role": role, "content": f"{role} {i} says a thing"}
        for i in range(6)
        for role in ("user", "assistant")
    ]
    messages = [*turns, {"role": "user", "content": "last question"}]
    ids = chat.fitting(tokenizer, messages, 60)
    assert len(ids) <= 60 and messages[0]["role"] == "user"
    assert "last question" in tokenizer.decode(ids) and "user 0" not in tokenizer.decode(ids)
    with pytest.raises(ValueError, match="tokens"):
        chat.fitting(tokenizer, [{"role": "user", "content": "word " * 200}], 20)


def test_numbers_in_the_reports_config_stay_numbers(tmp_path):
    """Python writes 0.00001 as 1e-05, which YAML would read as text."""
    from snakemake.common.configfile import load_configfile

    from alma.files import write_json

    write_json(tmp_path / "c.json", {"a": 0.00001})
    assert "1e-05" in (tmp_path / "c.json").read_text()
    assert load_configfile(tmp_path / "c.json") == json.loads('{"a": 0.00001}')
