"""tools/plan: what a run will cost, from its config and from what is assumed."""

import json

import pytest
import yaml
from rule_texts import ROOT, written_rules

from alma.errors import InputError
from alma.workflow import costs, estimate
from alma.workflow.config import check_config
from alma.workflow.costs import DEVICES, Assumed, Job, Model, Work

A = Assumed()
LLAMA = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
SMOL = {
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
H100 = DEVICES["h100"]
MODEL = Model.of(8e9, LLAMA)


def config(name="llama3-8b", **changes):
    values = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()) | changes
    check_config(values)
    return values


RUN = config()


def job(rule, spec=None, run=RUN, **wildcards):
    return Job(rule, wildcards, spec or {}, run)


def work(rule, spec=None, before=(), run=RUN, **wildcards):
    return costs.work(job(rule, spec, run, **wildcards), list(before), MODEL, A)


# sizes


def test_the_cache_of_a_token_is_known_or_scaled():
    assert MODEL.cache_bytes == Model.of(8e9).cache_bytes == 131072
    assert Model.of(32e9).cache_bytes == 2 * 131072 and Model.of(32e9).hidden == 8192


def test_the_size_of_a_model_comes_from_its_config_its_name_or_an_option(tmp_path):
    model, where = estimate.model_of("hub:x/Llama-3-8B@0", None, None)
    assert (model, where.split(",")[0]) == (Model.of(8e9), "the name of base_model")
    assert model.cache_bytes == MODEL.cache_bytes and model.hidden == MODEL.hidden
    (tmp_path / "config.json").write_text(json.dumps(SMOL))
    model, where = estimate.model_of(str(tmp_path), None, None)
    assert model.parameters == pytest.approx(134.5e6, rel=0.001) and where == str(tmp_path / "config.json")
    assert estimate.model_of("hub:x/phi@0", None, where)[0] == model
    assert estimate.model_of("hub:x/phi@0", 3e9, None)[0].parameters == 3e9
    with pytest.raises(InputError, match=r"--model-config .*none\.json: found no config\.json"):
        estimate.model_of("hub:x/phi@0", None, str(tmp_path / "none.json"))


# work


def test_a_sampling_job_counts_its_shard_and_its_samples():
    spec = {"samples": list(range(67))}
    first = work("sample_responses", spec, shard="0")
    assert (first.requests, first.read) == (2500 * 67, 2500 * 60)
    assert first.written == pytest.approx(2500 * 67 * 0.4 * 1024)
    run = config(prompts_per_round=2600)
    assert work("sample_responses", spec, run=run, shard="1").requests == 100 * 67, "the last shard is short"


def test_a_scoring_job_reads_what_was_sampled():
    before = [("sample_responses", Work(requests=300)), ("train_judge", Work(requests=99))]
    fast = work("score_responses", {"reading": "fast"}, before)
    assert fast.requests == fast.written == 300
    assert work("score_responses", {"reading": "exact"}, before).read == 2 * fast.read
    before = [("sample_evaluation", Work(requests=300))]
    assert work("score_evaluation", {"reading": "fast", "judge_prompts": 100}, before).requests == 100


def test_a_round_trains_on_all_data_so_far():
    training = RUN["training"]["sft"]
    spec = {"objective": "best_of_n", "training": training}
    second, last = (work("train_round", spec, round=str(r)) for r in (2, 11))
    assert (second.requests, last.requests) == (55_000, 505_000)
    assert last.trained == pytest.approx(2 * 505_000 * (60 + 0.4 * 1024))
    assert 505_000 * 4800 < last.host - 2 * 2**30 < 505_000 * 10_000, "4.8 KB per example were measured"
    pairs = work("train_round", {"objective": "dpo", "training": RUN["training"]["dpo"]}, round="2")
    assert pairs.requests == 50_000 and pairs.passes > 1


def test_layers_that_are_not_trained_have_no_backward_pass():
    training, model = RUN["training"]["sft"], Model.of(135e6, SMOL)
    last, whole, unknown = (
        costs.work(job("train_sft", {"training": training | {"last_layers": layers}}), [], its, A).passes
        for layers, its in ((15, model), (None, model), (15, Model.of(8e9)))
    )
    assert SMOL["num_hidden_layers"] == 30 and last == pytest.approx(2 / 3) and whole == unknown == 1


def test_the_judge_s_question_is_computed_once_in_a_micro_batch():
    training = RUN["judge"]["training"]
    one, six = (
        work("train_judge_seed", {"training": training | {"micro_batch_size": size}}) for size in (1, 6)
    )
    assert one.trained - six.trained == pytest.approx(one.requests * training["epochs"] * 110 * 5 / 6)


CLUSTERING = ("find_cells", "assign_cells", "cluster_cells", "cluster_prompts")


def test_cells_make_a_clustering_of_weeks_one_of_minutes():
    one = config(prompts=RUN["prompts"] | {"cells": None})
    assert work("cluster_prompts", run=one).seconds > 14 * 86400
    assert work("cluster_prompts", run=one).host > 4 * 3e6 * 4096
    for rule in CLUSTERING:
        found = work(rule)
        assert 10 <= found.seconds < 600 and found.host < 3 * 2**30, rule
    random = config(prompts=RUN["prompts"] | {"diversify": False})
    assert work("cluster_prompts", run=random).seconds == 0, "no k-means"


def test_every_rule_of_the_workflow_has_a_work():
    for rule in written_rules():
        if rule.name.startswith(("train_", "sample_", "score_")) or "engine=" in rule.directives["params"]:
            assert rule.name in KNOWN or rule.stage in ("annotation", "outside_judges"), rule.name


KNOWN = {
    *(
        "synthesize_prompts",
        "sample_responses",
        "sample_distillation",
        "sample_selection",
        "sample_evaluation",
    ),
    *("score_responses", "score_distillation", "score_selection", "score_evaluation", "score_heldout"),
    "score_reward_bench",
    *("train_sft", "train_round", "train_judge", "train_judge_seed"),
}

# time


def test_rates_are_bound_by_memory_or_by_arithmetic():
    one = costs.rates(MODEL, H100, 1, 256, 260, A)
    two = costs.rates(MODEL, H100, 2, 256, 260, A)
    assert two.decode == pytest.approx(2 * one.decode) and two.train == pytest.approx(2 * one.train)
    assert costs.rates(MODEL, H100, 1, 1, 260, A).decode < one.decode / 50, "weights are read for one text"
    assert one.prefill == pytest.approx(989e12 * 0.4 / 16e9)
    assert costs.sequences(MODEL, H100, {"max_num_seqs": 9999, "gpu_memory_utilization": 0.9}, 1, 4096) < 150


def test_rates_of_a_cpu_are_near_those_that_were_measured():
    """The embedded model on two cores: 140-170 tokens/s sampled at 64 sequences, 55-130 trained on."""
    found = costs.rates(Model.of(135e6, SMOL), DEVICES["cpu"], 2, 64, 150, A)
    assert 155 / 2 < found.decode < 155 * 2 and 90 / 2 < found.train < 90 * 2


def cost(seconds, gpus=1, after=(), rule="sample_responses", **more):
    facts = {"runtime": 7200.0, "memory": 6e9, "host": 5e9, "gpu_bytes": 1e9} | more
    return estimate.Cost(job(rule), "responses", Work(), seconds, gpus, after=list(after), **facts)


def test_wall_time_starts_jobs_as_gpus_get_free():
    four = [cost(10) for _ in range(4)]
    assert [estimate.wall_time(four, gpus) for gpus in (1, 2, 3, 9)] == [40, 20, 20, 10]
    chain = [*four, cost(5, gpus=0, after=[0, 1, 2, 3]), cost(7, after=[4])]
    assert estimate.wall_time(chain, 4) == 22
    assert estimate.wall_time([cost(10, gpus=4), cost(10), cost(10)], 4) == 20
    assert estimate.wall_time([cost(10, gpus=16)], 4) == 10, "one that can never start is told elsewhere"
    assert estimate.wall_time([cost(10, gpus=0) for _ in range(4)], 0, slots=2) == 20


# what will not do


def told(jobs, run=RUN):
    return "\n".join(estimate.warnings(jobs, H100, run, A))


def test_a_sound_plan_has_no_warning():
    run = config(rounds=3)
    assert told([cost(7000), cost(10, gpus=0, memory=0.0, runtime=0.0)], run) == ""


def test_what_will_not_do_is_told_with_a_figure():
    assert "sample_responses: 4 h, and its runtime is 2 h; prompts_per_shard: 1250 would fit" in told(
        [cost(100), cost(14400)]
    )
    assert "asked for): sample_responses 28 of 6" in told([cost(1), cost(1, host=30e9)])
    assert "112 GiB on each of its 1 GPU, which has 72" in told([cost(1, gpu_bytes=120e9)])
    full = {"training": RUN["training"]["sft"]}
    assert costs.gpu_bytes(job("train_sft", full), MODEL, 1) > 80 * 2**30
    assert costs.gpu_bytes(job("train_sft", full), MODEL, 8) < 30 * 2**30


def test_prompts_that_run_dry_are_told():
    assert costs.enough_prompts(RUN, A) is None
    few = config(prompts=RUN["prompts"] | {"shards": 10})
    assert "prompts run dry: 10 rounds take 500000 prompts" in costs.enough_prompts(few, A)


def test_figures_that_were_measured_come_before_arithmetic(tmp_path):
    (tmp_path / "figures.json").write_text('{"decode": 1234, "train": 99.5, "device": "x"}')
    assert estimate.figures_of(str(tmp_path / "figures.json")) == {"decode": 1234.0, "train": 99.5}
    with pytest.raises(InputError, match=r"--figures .*none\.json"):
        estimate.figures_of(str(tmp_path / "none.json"))


def test_rows_of_local_labels_are_counted(tmp_path):
    (tmp_path / "sft.jsonl").write_text("{}\n{}\n\n")
    labels = {"sft": str(tmp_path / "sft.jsonl"), "judge": "hub:x/y@0"}
    facts = {"labels": labels, "evaluation": {"benchmarks": {"mine": "hub:x/y@0"}}}
    assert estimate.counted(facts) == {"sft_pairs": 2}
    options = estimate.arguments(["my.yaml", "--sft-pairs", "7"])
    assert (options.sft_pairs, options.judge_labels) == (7, None)


def test_numbers_and_spans_are_short():
    assert [estimate.number(n) for n in (7, 1234, 5.6e6, 41e9)] == ["7", "1.23k", "5.6M", "41G"]
    assert [estimate.span(s) for s in (45, 600, 3 * 3600, 5 * 86400)] == ["45 s", "10 min", "3 h", "5 days"]


@pytest.mark.slow
def test_the_paper_s_config_as_snakemake_plans_it(tmp_path, monkeypatch):
    """What the paper reports is 512 H100 for about five days; docs/performance.md says what differs."""
    monkeypatch.chdir(tmp_path)
    path = ROOT / "config" / "llama3-8b.yaml"
    jobs = estimate.planned([str(path)], RUN, left=False)
    found = estimate.cost_of(jobs, MODEL, H100, {}, A)
    sampled = [c for c in found if c.job.rule == "sample_responses"]
    assert len(sampled) == 20 * (2 + 9 * 3) and sum(c.work.requests for c in sampled) == 10 * 50_000 * 200
    scored = [c for c in found if c.job.rule == "score_responses"]
    assert sum(c.work.requests for c in scored) == 10 * 50_000 * 200
    assert {c.stage for c in found} - {"Snakefile"} <= set(estimate.stages())
    clustering = [c for c in found if c.job.rule in CLUSTERING]
    assert max(c.seconds for c in clustering) < 3600 and all(c.host < c.memory for c in clustering)
    days = estimate.wall_time(found, 512) / 86400
    assert 1 < days < 2.5, "a third of the paper's five; the page says why"
