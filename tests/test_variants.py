"""Variants take from the run that they inherit from what is the same there, and fork where they differ."""

import json
import re
import sys

import pytest
import warm
from fast_run import ROOT, FastRun

from alma.csv_tables import read_csv_table


@pytest.fixture(scope="module")
def finished(finished_run, tmp_path_factory):
    """A run with its variants: (jobs of the main run, jobs of the variants, the run)."""
    run = finished_run.copy(tmp_path_factory.mktemp("variants") / "run")
    variants = {
        "dpo": {"table": ["objective"], "training": {"objective": "dpo"}},
        "more": {"inherits": "dpo", "rounds": 4},
        "integer": {"table": "judge", "judge": {"checkpoint": "judge-seed", "score": "integer"}},
        "few-shot": {"table": "judge", "judge": {"checkpoint": "base", "shots": 2}},
        "random": {"control_of": "small", "training": {"selection": "random"}},
    }
    first = {name.removesuffix(".log") for name in run.logs()}
    run.config = run.config | {"runs": variants}
    _, second, _ = run.update("variants")
    return first, second, run


@pytest.mark.slow
def test_shared_stages_run_once(finished):
    first, second, run = finished
    main = {name for name in second if name.startswith("small/")}
    assert main == set(), "what the main run has is taken from it, and nothing is made again"
    assert {name.split("/")[0] for name in second} == {"dpo", "more", "integer", "few-shot", "random"}
    stages = ("read_seeds", "base_model", "train_sft", "train_judge_seed", "synthesize_prompts")
    ran = [name.split("/")[1] for name in first | second]
    assert {stage: ran.count(stage) for stage in stages} == dict.fromkeys(stages, 1)
    assert run.update("variants")[1] == set()


@pytest.mark.slow
def test_a_variant_forks_where_it_differs(finished):
    _, second, _ = finished
    dpo = {name.removeprefix("dpo/") for name in second if name.startswith("dpo/")}
    assert {"train_round/2", "train_round/3", "sample_responses/3-round-2-0-0"} <= dpo
    assert not [name for name in dpo if re.search(r"sft|judge|prompts|/2-|/1$", name)]
    more = {name.removeprefix("more/") for name in second if name.startswith("more/")}
    assert "train_round/4" in more and not {"train_round/3", "train_round/2"} & more
    integer = {name.removeprefix("integer/") for name in second if name.startswith("integer/")}
    assert {"score_responses/2-sft-0-0-0", "select_responses/2-0", "train_round/2"} <= integer
    assert not [name for name in integer if re.match("sample_responses/2|train_judge|score_heldout", name)]


@pytest.mark.slow
def test_scores_are_those_of_the_judge_that_was_asked_for(finished):
    from alma.tables import read_table

    _, _, run = finished
    results = run.folder / "results"
    place = "rounds/2/scores/sft-0/0-0.parquet"
    rows = {name: read_table(results / name / place, "score") for name in ("small", "integer", "few-shot")}
    assert all(row["score"] == row["p"].index(max(row["p"])) for row in rows["integer"])
    assert any(row["score"] % 1 for row in rows["small"])
    record = json.loads((results / "few-shot" / "provenance" / f"{place}.json").read_text())
    assert "results/small/models/base/model.safetensors" in record["inputs"]
    assert record["spec"]["config"]["shots"] == 2


@pytest.mark.slow
def test_tables_compare_the_variants_with_the_main_run(finished):
    _, _, run = finished
    run.finish("ablations")
    rows = read_csv_table(run.path("tables/ablations/objective.csv"), "ablation")
    assert [(row["run"], row["checkpoint"]) for row in rows] == [
        (name, checkpoint)
        for name in ("small", "dpo", "random")
        for checkpoint in ("sft-0", "round-2", "round-3")
    ]
    assert rows[0]["check_rate"] == rows[3]["check_rate"], "one sft-0, judged once"
    assert "dpo" in rows[3]["changes"]
    assert [row["against"] for row in rows] == ["", "", "", *["sft-0", "round-2", "round-3"] * 2]
    assert rows[0]["vs_main_checks"] is None
    assert rows[3]["vs_main_checks"] == rows[3]["vs_main_judge"] == 0, "the same answers"
    gap = rows[5]["check_rate"] - rows[2]["check_rate"]
    assert rows[5]["vs_main_checks"] == pytest.approx(gap, abs=1e-5), "the same prompts on both sides"
    assert rows[5]["vs_main_checks_low"] <= gap <= rows[5]["vs_main_checks_high"]
    judges = read_csv_table(run.path("tables/ablations/judge.csv"), "ablation")
    assert {row["run"] for row in judges} == {"small", "integer", "few-shot", "random"}
    measured = {row["run"]: row["judge_accuracy"] for row in judges}
    rows = read_csv_table(run.path("evaluation/judge.csv"), "judge")
    table = {(row["checkpoint"], row["kind"]): row["accuracy"] for row in rows}
    assert measured["small"] == table["judge", "real-valued"]
    assert measured["integer"] == table["judge-seed", "integer"]


@pytest.mark.slow
def test_rounds_are_compared_with_random_choice(finished):
    _, second, run = finished
    run.finish("ablations")
    random = {name.removeprefix("random/") for name in second if name.startswith("random/")}
    shared = "sample_responses/2|score_responses/2|sample_responses/3-sft|train_judge|train_sft"
    assert "select_responses/2-0" in random and not [name for name in random if re.match(shared, name)]
    for table, variants in (("objective", ["dpo"]), ("judge", ["few-shot", "integer"])):
        rows = read_csv_table(run.path(f"tables/by_round/{table}.csv"), "by_round")
        names = ["small", *variants, "random"]
        assert [(row["run"], row["round"]) for row in rows] == [(n, r) for n in names for r in (1, 2, 3)]
        told = {row["run"]: (row["choice"], row["control"]) for row in rows if row["round"] == 3}
        compared = dict.fromkeys(["small", *variants], ("best", "random"))
        assert told == compared | {"random": ("random", "")}, "the main run's control stands in for theirs"
        by = {(row["run"], row["round"]): row["check_rate"] for row in rows}
        gap = next(row["vs_random"] for row in rows if (row["run"], row["round"]) == ("small", 3))
        assert gap == pytest.approx(by["small", 3] - by["random", 3], abs=1e-5)


# What a run makes of its own where it differs from its parent in one seed.
REPLICATES = {
    "training": {"train_sft", "train_round", "sample_responses", "score_responses", "train_judge"},
    "sampling": {"sample_responses", "score_responses", "train_round"},
    "judge": {"train_judge_seed", "train_judge", "score_responses", "train_round"},
}
SHARED = {
    "training": {"read_seeds", "base_model", "synthesize_prompts", "round_prompts", "train_judge_seed"},
    "sampling": {"read_seeds", "base_model", "round_prompts", "train_sft", "train_judge_seed", "train_judge"},
    "judge": {"read_seeds", "base_model", "round_prompts", "train_sft", "sample_distillation"},
}


def test_a_replicate_of_one_part_shares_what_its_seed_does_not_reach(tmp_path):
    run = FastRun.make(tmp_path / "run")
    replicates = {part: {part: {"seed": 1}} for part in REPLICATES}
    sizes = {"prompts_per_round": 5, "prompts_per_shard": 2}
    run.config = run.config | {"runs": replicates | {"same": {"training": {"seed": 0}}, "sizes": sizes}}
    made = {}
    for line in run.finish("--summary", "variants").splitlines():
        if line.startswith("results/"):
            path, _, rule, *_ = line.split("\t")
            made.setdefault(path.split("/")[1], set()).add(rule)
    for part, rules in REPLICATES.items():
        assert rules <= made[part], part
        assert not SHARED[part] & made[part], part
        assert SHARED[part] <= made["small"]
    assert "same" not in made, "0 is the seed of the run: nothing differs"
    judge = {"sample_distillation", "score_distillation", "train_judge_seed", "train_judge"}
    assert judge <= made["small"] and not judge & made["sizes"], "neither shards nor their prompts change it"
    assert {"round_prompts", "score_responses", "train_round"} <= made["sizes"]


def test_the_shipped_ablations_are_planned(tmp_path):
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "-s", str(ROOT / "Snakefile")]
    command += [
        "-d",
        str(tmp_path),
        "--configfile",
        str(ROOT / "config" / "ablations.yaml"),
        "--",
        "ablations",
    ]
    done = warm.run(command, cwd=ROOT)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-3000:]
    tables = ["judge", "prompts", "checkpoints", "samples-prompts", "samples-rounds", "objective"]
    assert re.search(rf"compare_runs +{len(tables)}\b", printed)
    assert re.search(r"train_judge_seed +1\b", printed) and re.search(r"train_sft +2\b", printed)


def test_other_limits_check_the_seeds_again_and_share_what_waits_for_the_check(tmp_path):
    """What a variant's limits allow changes no weights: its training is that of the main run."""
    override = {"runs": {"brief": {"evaluation": {"max_tokens": 30}}, "more": {"rounds": 4}}}
    (tmp_path / "my.yaml").write_text(json.dumps(override))
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(tmp_path), "-n"]
    command += [
        "--configfile",
        str(ROOT / "config" / "test.yaml"),
        str(tmp_path / "my.yaml"),
        "--",
        "variants",
    ]
    done = warm.run(command, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout.partition("total")[0], flags=re.M))
    assert jobs["check_lengths"] == "2", "the main run's, and that of the shorter answers"
    assert jobs["check_rounds"] == "2", "the main run's, and that of more rounds"
    once = ("train_sft", "train_judge_seed", "synthesize_prompts", "drop_duplicates", "deal_prompts")
    assert {name: jobs[name] for name in once} == dict.fromkeys(once, "1")
