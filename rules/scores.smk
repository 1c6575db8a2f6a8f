# The judge's real-valued score of every response, file by file as they were sampled.


def few_shot_judge(w):
    """Rated examples in the context of the judge that scores the rounds: only the base model needs them."""
    return cfg(w, "judge", "shots") if cfg(w, "judge", "checkpoint") == "base" else 0


rule score_responses:
    input:
        model=from_run(lambda w: model_files(w.run, cfg(w, "judge", "checkpoint"))),
        prompts=from_run("results/{run}/rounds/{round}/prompts/{shard}.parquet"),
        responses=from_run("results/{run}/rounds/{round}/samples/{checkpoint}/{shard}-{block}.parquet"),
        seeds=from_run(lambda w: [f"results/{w.run}/seeds/judge.parquet"] if few_shot_judge(w) else []),
    output:
        scores="results/{run}/rounds/{round}/scores/{checkpoint}/{shard}-{block}.parquet",
    log:
        "results/{run}/logs/score_responses/{round}-{checkpoint}-{shard}-{block}.log",
    benchmark:
        "results/{run}/benchmarks/score_responses/{round}-{checkpoint}-{shard}-{block}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "score_responses",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=judge_engine,
            shots=few_shot_judge,
            score=from_config("judge", "score"),
            reading=lambda w: judge_reading(w, cfg(w, "judge", "checkpoint")),
            min_mass=from_config("judge", "min_mass"),
        ),
        uncompared=uncompared(engine=batching, max_unreadable=from_config("judge", "max_unreadable")),
    message:
        "Scoring {wildcards.checkpoint} in round {wildcards.round} (shard {wildcards.shard}, block {wildcards.block})"
    script:
        "../scripts/score_responses.py"
