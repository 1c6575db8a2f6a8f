"""The config is checked in full, with the key's path, before anything runs."""

import copy
import re

import config_docs
import pytest
import yaml

from alma.errors import InputError
from alma.workflow.config import ROOT, check_config, fill_defaults, load_schema, merge, run_configs


@pytest.fixture
def shipped(monkeypatch):
    monkeypatch.chdir(ROOT)
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def change(config, path, value):
    *parents, last = path.split(".")
    node = config
    for key in parents:
        node = node[key]
    node[last] = value


def test_the_shipped_config_is_valid_and_names_every_key(shipped):
    given = copy.deepcopy(shipped)
    check_config(shipped)
    assert shipped == given, "config.yaml must name every key, so that a reader sees them all"


def test_a_config_needs_only_what_differs(shipped):
    small = {"base_model": str(ROOT / "data"), "labels": shipped["labels"]}
    check_config(small)
    assert small["rounds"] == 3 and small["training"]["sft"]["batch_size"] == 16
    assert small["base_model"] == {"source": str(ROOT / "data"), "chat_template": None, "accept_terms": False}


WRONG = [
    ("rounds", 1, r"rounds: found 1, expected at least 2"),
    ("rounds", "three", r"rounds: found 'three', expected integer"),
    ("training.objective", "ppo", r"training\.objective: found 'ppo', expected one of best_of_n, dpo"),
    (
        "training.sft.learning_rate",
        "1e-5",
        r"learning_rate: found '1e-5', expected number .*1e-05 as a number",
    ),
    ("training.sft.micro_batch_size", 3, r"training\.sft\.micro_batch_size: found 3, expected a divisor"),
    (
        "judge.distillation.training.epochs",
        0,
        r"judge\.distillation\.training\.epochs: found 0, expected more",
    ),
    ("sampling.temprature", 1.0, r"sampling\.temprature: unknown key; known here: max_tokens, seed, temp"),
    ("colour", 1, r"colour: unknown key"),
    ("judge.scale", [10, 0], r"judge\.scale: found \[10, 0\], expected the lower end first"),
    ("prompts.shots", [5, 3], r"prompts\.shots: found \[5, 3\]"),
    ("prompts.clusters", 5, r"prompts\.clusters: found 5, expected at least prompts_per_round \(20\)"),
    (
        "checkpoints.sample",
        ["sft-2"],
        r"checkpoints\.sample: found sft-2, expected sft-0 \.\. sft-1 or latest",
    ),
    ("checkpoints.sample", ["best"], r"checkpoints\.sample\.0: found 'best'"),
    ("labels.sft", "missing.jsonl", r"labels\.sft: found 'missing\.jsonl', expected a file that exists"),
    ("labels.judge", "package:x", r"labels\.judge: found 'package:x', expected a path or hub"),
    ("evaluation.benchmarks", {"a": "no.csv"}, r"evaluation\.benchmarks\.a: found 'no\.csv'"),
    (
        "base_model.source",
        "hub:org/name@main",
        r"base_model: found 'hub:org/name@main'.*40 digits of a commit",
    ),
    ("base_model.source", "no/such/model", r"base_model: found 'no/such/model', expected a folder"),
    ("run", "../escape", r"run: found '\.\./escape', expected text that matches"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_a_wrong_value_is_named_with_its_path(shipped, path, value, message):
    change(shipped, path, value)
    with pytest.raises(InputError, match=message):
        check_config(shipped)


def test_all_wrong_keys_are_listed_at_once(shipped):
    change(shipped, "rounds", 0)
    change(shipped, "engine.threads", "two")
    change(shipped, "typo", 1)
    with pytest.raises(InputError) as caught:
        check_config(shipped)
    assert all(key in str(caught.value) for key in ("rounds", "engine.threads", "typo"))


def test_every_key_has_a_description_and_every_object_refuses_unknown_keys():
    schema = load_schema()

    def visit(node, path):
        if "properties" in node:
            assert node.get("additionalProperties") is False, path
            for key, child in node["properties"].items():
                assert child.get("description") or "$ref" in child, f"{path}.{key}"
                visit(child, f"{path}.{key}")
        for option in node.get("oneOf", []):
            visit(option, path)

    visit(schema, "config")
    visit(schema["$defs"]["training"], "training")


def test_the_docs_page_is_in_sync_with_the_schema():
    assert config_docs.PAGE.read_text() == config_docs.page(), "run: python tools/config_docs.py"


def test_defaults_of_the_schema_are_legal():
    schema, values = load_schema(), {}
    fill_defaults(values, schema, schema)
    values |= {"base_model": "data", "labels": {"sft": "data/sft.jsonl", "judge": "data/judge.jsonl"}}
    check_config(values)


def test_variants_inherit_and_differ_only_where_they_say(shipped):
    shipped["runs"] = {
        "dpo": {"training": {"objective": "dpo"}},
        "dpo-long": {"inherits": "dpo", "rounds": 5},
    }
    check_config(shipped)
    runs = run_configs(shipped)
    assert set(runs) == {"default", "dpo", "dpo-long"}
    assert runs["dpo"]["training"] == merge(runs["default"]["training"], {"objective": "dpo"})
    assert (runs["dpo-long"]["rounds"], runs["dpo-long"]["training"]["objective"]) == (5, "dpo")
    assert runs["default"]["training"]["objective"] == "best_of_n" and runs["dpo"]["run"] == "dpo"


OLD = [
    ("seeds", {"sft": "a"}, "labels"),
    ("prompts.per_shard", 5, r"prompts\.raw_per_shard"),
    ("prompts.examples", [3, 5], r"prompts\.shots"),
    ("judge.examples", 3, r"judge\.shots"),
    ("evaluation.examples", 3, r"evaluation\.shots"),
    ("training.threads.seeds", 1, r"training\.threads\.sft and training\.threads\.judge"),
]


@pytest.mark.parametrize("place", ["config", "variant"])
@pytest.mark.parametrize(("path", "value", "new"), OLD, ids=[key for key, _, _ in OLD])
def test_an_old_key_is_answered_with_its_new_name(shipped, path, value, new, place):
    old = value
    for key in reversed(path.split(".")):
        old = {key: old}
    config = merge(shipped, old if place == "config" else {"runs": {"other": old}})
    with pytest.raises(InputError, match=rf"{re.escape(path)}: an old name; the key is now {new}$") as caught:
        check_config(config)
        run_configs(config)
    assert ("runs.other" in str(caught.value)) == (place == "variant")


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"a": {"inherits": "b"}, "b": {"inherits": "a"}}, "without a circle"),
        ({"a": {"inherits": "nobody"}}, "expected one of default, a"),
        ({"a": {"rounds": 1}}, r"config, runs\.a: wrong keys[\s\S]*rounds: found 1"),
    ],
)
def test_wrong_variants_are_refused(shipped, runs, message):
    shipped["runs"] = runs
    check_config(shipped)
    with pytest.raises(InputError, match=message):
        run_configs(shipped)
