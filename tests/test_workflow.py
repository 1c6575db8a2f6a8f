"""The whole workflow on a tiny model: real tokenizer, real vLLM, real TRL, both objectives.

It starts from raw labels as people have them (tests/support/real_labels.py), with nothing edited by hand.

The tests of this module share one working directory and run in the order of the file.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import real_labels
import tiny_model
import warm
import yaml
from fast_run import planned

from alma.csv_tables import read_csv_table
from alma.files import sha256_of
from alma.tables import read_table, user_text
from alma.trace.provenance import record_path
from alma.workflow.codehash import code_hash
from alma.workflow.config import ROOT

pytestmark = pytest.mark.slow


def with_models(command, **options):
    return warm.run(command, **options, models=True)


def anew(command, **options):
    return subprocess.run(command, **options, capture_output=True, text=True)


class Workflow:
    """Runs snakemake on config/test.yaml with the tiny model and `labels`, in a directory of its own."""

    def __init__(self, folder, model, labels):
        self.folder, self.results = folder, folder / "results" / "test"
        self.model, self.labels = model, labels
        self.override = {
            "base_model": {"source": str(model)},
            "labels": {"sft": str(labels / "sft.jsonl"), "judge": str(labels / "judge.csv")},
            "judge": {"scale": real_labels.SCALE, "benchmark": str(labels / "pairs.jsonl"), "shots": 3},
            "evaluation": {"benchmarks": {"everyday": str(labels / "eval.jsonl")}},
        }

    def run(self, *arguments, start=warm.run, **override):
        """Run Snakemake; `start` is another way to start its processes (tests/support/warm.py)."""
        config = self.folder / "my.yaml"
        config.write_text(yaml.safe_dump(self.override | override))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
        files = ["--configfile", str(ROOT / "config" / "test.yaml"), str(config)]
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(self.folder)]
        command += ["--cores", "2", *files, *arguments]
        return start(command, cwd=ROOT, env=environment)

    def jobs(self, *arguments, **override):
        """Rules that a dry run would run, with how many jobs each."""
        done = self.run("-n", "--quiet", "rules", *arguments, **override)
        assert done.returncode == 0, done.stdout + done.stderr
        return planned(done.stdout + done.stderr)

    def table(self, path, kind):
        return read_table(self.results / path, kind)


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workflow")
    real_labels.write(folder / "labels")
    return Workflow(folder, tiny_model.write_pretrained(folder / "tiny"), folder / "labels")


def check(done):
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]


def test_the_dry_run_plans_every_stage(workflow):
    plan = workflow.jobs()
    assert plan["train_sft"] == 1 and plan["train_round"] == 2
    assert plan["sample_responses"] == plan["score_responses"] == 1 + 2  # checkpoints of the rounds 2 and 3
    assert plan["sample_evaluation"] == plan["score_evaluation"] == 4
    assert {"read_seeds", "base_model", "train_judge", "cluster_prompts", "render_report"} <= set(plan)


def test_shards_and_blocks_multiply_the_jobs(workflow):
    plan = workflow.jobs(
        prompts_per_round=8, prompts_per_shard=3, samples_per_prompt=10, prompts={"clusters": 9}
    )
    assert plan["round_prompts"] == plan["select_responses"] == 2 * 3  # rounds x shards
    assert plan["sample_responses"] == plan["score_responses"] == 3 * 2 * (1 + 2)  # shards x blocks x models


def test_best_of_n_runs_from_base_to_report(workflow):
    done = workflow.run(start=with_models)
    check(done)
    for name in ("base", "sft-0", "judge-seed", "judge", "round-2", "round-3"):
        folder = workflow.results / "models" / name
        assert {"config.json", "model.safetensors", "tokenizer.json", "provenance.json"} <= set(
            os.listdir(folder)
        )
        assert "models" not in json.loads((folder / "config.json").read_text())
    printed = done.stdout + done.stderr
    assert "results/test/models/round-3" in printed and "chat" in printed
    report = (workflow.results / "report.html").read_text()
    assert "Progress by checkpoint" in report and len(report) > 100_000


def test_rows_that_no_engine_could_read_are_counted_and_left_out(workflow):
    table = read_csv_table(workflow.results / "tables/lengths.csv", "lengths")
    lengths = {row["set"]: row for row in table}
    assert 0 < lengths["eval"]["too_long"] < lengths["eval"]["rows"]
    answered = workflow.table("evaluation/round-3/everyday.parquet", "evaluation")
    assert len(answered) == lengths["eval"]["rows"] - lengths["eval"]["too_long"]
    log = (workflow.results / "logs/score_heldout/judge.log").read_text()
    assert "left out" in log and "WARNING" not in log


def test_the_tables_fit_together(workflow):
    """Ids join, samples follow the remainder rule, prompts are used once, chosen is best."""
    seen = set()
    for round_, names in ((2, ["sft-0"]), (3, ["sft-0", "round-2"])):
        prompts = workflow.table(f"rounds/{round_}/prompts/0.parquet", "round_prompt")
        selected = workflow.table(f"rounds/{round_}/selected/0.parquet", "selected")
        responses, scores = [], []
        for place, name in enumerate(names):
            drawn = workflow.table(f"rounds/{round_}/samples/{name}/0-0.parquet", "response")
            for row in prompts:
                samples = [r["sample"] for r in drawn if r["prompt_id"] == row["prompt_id"]]
                assert samples == list(range(place, 5, len(names)))
            responses += drawn
            scores += workflow.table(f"rounds/{round_}/scores/{name}/0-0.parquet", "score")
        ids = {row["prompt_id"] for row in prompts}
        assert len(prompts) == len(ids) == 4 and not ids & seen
        seen |= ids
        assert len({row["cluster"] for row in prompts}) == 4
        by_prompt = {key: sorted(r["sample"] for r in responses if r["prompt_id"] == key) for key in ids}
        assert all(samples == [0, 1, 2, 3, 4] for samples in by_prompt.values())
        assert [s["response_id"] for s in scores] == [r["response_id"] for r in responses]
        value = {row["response_id"]: row["score"] for row in scores}
        finished = {r["response_id"] for r in responses if r["finish_reason"] == "stop"}
        for row in selected:
            mine = [r["response_id"] for r in responses if r["prompt_id"] == row["prompt_id"]]
            assert row["chosen_id"] in mine and row["chosen_id"] in finished
            rivals = [value[i] for i in mine if i in finished and value[i] is not None]
            assert row["chosen_score"] == pytest.approx(max(rivals), abs=1e-6)
        dataset = workflow.table(f"rounds/{round_}/dataset.parquet", "dataset")
        assert [user_text(row["prompt"]) for row in dataset] == [row["prompt"] for row in selected]


def test_data_sets_load_with_datasets(workflow):
    import datasets

    path = str(workflow.results / "rounds/2/dataset.parquet")
    loaded = datasets.load_dataset(
        "parquet", data_files=path, split="train", cache_dir=str(workflow.folder / "hf")
    )
    assert set(loaded.column_names) >= {"prompt", "completion"}
    assert loaded[0]["completion"][0]["role"] == "assistant"


def test_every_output_of_every_rule_is_there_and_has_a_record(workflow):
    """The list is Snakemake's own; the records are those of these bytes, made by that rule's code."""
    done = workflow.run("--summary")
    check(done)
    lines = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("results/test/")]
    made = {line[0]: line[2] for line in lines if Path(line[0]).name != "provenance.json"}
    ran = {name for name in workflow.jobs("--forceall") if name != "report"}
    assert set(made.values()) == ran, "rules that make no file are targets"
    for name, rule in made.items():
        record = json.loads((workflow.folder / record_path(name)).read_text())
        assert record["rule"] == rule
        assert record["outputs"][Path(name).name]["sha256"] == sha256_of(workflow.folder / name), name
        assert record["spec"]["code"] == code_hash(ROOT / "scripts" / f"{rule}.py"), name


def test_a_second_run_does_nothing(workflow):
    assert workflow.jobs() == {}
    before = {p: p.stat().st_mtime_ns for p in workflow.results.rglob("*") if p.is_file()}
    done = workflow.run()
    check(done)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert before == {p: p.stat().st_mtime_ns for p in workflow.results.rglob("*") if p.is_file()}


def test_other_shards_and_cores_give_the_same_bytes(workflow, tmp_path):
    """SFT, judge and round 2 once more: two shards in place of one, on one core in place of two.

    And in processes that start anew, not as forks of one that has imported vLLM and TRL.
    """
    again = Workflow(tmp_path / "again", workflow.model, workflow.labels)
    shutil.copytree(workflow.folder, again.folder)
    for name in ("models/sft-0", "models/judge", "models/round-2", "rounds/2"):
        shutil.rmtree(again.results / name)
    wanted = ["models/sft-0", "models/judge", "models/round-2"]
    targets = [f"results/test/{name}/model.safetensors" for name in wanted]
    check(again.run("--cores", "1", *targets, start=anew, prompts_per_shard=2))
    assert len(list((again.results / "rounds/2/samples/sft-0").iterdir())) == 2
    for name in ("rounds/2/dataset.parquet", *(f"{name}/model.safetensors" for name in wanted)):
        assert (again.results / name).read_bytes() == (workflow.results / name).read_bytes(), name


def test_changing_the_objective_leaves_data_before_training_alone(workflow):
    plan = workflow.jobs(training={"objective": "dpo"})
    assert plan["train_round"] == 2
    kept = {
        "read_seeds",
        "base_model",
        "train_sft",
        "train_judge_seed",
        "synthesize_prompts",
        "cluster_prompts",
    }
    assert not kept & set(plan)
    assert plan["sample_responses"] == 1  # the latest model's part of round 3


def test_dpo_runs_to_the_report(workflow):
    """One round, on the same selected pairs."""
    report = (workflow.results / "report.html").stat().st_mtime_ns
    done = workflow.run(start=with_models, training={"objective": "dpo"}, rounds=2)
    check(done)
    assert (workflow.results / "report.html").stat().st_mtime_ns > report
    record = json.loads((workflow.results / "models/round-2/provenance.json").read_text())
    assert record["spec"]["config"]["objective"] == "dpo"
    assert any("models/sft-0/" in path for path in record["inputs"])


def test_bad_seeds_stop_everything_before_anything_else_runs(workflow):
    bad = workflow.folder / "bad.jsonl"
    bad.write_text('{"prompt": "Hi", "response": ""}\n{"prompt": 3, "response": "x"}\n')
    done = workflow.run(run="broken", labels={"sft": str(bad)})
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "bad.jsonl" in printed and "response" in printed and "prompt" in printed
    results = workflow.folder / "results" / "broken"
    assert not (results / "seeds" / "sft.parquet").exists() and not (results / "models").exists()


def test_a_wrong_key_is_refused_before_any_job(workflow):
    done = workflow.run("-n", judge={"min_mas": 0.4})
    printed = done.stdout + done.stderr
    assert done.returncode != 0 and "judge.min_mas: unknown key" in printed
    assert "Traceback" not in printed


def test_the_paper_config_plans_the_paper_s_rounds_in_seconds(tmp_path):
    path = ROOT / "config" / "llama3-8b.yaml"
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--configfile", str(path)]
    command += ["-s", str(ROOT / "Snakefile"), "-d", str(tmp_path), "--resources", "gpu=8"]
    done = warm.run(command, cwd=ROOT)
    check(done)
    plan = planned(done.stdout + done.stderr)
    # N = 200 samples of K = 50,000 prompts from three checkpoints (two in round 2), ten rounds after the SFT.
    shards = math.ceil(50_000 / yaml.safe_load(path.read_text())["prompts_per_shard"])
    assert plan["train_sft"] == 2 and plan["train_round"] == plan["build_dataset"] == 10
    assert plan["round_prompts"] == plan["select_responses"] == 10 * shards
    assert plan["sample_responses"] == plan["score_responses"] == shards * (2 + 9 * 3)
    benchmarks = len(yaml.safe_load(path.read_text())["evaluation"]["benchmarks"])
    assert plan["sample_evaluation"] == plan["score_evaluation"] == benchmarks * (1 + 2 + 10)
