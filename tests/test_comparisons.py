"""Which runs a table compares: controls beside their run, replicates, and controls that are none."""

import re
import sys

import pytest
import warm
import yaml

from alma.errors import InputError
from alma.workflow.comparisons import ablation_tables, controls, replicates
from alma.workflow.config import ROOT, check_config, parents, run_configs

EXPERIMENT = ROOT / "config" / "experiment.yaml"
CHANCE = {"training": {"selection": "random"}}
RUNS = {
    "one": {"table": ["b", "a"], "training": {"seed": 1}},
    "dpo": {"table": "a", "training": {"objective": "dpo"}},
    "chance": {"control_of": "default", **CHANCE},
    "one-chance": {"control_of": "one", **CHANCE},
    "dpo-chance": {"control_of": "dpo", "table": "b", **CHANCE},
}


@pytest.fixture
def config(monkeypatch):
    """The demonstration's config with some variants."""
    monkeypatch.chdir(ROOT)
    found = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"runs": RUNS}
    check_config(found)
    return found


def test_a_control_is_a_row_wherever_its_run_is(config):
    assert list(ablation_tables(config)) == ["b", "a"], "in the order in which they are named"
    assert ablation_tables(config)["a"] == ["one", "dpo", "chance", "one-chance"]
    assert ablation_tables(config)["b"] == ["one", "dpo-chance", "chance", "one-chance"]
    assert controls(config) == {"chance": "default", "one-chance": "one", "dpo-chance": "dpo"}


def test_a_control_inherits_from_its_run(config):
    assert parents(config)["one-chance"] == "one" and parents(config)["one"] == "default"
    runs = run_configs(config)
    assert runs["one-chance"]["training"] == runs["one"]["training"] | {"selection": "random"}
    assert "control_of" not in runs["one-chance"]


def test_replicates_differ_in_seeds_alone(config):
    config["runs"] = RUNS | {"again": {"seed": 4, "judge": {"seed": 2}}, "other": {"rounds": 4}}
    assert replicates(run_configs(config)) == {
        "default": "default",
        "one": "default",
        "again": "default",
        "dpo": "dpo",
        "chance": "chance",
        "one-chance": "chance",
        "dpo-chance": "dpo-chance",
        "other": "other",
    }


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (
            {"control_of": "one"},
            r"runs\.c\.control_of: found the training\.selection of one, 'best', expected",
        ),
        (
            {"control_of": "chance", **CHANCE},
            r"found 'chance', expected a run that is no .*: default, one, dpo$",
        ),
        ({"control_of": "c", **CHANCE}, r"runs\.c\.control_of: found 'c', expected one of default, one"),
        ({"control_of": "nobody", "inherits": "one", **CHANCE}, r"found 'nobody', expected a run that is no"),
        (
            {"control_of": "one", "rounds": 4, "training": {"selection": "random", "dpo_beta": 0.2}},
            r"differs from one in rounds, training\.dpo_beta, expected one that differs in",
        ),
        (
            {"control_of": "one", "inherits": "default", **CHANCE},
            r"differs from one in training\.seed, expected",
        ),
    ],
    ids=["no other choice", "of a control", "of itself", "of nobody", "more", "another parent"],
)
def test_a_control_that_controls_nothing_is_refused(config, control, message):
    config["runs"] = RUNS | {"c": control}
    with pytest.raises(InputError, match=message):
        run_configs(config)


# the shipped study


@pytest.fixture(scope="module")
def study():
    config = yaml.safe_load(EXPERIMENT.read_text())
    check_config(config)
    return config


def test_the_study_has_what_it_is_for(study):
    assert study["rounds"] >= 5 and study["samples_per_prompt"] >= 16 and study["prompts_per_round"] >= 100
    runs, tables, of = run_configs(study), ablation_tables(study), controls(study)
    first = replicates(runs)
    seeds = [name for name in runs if first[name] == study["run"]]
    assert len({runs[name]["training"]["seed"] for name in seeds}) == 3
    for choice in ("random", "checks"):
        mine = [name for name in of if runs[name]["training"]["selection"] == choice]
        assert sorted(of[name] for name in mine) == sorted(seeds), "each seed has its own control"
    assert list(tables)[:2] == ["seeds", "controls"], "the most valuable comparisons come first"
    for table, names in tables.items():
        there = {runs[name]["training"]["selection"] for name in names if of.get(name) == study["run"]}
        assert there == ({"random"} if table == "seeds" else {"random", "checks"}), table
    paper = yaml.safe_load((ROOT / "config" / "ablations.yaml").read_text())
    assert set(ablation_tables(paper)) <= set(tables)
    described = re.findall(r"^#   ([a-z-]+)  .* \d+ +\d+$", EXPERIMENT.read_text(), flags=re.M)
    assert described == list(tables), "the costs in the file's head"


def planned(folder, *targets):
    """Jobs by rule that the study plans for some targets in an empty folder."""
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "-d", str(folder), "-s"]
    command += [str(ROOT / "Snakefile"), "--configfile", str(EXPERIMENT), "--", *targets]
    done = warm.run(command, cwd=ROOT)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return {
        rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", done.stdout.split("Job stats")[1], re.M)
    }


def tables_of(*names):
    return [f"results/experiment/tables/ablations/{name}.csv" for name in names]


def test_the_seeds_of_the_study_share_what_no_training_seed_reaches(study, tmp_path):
    jobs = planned(tmp_path, *tables_of("seeds"))
    once = ("read_seeds", "base_model", "drop_duplicates", "deal_prompts", "train_judge_seed", "compare_runs")
    assert {rule: jobs[rule] for rule in once} == dict.fromkeys(once, 1)
    rounds = study["rounds"] - 1
    assert jobs["train_sft"] == 3 * 2 and jobs["train_judge"] == 3
    assert jobs["train_round"] == 3 * 2 * rounds
    # A control takes the responses of the SFT models from its run, and has its own of the latest model only.
    assert jobs["sample_responses"] == 3 * (2 * rounds + rounds - 1) + 3 * (rounds - 1)
    assert jobs["score_responses"] == jobs["sample_responses"]
    benchmarks = len(study["evaluation"]["benchmarks"])
    assert jobs["sample_evaluation"] == benchmarks * (1 + 3 * (2 + 2 * rounds))


def test_each_part_of_the_study_adds_to_those_before_it(study, tmp_path):
    tables = list(ablation_tables(study))
    everything = planned(tmp_path, "ablations")
    assert {everything[rule] for rule in ("compare_runs", "compare_rounds", "plot_rounds")} == {len(tables)}
    assert everything["train_judge_seed"] == 1 and everything["train_sft"] == 3 * 2
    first = planned(tmp_path, *tables_of(tables[0]))
    assert 0 < first["train_round"] < everything["train_round"]
