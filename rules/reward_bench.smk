# Where judge.benchmark names RewardBench, 1 or 2: the judges by section, as it is published. A run without it has no
# job here.

from alma.label_sets.registry import split_set


def reward_bench(w):
    """Name and source of the RewardBench that a run's judges are measured on."""
    name, source = split_set(cfg(w, "judge", "benchmark") or "")
    return (name, source) if name in ("rewardbench", "rewardbench2") else (None, None)


def reward_bench_tables(run):
    """The table of sections, where a run has one."""
    return [f"results/{run}/evaluation/reward_bench.csv"] if reward_bench(run)[0] else []


rule read_reward_bench:
    input:
        file=from_user(lambda w: [source for source in [reward_bench(w)[1]] if source and is_local(source)]),
        judge=from_run("results/{run}/seeds/judge.parquet"),
        heldout=from_run("results/{run}/seeds/judge_heldout.parquet"),
    output:
        answers="results/{run}/seeds/reward_bench.parquet",
    log:
        "results/{run}/logs/read_reward_bench.log",
    benchmark:
        "results/{run}/benchmarks/read_reward_bench.tsv"
    priority: 10  # what is wrong with the file is worth knowing before anything is trained
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "read_reward_bench",
            name=lambda w: reward_bench(w)[0],
            source=lambda w: reward_bench(w)[1],
        ),
    message:
        "Reading RewardBench with its subsets"
    script:
        "../scripts/read_reward_bench.py"


rule score_reward_bench:
    input:
        model=model("{checkpoint}"),
        seeds=from_run("results/{run}/seeds/judge.parquet"),
        answers=from_run("results/{run}/seeds/reward_bench.parquet"),
    output:
        scores="results/{run}/judge/reward_bench/{checkpoint}.parquet",
    log:
        "results/{run}/logs/score_reward_bench/{checkpoint}.log",
    benchmark:
        "results/{run}/benchmarks/score_reward_bench/{checkpoint}.tsv"
    priority: -1  # nothing waits for it but the evaluation
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(600),
        gpu=engine_gpus,
    params:
        spec=spec(
            "score_reward_bench",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=judge_engine,
            shots=lambda w: cfg(w, "judge", "shots") if w.checkpoint == "base" else 0,
            reading=lambda w: judge_reading(w, w.checkpoint),
            min_mass=from_config("judge", "min_mass"),
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Scoring RewardBench with {wildcards.checkpoint}"
    script:
        "../scripts/score_reward_bench.py"


rule evaluate_reward_bench:
    input:
        answers=from_run("results/{run}/seeds/reward_bench.parquet"),
        base=from_run("results/{run}/judge/reward_bench/base.parquet"),
        judge_seed=from_run("results/{run}/judge/reward_bench/judge-seed.parquet"),
        judge=from_run("results/{run}/judge/reward_bench/judge.parquet"),
    output:
        table=report(
            "results/{run}/evaluation/reward_bench.csv",
            caption="../report/reward_bench.rst",
            category="Judge",
            labels={"what": "RewardBench by section", "form": "table"},
        ),
    log:
        "results/{run}/logs/evaluate_reward_bench.log",
    benchmark:
        "results/{run}/benchmarks/evaluate_reward_bench.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "evaluate_reward_bench",
            name=lambda w: reward_bench(w)[0],
            seed=from_config("seed"),
            resamples=from_config("evaluation", "resamples"),
        ),
    message:
        "Measuring the four judges on RewardBench by section"
    script:
        "../scripts/evaluate_reward_bench.py"
