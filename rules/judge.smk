# The judge: trained on the human scores (judge-seed), then on its own scores of sampled responses (judge).


def judge_engine(w):
    """The engine's part of a spec where the judge is asked: `judge.dtype` says how exact it is read."""
    dtype = cfg(w, "judge", "dtype")
    return engine(w) | (
        {"head_dtype": "float32"} if dtype == "auto" else {"dtype": dtype, "head_dtype": dtype}
    )


def judge_reading(w, checkpoint):
    """`judge.reading`; what a base model writes after "1" is anything, so it is read exactly."""
    return "exact" if checkpoint == "base" else cfg(w, "judge", "reading")


def distillation_prompts(run):
    """Prompts whose responses the judge is trained on itself: each gives one per SFT checkpoint.

    A quarter more than `pairs` need, since responses that the token limit cuts off are left out. Neither
    shards nor prompts_per_round come in, so neither changes the judge.
    """
    return ceil_div(5 * cfg(run, "judge", "distillation", "pairs"), 4 * len(sft_checkpoints(run)))


def distillation_samples(w):
    return [f"results/{w.run}/judge/samples/{name}.parquet" for name in sft_checkpoints(w.run)]


rule train_judge_seed:
    input:
        model=model("base"),
        seeds=from_run("results/{run}/seeds/judge.parquet"),
        checked=lengths_checked,
    output:
        model=model_outputs("judge-seed"),
        curve="results/{run}/tables/training/judge-seed.csv",
    log:
        "results/{run}/logs/train_judge_seed.log",
    benchmark:
        "results/{run}/benchmarks/train_judge_seed.tsv"
    priority: 1  # all scores wait for it
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(9000),
        runtime=NEEDS.minutes(600),
        disk_mb=NEEDS.disk(1000),
        gpu=training_gpus(saves("judge", "training")),
    params:
        spec=spec(
            "train_judge_seed",
            threads=from_config("training", "threads", "judge"),
            seed=lambda w: [seed_of(w, "judge"), "judge-seed"],
            device=from_config("engine", "device"),
            training=training("judge", "training"),
            loss=from_config("judge", "loss"),
            balance=from_config("judge", "balance"),
        ),
        uncompared=uncompared(training=saves("judge", "training")),
    message:
        "Training the judge on the human scores"
    script:
        "../scripts/train_judge_seed.py"


rule sample_distillation:
    input:
        model=model("{checkpoint}"),
        prompts=from_run(lambda w: prompt_files(w.run, "unique")),
        deal=from_run("results/{run}/prompts/deal.parquet"),
    output:
        responses="results/{run}/judge/samples/{checkpoint}.parquet",
    log:
        "results/{run}/logs/sample_distillation/{checkpoint}.log",
    benchmark:
        "results/{run}/benchmarks/sample_distillation/{checkpoint}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "sample_distillation",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=engine,
            checkpoint=lambda w: w.checkpoint,
            prompts_used=lambda w: distillation_prompts(w.run),
            **{name: from_config("sampling", name) for name in ("temperature", "top_p", "max_tokens")},
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Sampling {wildcards.checkpoint} for the judge's training on itself (self-distillation)"
    script:
        "../scripts/sample_distillation.py"


rule score_distillation:
    input:
        model=model("judge-seed"),
        responses=from_run(distillation_samples),
    output:
        pairs="results/{run}/judge/distillation.parquet",
    log:
        "results/{run}/logs/score_distillation.log",
    benchmark:
        "results/{run}/benchmarks/score_distillation.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "score_distillation",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=judge_engine,
            pairs=from_config("judge", "distillation", "pairs"),
            reading=lambda w: judge_reading(w, "judge-seed"),
            min_mass=from_config("judge", "min_mass"),
        ),
        uncompared=uncompared(engine=batching, max_unreadable=from_config("judge", "max_unreadable")),
    message:
        "Scoring sampled responses with the seed judge (self-distillation)"
    script:
        "../scripts/score_distillation.py"


rule train_judge:
    input:
        model=model("judge-seed"),
        seeds=from_run("results/{run}/seeds/judge.parquet"),
        pairs=from_run("results/{run}/judge/distillation.parquet"),
    output:
        model=model_outputs("judge"),
        curve="results/{run}/tables/training/judge.csv",
    log:
        "results/{run}/logs/train_judge.log",
    benchmark:
        "results/{run}/benchmarks/train_judge.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(9000),
        runtime=NEEDS.minutes(600),
        disk_mb=NEEDS.disk(1000),
        gpu=training_gpus(saves("judge", "distillation", "training")),
    params:
        spec=spec(
            "train_judge",
            threads=from_config("training", "threads", "judge"),
            seed=lambda w: [seed_of(w, "judge"), "judge"],
            device=from_config("engine", "device"),
            training=training("judge", "distillation", "training"),
            loss=from_config("judge", "loss"),
            balance=from_config("judge", "balance"),
            replay=from_config("judge", "distillation", "replay"),
            target=from_config("judge", "distillation", "target"),
        ),
        uncompared=uncompared(training=saves("judge", "distillation", "training")),
    message:
        "Training the judge further on its own scores"
    script:
        "../scripts/train_judge.py"


rule score_heldout:
    input:
        model=model("{checkpoint}"),
        seeds=from_run("results/{run}/seeds/judge.parquet"),
        heldout=from_run("results/{run}/seeds/judge_heldout.parquet"),
        benchmark=from_run("results/{run}/seeds/judge_benchmark.parquet"),
        checked=lengths_checked,
    output:
        scores="results/{run}/judge/heldout/{checkpoint}.parquet",
    log:
        "results/{run}/logs/score_heldout/{checkpoint}.log",
    benchmark:
        "results/{run}/benchmarks/score_heldout/{checkpoint}.tsv"
    priority: 1  # says whether the judge is fit before the rounds are paid for
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "score_heldout",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=judge_engine,
            shots=lambda w: cfg(w, "judge", "shots") if w.checkpoint == "base" else 0,
            reading=lambda w: judge_reading(w, w.checkpoint),
            min_mass=from_config("judge", "min_mass"),
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Scoring the held-out judge rows with {wildcards.checkpoint}"
    script:
        "../scripts/score_heldout.py"


rule evaluate_judge:
    input:
        base=from_run("results/{run}/judge/heldout/base.parquet"),
        judge_seed=from_run("results/{run}/judge/heldout/judge-seed.parquet"),
        judge=from_run("results/{run}/judge/heldout/judge.parquet"),
    output:
        table=report(
            "results/{run}/evaluation/judge.csv",
            caption="../report/judge.rst",
            category="Judge",
            labels={"what": "Four judges", "form": "table"},
        ),
        calibration=report(
            "results/{run}/tables/judge_calibration.csv",
            caption="../report/judge.rst",
            category="Judge",
            labels={"what": "Calibration", "form": "table"},
        ),
    log:
        "results/{run}/logs/evaluate_judge.log",
    benchmark:
        "results/{run}/benchmarks/evaluate_judge.tsv"
    priority: 1
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "evaluate_judge",
            seed=from_config("seed"),
            resamples=from_config("evaluation", "resamples"),
        ),
    message:
        "Measuring the four judges on held-out human scores"
    script:
        "../scripts/evaluate_judge.py"
