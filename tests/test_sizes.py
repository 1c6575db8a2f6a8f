"""What jobs ask for: it grows with the model and the shards, and with each attempt."""

import json
from types import SimpleNamespace

import pytest
import yaml
from fast_run import ROOT, SMALL, FastRun, merged
from rule_texts import written_rules

from alma.workflow.config import check_config, run_configs
from alma.workflow.sizes import (
    _KB_PER_ROW,
    EMBEDDED,
    EMBEDDING,
    ENGINE,
    TRAINING,
    UNKNOWN,
    Requests,
    Sizes,
    parameters,
)

# config.json as the models' authors publish it, and how many parameters their pages name.
LLAMA_8B = {
    **{"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
    **{"intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False},
}
SMOLLM2 = {
    **{"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3},
    **{"intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True},
}


def sizes(on_gpu=False, **changes):
    config = merged(yaml.safe_load((ROOT / "config" / "test.yaml").read_text()), changes)
    check_config(config)
    return Sizes(run_configs(config)[config["run"]], on_gpu)


@pytest.mark.parametrize(("values", "known"), [(LLAMA_8B, 8.03e9), (SMOLLM2, 134.5e6)])
def test_parameters_come_from_the_config_of_a_local_model(tmp_path, values, known):
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert parameters(str(tmp_path)) == pytest.approx(known, rel=0.005)


def test_parameters_of_a_hub_model_come_from_the_cache_or_from_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    source = "hub:meta-llama/Meta-Llama-3-8B@abc"
    assert parameters(source) == 8_000_000_000
    folder = tmp_path / "models--meta-llama--Meta-Llama-3-8B" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(SMOLLM2))
    assert parameters(source) == pytest.approx(EMBEDDED, rel=0.01)


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("package:smollm2-135m", 135_000_000),
        ("package:gemma3-270m", 270_000_000),
        ("hub:Qwen/Qwen2.5-0.5B@1", 500_000_000),
        ("hub:mine/model@8b8b8b8b", UNKNOWN),  # a revision is no size
        ("hub:mine/v2@1", UNKNOWN),
        ("no/such/folder", UNKNOWN),
    ],
)
def test_parameters_come_from_the_name(source, known):
    assert parameters(source) == known


def test_a_config_json_that_cannot_be_read_is_no_error(tmp_path):
    for text in ("", "[]", "{}", '{"hidden_size": "x"}'):
        (tmp_path / "config.json").write_text(text)
        assert parameters(str(tmp_path)) == UNKNOWN


@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_a_job_asks_for_grows_with_the_model(on_gpu):
    small = sizes(on_gpu, base_model={"source": "package:smollm2-135m"})
    large = sizes(on_gpu, base_model={"source": f"hub:mine/model-70B@{40 * '0'}"})
    for rule in ENGINE | TRAINING | EMBEDDING | {"base_model"}:
        assert large.mem_mb(rule, 6000) > small.mem_mb(rule, 6000) + 100_000, "70 billion parameters"
        assert large.disk_mb(rule, 1000) > small.disk_mb(rule, 1000) + 100_000
    if not on_gpu:  # a GPU takes less than a minute for these shards, whatever the model
        for rule in ("sample_responses", "score_responses", "synthesize_prompts", "train_round"):
            assert large.runtime(rule, 120) > small.runtime(rule, 120)


def test_what_a_job_asks_for_grows_with_the_shard():
    small = sizes()
    large = sizes(
        prompts_per_round=1_000_000,
        prompts_per_shard=1_000_000,
        prompts={"raw_per_shard": 2_000_000, "clusters": 1_000_000},
    )
    for rule in (
        "sample_responses",
        "score_responses",
        "synthesize_prompts",
        "cluster_prompts",
        *_KB_PER_ROW,
    ):
        assert large.mem_mb(rule, 4000) > small.mem_mb(rule, 4000) + 1000, rule
    for rule in ("sample_responses", "score_responses", "synthesize_prompts", "embed_prompts", "train_round"):
        assert large.runtime(rule, 30) > 2 * small.runtime(rule, 30), rule
    assert large.mem_mb("plot_scores", 2000) == 2000


@pytest.mark.parametrize("width", [None, 64])
def test_no_job_of_a_clustering_in_cells_grows_with_all_prompts(width):
    """But the join, which holds ids and numbers."""
    prompts = {"raw_per_shard": 50_000, "clusters": 1_000_000, "cells": 1000, "embedding_dimensions": width}
    few, many = (sizes(prompts=prompts | {"shards": shards}) for shards in (100, 1000))
    for rule in ("find_cells", "assign_cells", "share_clusters", "cluster_cells"):
        assert few.mem_mb(rule, 0) == many.mem_mb(rule, 0), rule
    assert many.mem_mb("cluster_prompts", 0) == 10_000, "0.2 KB of each of 50 million"
    one = sizes(prompts=prompts | {"shards": 1000, "cells": None})
    assert one.mem_mb("cluster_prompts", 0) > many.mem_mb("cluster_prompts", 0)
    alone = sizes(prompts=prompts | {"shards": 100, "cells": 2})  # a part is then a cell, half of all
    assert alone.mem_mb("cluster_cells", 0) > 20 * few.mem_mb("cluster_cells", 0)


def test_the_last_round_asks_for_the_examples_of_all_rounds():
    """As benchmarks/bench_examples.py measured it: 4.8 KB per example."""
    one, ten = (
        sizes(prompts_per_round=50_000, rounds=rounds, prompts={"clusters": 50_000}) for rounds in (2, 11)
    )
    more = ten.mem_mb("train_round", 12_000) - one.mem_mb("train_round", 12_000)
    assert more > 450_000 * 4.8 / 1000
    assert ten.runtime("train_round", 0) > 9 * one.runtime("train_round", 0)
    assert ten.mem_mb("build_dataset", 4000) == one.mem_mb("build_dataset", 4000), "of one round"


def test_more_gpus_take_less_time():
    one, four = (
        sizes(
            True,
            prompts_per_shard=100_000,
            prompts_per_round=100_000,
            prompts={"raw_per_shard": 200_000, "clusters": 100_000},
            engine={"tensor_parallel_size": count},
        )
        for count in (1, 4)
    )
    assert four.runtime("sample_responses", 0) < one.runtime("sample_responses", 0) / 3


def test_the_demonstration_asks_for_little_more_than_the_bases():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    check_config(config)
    found = Sizes(run_configs(config)[config["run"]], False)
    for rule in written_rules():
        assert found.mem_mb(rule.name, 6000) <= 6100, rule.name
        assert found.runtime(rule.name, 120) <= 180, rule.name


def test_each_attempt_asks_for_more():
    requests = Requests({"test": sizes()}, "test")
    for function in (requests.memory(4000), requests.minutes(30)):
        asked = [function(SimpleNamespace(run="test"), attempt, "select_responses") for attempt in (1, 2, 3)]
        assert asked == [asked[0], 2 * asked[0], 3 * asked[0]]
        assert function(SimpleNamespace(), 1, "select_responses") == asked[0], "a job of no run"


def test_every_rule_asks_for_memory_and_time_through_them():
    names = {rule.name for rule in written_rules()}
    assert ENGINE | TRAINING | set(_KB_PER_ROW) <= names
    for rule in written_rules():
        resources = rule.directives["resources"]
        assert "mem_mb=NEEDS.memory(" in resources and "runtime=NEEDS.minutes(" in resources, rule.name
        assert ("disk_mb=NEEDS.disk(" in resources) == (rule.name in TRAINING | {"base_model"}), rule.name


@pytest.mark.slow
def test_set_resources_wins(tmp_path):
    run = FastRun.make(tmp_path / "run")
    run.config = merged(SMALL, {"base_model": {"source": "base.txt"}})
    target = "results/small/models/sft-0/config.json"
    done = run.run(target, "-n", "--set-resources", "train_sft:mem_mb=1234", "train_sft:runtime=5")
    printed = done.stdout + done.stderr
    assert "mem_mb=1234" in printed and "runtime=5" in printed
