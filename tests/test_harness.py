"""Tasks of lm-eval's harness: what is compared, and what is refused. The real harness: test_lm_eval.py."""

import measure_harness
import pytest
import yaml
from rule_texts import ROOT

from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.harness import compared, read_values, write_items
from alma.workflow.config import check_config
from alma.workflow.plan import plan, spec_of


def shipped(**harness):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["evaluation"]["harness"] = harness
    return config


def test_the_difference_to_the_base_model_is_paired_by_item():
    """The mean is of all items, the difference of those that both have: 0 - 1, 1 - 1, 1 - 0."""
    row = compared({1: 0.0, 2: 1.0, 3: 1.0, 9: 1.0}, {1: 1.0, 2: 1.0, 3: 0.0, 4: 1.0}, 200, 0)
    assert (row["items"], row["value"], row["vs_base"]) == (4, 0.75, 0.0)
    assert row["vs_base_low"] <= 0 <= row["vs_base_high"]
    assert compared({1: 1.0}, None, 200, 0)["vs_base"] is None


def test_checkpoints_are_compared_task_by_task(tmp_path):
    paths = []
    for name, values in (("base", (1, 0)), ("round-3", (1, 1))):
        paths.append(str(tmp_path / f"{name}.parquet"))
        rows = [
            {"task": task, "metric": "acc", "item": item, "value": float(value)}
            for task in ("b", "a")
            for item, value in enumerate(values)
        ]
        write_items(paths[-1], rows[:3] if name == "base" else rows)
    assert list(read_values(paths[0])) == [("a", "acc"), ("b", "acc")]
    out = tmp_path / "harness.csv"
    measure_harness.main(paths, out, seed=0, checkpoints=["base", "round-3"], resamples=100)
    rows = [
        (r["checkpoint"], r["task"], r["items"], r["value"], r["vs_base"])
        for r in read_csv_table(out, "harness")
    ]
    assert rows == [
        ("base", "a", 1, 1.0, None),
        ("base", "b", 2, 0.5, None),
        ("round-3", "a", 2, 1.0, 0.0),
        ("round-3", "b", 2, 1.0, 0.5),
    ]


@pytest.mark.parametrize(
    ("harness", "message"),
    [
        ({"checkpoints": ["round-9"]}, r"harness\.checkpoints: found round-9, expected one of base, sft-0"),
        ({"checkpoints": ["best"]}, r"harness\.checkpoints\.0: found 'best'"),
        (
            {"include_path": "no/such"},
            r"harness\.include_path: found 'no/such', expected a folder",
        ),
        ({"batch_size": 0}, r"harness\.batch_size: found 0"),
        ({"task": ["a"]}, r"harness\.task: unknown key"),
    ],
)
def test_what_cannot_be_run_is_refused(harness, message):
    with pytest.raises(InputError, match=message):
        check_config(shipped(**harness))


def test_a_run_with_tasks_runs_them_on_its_checkpoints(tmp_path, monkeypatch):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(shipped(tasks=["arc_easy"], limit=5)))
    monkeypatch.chdir(tmp_path)
    with plan(tmp_path, "results/default/report.html", ["my.yaml"]) as dag:
        jobs = [job for job in dag.jobs if job.rule.name == "run_harness"]
        assert {job.wildcards.checkpoint for job in jobs} == {"base", "sft-0", "round-3"}
        assert {spec_of(job)["config"]["limit"] for job in jobs} == {5}
        (measure,) = [job for job in dag.jobs if job.rule.name == "measure_harness"]
        given = spec_of(measure)["config"]["checkpoints"]
        assert list(measure.input.results) == [
            f"results/default/evaluation/harness/{n}.parquet" for n in given
        ]
        (probe,) = [job for job in dag.jobs if job.rule.name == "probe_lm_eval"]
        assert spec_of(probe)["config"]["tasks"] == ["arc_easy"] and not dag.dependencies[probe]
