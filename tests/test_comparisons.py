"""Which runs a table compares: controls beside their run, replicates, and controls that are none."""

import pytest
import yaml

from alma.errors import InputError
from alma.workflow.comparisons import ablation_tables, controls, replicates
from alma.workflow.config import ROOT, check_config, parents, run_configs

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
