"""What every rule has, so that a new one is not short of it (the order is snakefmt's)."""

import re

import pytest
import yaml
from rule_texts import ROOT, written_rules

from alma.workflow.config import merge
from alma.workflow.plan import plan, spec_of

RULES = written_rules()
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def test_every_script_has_its_rule():
    assert sorted(rule.name for rule in RULES) == sorted(p.stem for p in (ROOT / "scripts").glob("*.py"))


@every_rule
def test_script_log_benchmark_and_spec_are_named_after_the_rule(rule):
    assert rule.directives["script"].strip() == f'"../scripts/{rule.name}.py"'
    assert re.search(rf"spec=spec\(\s*\"{rule.name}\"", rule.directives["params"])
    for directive, ending in (("log", "log"), ("benchmark", "tsv")):
        place = rf'"results/{{run}}/{directive.removesuffix("mark")}\w*/{rule.name}(/\S+)?\.{ending}"'
        assert re.search(place, rule.directives[directive]), directive


@every_rule
def test_resources_and_message_are_there(rule):
    assert {"conda", "message", "input", "output"} <= set(rule.directives)
    assert {"mem_mb", "runtime"} <= set(re.findall(r"(\w+)=", rule.directives["resources"]))


@every_rule
def test_threads_are_written_in_the_spec_alone(rule):
    given = "threads=" in rule.directives["params"]
    assert rule.directives["threads"].strip() == ("as_in_spec" if given else "1")


@every_rule
def test_a_gpu_is_asked_for_where_the_device_is_told(rule):
    params, resources = rule.directives["params"], rule.directives["resources"]
    wanted = {"gpu=engine_gpus"} if re.search(r"\bengine=\w+", params) else set()
    count = "training_gpus" if "uncompared(training=" in params else "one_gpu"
    wanted |= {f"gpu={count}"} if "device=" in params else set()
    assert set(re.findall(r"\bgpu=\w+", resources)) == wanted


@every_rule
def test_the_judge_is_read_as_judge_dtype_says(rule):
    """Recipe, trap 27: every rule that asks a judge for scores, and no other."""
    asks = "score_fitting(" in (ROOT / "scripts" / f"{rule.name}.py").read_text()
    assert asks == ("engine=judge_engine" in rule.directives["params"])
    assert asks == ("judge_reading(w, " in rule.directives["params"])


def test_the_base_model_is_read_exactly(tmp_path, monkeypatch):
    """Recipe, trap 1: whatever judge.reading says, since it may write any digit after the "1"."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text((ROOT / "config.yaml").read_text())
    with plan(tmp_path, "results/default/evaluation/judge.csv", ["my.yaml"]) as dag:
        jobs = [job for job in dag.jobs if job.rule.name == "score_heldout"]
        found = {job.wildcards.checkpoint: spec_of(job)["config"]["reading"] for job in jobs}
    assert found == {"base": "exact", "judge-seed": "fast", "judge": "fast"}


def test_a_job_has_the_threads_of_its_spec_and_no_other_param_is_compared(tmp_path, monkeypatch):
    threads = {"engine": {"threads": 3}, "training": {"threads": {"sft": 4, "rounds": 5, "judge": 6}}}
    config = merge(yaml.safe_load((ROOT / "config.yaml").read_text()), threads)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    with plan(tmp_path, "results/default/report.html", ["my.yaml"]) as dag:
        jobs = [job for job in dag.jobs if job.rule.name in {rule.name for rule in RULES}]
        assert {job.threads: job.rule.name for job in jobs}.keys() == {1, 3, 4, 5, 6}
        for job in jobs:
            assert job.threads == spec_of(job)["threads"], job
            assert job.non_derived_params == [job.params.spec], job
