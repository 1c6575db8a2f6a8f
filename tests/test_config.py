"""The config is checked in full, with the key's path, before anything runs."""

import json
import re
import sys

import config_docs
import pytest
import warm
import yaml
from fast_run import FastRun

from alma.errors import InputError
from alma.workflow.config import ROOT, check_config, fill_defaults, load_schema, merge, run_configs

DEMONSTRATION = ROOT / "config.yaml"
# Beside it, each complete over the schema's defaults.
READY = sorted((ROOT / "config").glob("*.yaml"))


def loaded(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def leaves(values, path=()):
    """{key path: value} of a config; an object whose keys are names (benchmarks, runs) is one value."""
    found = {}
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, dict) and here not in {("evaluation", "benchmarks"), ("runs",)}:
            found |= leaves(value, here)
        else:
            found[".".join(here)] = value
    return found


def schema_defaults():
    """{key path: default} of every key that has one."""
    schema = load_schema()
    values = {"base_model": {}, "labels": {}, "evaluation": {}}
    fill_defaults(values["base_model"], schema["properties"]["base_model"]["oneOf"][1], schema)
    fill_defaults(values, schema, schema)
    return leaves(values)


@pytest.fixture
def shipped(monkeypatch):
    """The demonstration's config with every key."""
    monkeypatch.chdir(ROOT)
    config = loaded(DEMONSTRATION)
    check_config(config)
    return config


def change(config, path, value):
    *parents, last = path.split(".")
    node = config
    for key in parents:
        node = node[key]
    node[last] = value


def test_the_demonstration_says_only_what_it_changes():
    defaults = schema_defaults()
    restated = [
        key for key, value in leaves(loaded(DEMONSTRATION)).items() if defaults.get(key, ...) == value
    ]
    assert not restated, "these are the defaults anyway"


def test_a_config_needs_only_what_differs(shipped):
    small = {key: shipped[key] for key in ("labels", "evaluation")} | {"base_model": str(ROOT / "data")}
    small["evaluation"] = {"benchmarks": shipped["evaluation"]["benchmarks"]}
    small["training"] = {"dpo": {"batch_size": 32}}
    check_config(small)
    assert small["rounds"] == 5 and small["training"]["sft"]["learning_rate"] == 1e-5
    given = {"source": str(ROOT / "data"), "chat_template": None, "accept_terms": False, "license": None}
    assert small["base_model"] == given
    dpo = small["training"]["dpo"]
    assert (dpo["batch_size"], dpo["learning_rate"]) == (32, 5e-7), "DPO has a rate of its own"


WRONG = [
    ("rounds", 1, r"rounds: found 1, expected at least 2"),
    ("rounds", "three", r"rounds: found 'three', expected integer"),
    ("training.objective", "ppo", r"training\.objective: found 'ppo', expected one of best_of_n, dpo"),
    (
        "training.sft.learning_rate",
        "1e-5",
        r"learning_rate: found '1e-5', expected number .*1e-05 as a number",
    ),
    ("training.sft.gpus", 3, r"training\.sft\.gpus: found 3, expected a divisor of batch_size / micro"),
    ("training.attention", "flash", r"training\.attention: found 'flash', expected one of sdpa, flash"),
    ("training.sft.micro_batch_size", 3, r"training\.sft\.micro_batch_size: found 3, expected a divisor"),
    (
        "judge.distillation.training.epochs",
        0,
        r"judge\.distillation\.training\.epochs: found 0, expected more",
    ),
    ("sampling.temprature", 1.0, r"sampling\.temprature: unknown key; known here: max_tokens, seed, temp"),
    ("color", 1, r"color: unknown key"),
    ("judge.scale", [10, 0], r"judge\.scale: found \[10, 0\], expected the lower end first"),
    ("prompts.shots", [5, 3], r"prompts\.shots: found \[5, 3\]"),
    ("prompts.clusters", 5, r"prompts\.clusters: found 5, expected at least prompts_per_round \(100\)"),
    ("prompts.cells", 161, r"prompts\.cells: found 161, expected at most prompts\.clusters \(160\)"),
    (
        "checkpoints.sample",
        ["sft-2"],
        r"checkpoints\.sample: found sft-2, expected sft-0 \.\. sft-1 or latest",
    ),
    ("checkpoints.sample", ["best"], r"checkpoints\.sample\.0: found 'best'"),
    (
        "evaluation.selection.checkpoint",
        "sft-2",
        r"evaluation\.selection\.checkpoint: found sft-2, expected sft-0 \.\. sft-1",
    ),
    ("evaluation.selection.checkpoint", "round-2", r"selection\.checkpoint: found 'round-2', expected text"),
    (
        "evaluation.selection.benchmark",
        "easy",
        r"selection\.benchmark: found 'easy', expected .* evaluation\.benchmarks \(everyday, hard\) or null",
    ),
    (
        "annotation.checkpoints",
        ["latest", "round-4"],
        r"annotation\.checkpoints: found round-4, expected sft-0 \.\. sft-1, round-2 \.\. round-3 or latest",
    ),
    ("annotation.checkpoints", ["sft-2"], r"annotation\.checkpoints: found sft-2, expected sft-0"),
    ("annotation.checkpoints", ["base"], r"annotation\.checkpoints\.0: found 'base'"),
    ("annotation.prompts", 500, r"annotation\.prompts: found 500, expected at most annotation\.pool \(400\)"),
    ("labels.annotations", "a.csv", r"labels\.annotations: found 'a\.csv', expected array"),
    (
        "labels.annotations",
        ["no.csv"],
        r"labels\.annotations\.0: found 'no\.csv', expected a file that exists",
    ),
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


API = {"kind": "api", "model": "m"}
WRONG_JUDGES = [
    ({"kind": "api"}, r"evaluation\.judges\.a\.model: missing"),
    ({"model": "m"}, r"evaluation\.judges\.a\.kind: missing"),
    ({"kind": "other", "model": "m"}, r"judges\.a\.kind: found 'other', expected one of api, reward"),
    (API | {"pric": 1}, r"judges\.a\.pric: unknown key; known here: .*price"),
    (API | {"asks": ["rank"]}, r"judges\.a\.asks\.0: found 'rank'"),
    (API | {"max_length": 99}, r"judges\.a\.max_length: a key of the kind reward"),
    (API | {"checkpoints": ["round-9"]}, r"judges\.a\.checkpoints: found round-9, expected one of base, sft"),
    (API | {"base_url": "localhost:80"}, r"judges\.a\.base_url: found 'localhost:80', expected http"),
    (API | {"base_url": "https://me:secret@host/v1"}, r"base_url: found 'https://\.\.\.@host/v1', expected"),
    ({"kind": "reward", "model": "no"}, r"judges\.a\.model: found 'no', expected a folder that exists"),
    ({"kind": "reward", "model": "hub:o/n@main"}, r"judges\.a\.model: found 'hub:o/n@main'.*40 digits"),
]
WRONG += [("evaluation.judges", {"a": judge}, message) for judge, message in WRONG_JUDGES]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_a_wrong_value_is_named_with_its_path(shipped, path, value, message):
    change(shipped, path, value)
    with pytest.raises(InputError, match=message):
        check_config(shipped)


def test_a_judge_has_the_defaults_of_its_keys(shipped):
    shipped["evaluation"]["judges"] = {"a": API | {"price": {"input": 2}}, "b": dict(API)}
    check_config(shipped)
    found = shipped["evaluation"]["judges"]
    assert found["a"]["price"] == {"input": 2, "output": None} and found["b"]["max_retries"] == 5
    assert found["b"]["api_key_env"] == "OPENAI_API_KEY" and found["b"]["asks"] == ["pair"]


@pytest.mark.parametrize(("named", "found"), [("outputs.jsonl", r"'outputs\.jsonl'"), ("round-7", "round-7")])
def test_a_reference_that_is_not_there_is_named(shipped, named, found):
    shipped["evaluation"] |= {"reference": named, "judges": {"a": dict(API)}}
    with pytest.raises(
        InputError, match=rf"evaluation\.reference: found {found}, expected .*base, sft-0, sft-1"
    ):
        check_config(shipped)


def test_a_config_that_lacks_what_the_demonstration_names_is_told_so(shipped):
    with pytest.raises(InputError, match=r"config\.yaml, the demonstration, is not read") as caught:
        check_config({"rounds": 3})
    missing = [line.split(":")[0].strip() for line in str(caught.value).splitlines() if "missing" in line]
    assert missing == ["base_model", "labels.sft", "labels.judge", "evaluation.benchmarks"], "each once"
    with pytest.raises(InputError) as caught:
        check_config(shipped | {"rounds": 0})
    assert "demonstration" not in str(caught.value)


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
    visit(schema["$defs"]["outside_judge"], "evaluation.judges.NAME")


def test_the_docs_page_is_in_sync_with_the_schema():
    assert config_docs.PAGE.read_text() == config_docs.page(), "run: python tools/config_docs.py"


@pytest.mark.parametrize("value", [1e-5, 5e-7, 0.00015, 1.5e-10, "1e-05", [3, 5]])
def test_the_docs_page_shows_values_as_yaml_reads_them(value):
    assert yaml.safe_load(config_docs.as_yaml(value)) == value


def test_the_defaults_fit_together(monkeypatch):
    monkeypatch.chdir(ROOT)
    given = {key: loaded(DEMONSTRATION)[key] for key in ("labels", "evaluation")} | {"base_model": "data"}
    given["evaluation"] = {"benchmarks": given["evaluation"]["benchmarks"]}
    check_config(given)
    length, prompt = given["engine"]["max_model_len"], given["prompts"]["max_tokens"]
    assert (given["prompts"]["shots"][1] + 1) * prompt <= length
    for answer in (given["sampling"]["max_tokens"], given["evaluation"]["max_tokens"]):
        assert prompt + answer < length
        for training in (given["judge"]["training"], given["training"]["sft"], given["training"]["dpo"]):
            assert prompt + answer < training["max_length"]
    used = (given["rounds"] - 1) * given["prompts_per_round"]
    written = given["prompts"]["shards"] * given["prompts"]["raw_per_shard"]
    assert used <= given["prompts"]["clusters"] <= written / 4
    assert given["judge"]["distillation"]["pairs"] <= used
    assert given["samples_per_block"] <= given["samples_per_prompt"]
    assert given["prompts_per_shard"] <= given["prompts_per_round"]


# Every place that tells a user which values a run has, with the config files that it names.


def readme_example():
    """The my.yaml that README shows, with its placeholder of a revision filled in."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(# my\.yaml\n.*?)```", text, re.DOTALL)
    assert block, "README shows no my.yaml"
    return block.group(1).replace("REVISION", "0" * 40, 1)


@pytest.fixture(scope="module")
def copy_of_the_workflow(tmp_path_factory):
    """The workflow, which says how it read its config; a job-free way to ask Snakemake itself."""
    run = FastRun.make(tmp_path_factory.mktemp("config") / "run")
    with (run.folder / "Snakefile").open("a") as handle:
        handle.write('\nwith open("effective.json", "w") as handle:\n    json.dump(config, handle)\n')
    for name in ("pairs.jsonl", "scores.csv", "eval.jsonl"):
        (run.folder / "my").mkdir(exist_ok=True)
        (run.folder / "my" / name).touch()
    return run


def effective(run, *arguments, **environment):
    """The config with which Snakemake runs, for these arguments."""
    command = [sys.executable, "-m", "snakemake", "--list-rules", *arguments]
    done = warm.run(command, cwd=run.folder, env=run.environment(**environment))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((run.folder / "effective.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(path.name for path in READY), "README"])
def test_a_config_is_what_it_says_and_the_defaults(copy_of_the_workflow, name):
    """Not a value of config.yaml comes in: neither by name nor by being laid under the file."""
    run = copy_of_the_workflow
    path = ROOT / "config" / name
    if name == "README":
        path = run.folder / "readme.yaml"
        path.write_text(readme_example(), encoding="utf-8")
    stated, defaults = leaves(loaded(path)), schema_defaults()
    if isinstance(loaded(path)["base_model"], str):
        stated["base_model.source"] = stated.pop("base_model")
    found = leaves(effective(run, "--configfile", str(path), "--resources", "gpu=8"))  # as llama3-8b asks for
    assert set(found) == set(stated) | set(defaults)
    for key, value in found.items():
        expected = stated[key] if key in stated else defaults[key]
        assert value == expected, f"{key}: {value}, expected {expected}"


@pytest.mark.slow
def test_config_yaml_is_read_only_where_no_config_is_given(copy_of_the_workflow, tmp_path):
    run = copy_of_the_workflow
    (run.folder / "readme.yaml").write_text(readme_example(), encoding="utf-8")
    demonstration = effective(run)
    assert demonstration["rounds"] == 3 and demonstration["prompts"]["clusters"] == 160
    assert effective(run, "--config", "rounds=4") == demonstration | {"rounds": 4}
    mine = effective(run, "--configfile", "readme.yaml")
    assert mine["run"] == "mine" and mine["prompts"]["clusters"] == schema_defaults()["prompts.clusters"]
    assert effective(run, "--configfile", "readme.yaml", "--config", "rounds=4") == mine | {"rounds": 4}
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("configfile: readme.yaml\n")
    assert effective(run, "--profile", str(tmp_path / "profile")) == mine
    assert effective(run, SNAKEMAKE_PROFILE=str(tmp_path / "profile")) == mine
    (run.folder / "laid.yaml").write_text("run: laid\n")
    laid = effective(run, "--configfile", "config.yaml", "laid.yaml")
    assert laid == demonstration | {"run": "laid"}, "named, it is a config file as any other"


@pytest.mark.slow
def test_a_job_reads_the_config_of_the_run_that_starts_it(copy_of_the_workflow):
    """Jobs are processes that read the config again; its spec tells what the job was given."""
    run = copy_of_the_workflow
    other = run.config | {"run": "other", "seed": 5, "judge": {"heldout_fraction": 0.2}}
    (run.folder / "other.yaml").write_text(yaml.safe_dump(other))
    cases = {
        "default": ([], 0, 0.1),
        "named": (["--config", "run=named", "seed=4"], 4, 0.1),
        "other": (["--configfile", "other.yaml"], 5, 0.2),
        "both": (["--configfile", "other.yaml", "--config", "run=both", "seed=6"], 6, 0.2),
    }
    for name, (arguments, seed, fraction) in cases.items():
        target = f"results/{name}/seeds/sft.parquet"
        command = [sys.executable, "-m", "snakemake", "--cores", "1", target, *arguments]
        done = warm.run(command, cwd=run.folder, env=run.environment())
        assert done.returncode == 0, done.stdout + done.stderr
        record = json.loads((run.folder / f"results/{name}/provenance/seeds/sft.parquet.json").read_text())
        config = record["spec"]["config"]
        assert (config["seed"], config["heldout_fraction"]) == (seed, fraction), name


@pytest.mark.parametrize("name", ["ablations", "experiment", "gemma3-270m"])
def test_configs_in_the_demonstration_s_size_keep_it(shipped, name):
    """They state its values themselves, so that they stand alone."""
    values = loaded(ROOT / "config" / f"{name}.yaml")
    check_config(values)
    ours, theirs = leaves(shipped), leaves(values)
    differ = {key for key in ours if ours[key] != theirs[key]}
    expected = {"ablations": {"run", "runs"}, "gemma3-270m": {"run", "engine.max_num_seqs"}}.get(name)
    if name == "experiment":
        expected = {"run", "runs", "engine.kv_cache_gib", "rounds"}
        expected |= {"samples_per_prompt", "samples_per_block", "evaluation.benchmarks"}
        expected |= {"evaluation.selection.samples"}
        expected |= {f"prompts.{key}" for key in ("shards", "clusters")}
    if name == "gemma3-270m":
        expected |= {"base_model.source", "base_model.chat_template"}
        expected |= {key for key in ours if key.endswith("micro_batch_size")}
    assert differ == expected


def test_the_paper_s_rounds_come_after_the_sft():
    paper = loaded(ROOT / "config" / "llama3-8b.yaml")
    assert paper["rounds"] == 10 + 1


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
