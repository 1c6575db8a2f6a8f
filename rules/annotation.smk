# What people are asked to rate: responses of the run's checkpoints, those whose comparison tells most. No run needs
# these files; the target `annotate` makes them, and labels.annotations of the next run takes the answers.


def annotation_checkpoints(run):
    """Checkpoints that answer, `latest` by its name."""
    names = cfg(run, "annotation", "checkpoints")
    return list(dict.fromkeys(final_checkpoint(run) if name == "latest" else name for name in names))


def annotation_sources(w):
    """Tables that the prompts are taken from."""
    tables = {"new": ["prompts/deal"], "judge": ["seeds/judge", "seeds/judge_heldout"], "sft": ["seeds/sft"]}
    chosen = cfg(w, "annotation", "prompts_from")
    unique = prompt_files(w.run, "unique") if chosen == "new" else []
    return [*unique, *(f"results/{w.run}/{name}.parquet" for name in tables[chosen])]


def annotation_files(kind):
    """Input function: the samples or the scores of every checkpoint that answers."""
    return from_run(
        lambda w: [
            f"results/{w.run}/annotation/{kind}/{name}.parquet" for name in annotation_checkpoints(w.run)
        ]
    )


localrules:
    annotate,


rule annotation_prompts:
    input:
        files=from_run(annotation_sources),
        tokenizer=base_tokenizer,
    output:
        prompts="results/{run}/annotation/prompts.parquet",
    log:
        "results/{run}/logs/annotation_prompts.log",
    benchmark:
        "results/{run}/benchmarks/annotation_prompts.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(60),
    params:
        spec=spec(
            "annotation_prompts",
            seed=lambda w: seed_of(w, "annotation"),
            prompts_from=from_config("annotation", "prompts_from"),
            pool=from_config("annotation", "pool"),
            skip=lambda w: distillation_prompts(w.run),
            max_model_len=from_config("engine", "max_model_len"),
            max_tokens=from_config("sampling", "max_tokens"),
        ),
    message:
        "Choosing the prompts that are answered for the annotation"
    script:
        "../scripts/annotation_prompts.py"


rule sample_annotation:
    input:
        model=model("{checkpoint}"),
        prompts=from_run("results/{run}/annotation/prompts.parquet"),
    output:
        responses="results/{run}/annotation/samples/{checkpoint}.parquet",
    log:
        "results/{run}/logs/sample_annotation/{checkpoint}.log",
    benchmark:
        "results/{run}/benchmarks/sample_annotation/{checkpoint}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "sample_annotation",
            threads=from_config("engine", "threads"),
            seed=lambda w: seed_of(w, "annotation"),
            engine=engine,
            checkpoint=lambda w: w.checkpoint,
            samples=from_config("annotation", "samples"),
            **{name: from_config("sampling", name) for name in ("temperature", "top_p", "max_tokens")},
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Sampling {wildcards.checkpoint} for the annotation"
    script:
        "../scripts/sample_annotation.py"


rule score_annotation:
    input:
        model=from_run(lambda w: model_files(w.run, cfg(w, "judge", "checkpoint"))),
        prompts=from_run("results/{run}/annotation/prompts.parquet"),
        responses=from_run("results/{run}/annotation/samples/{checkpoint}.parquet"),
        seeds=from_run(lambda w: [f"results/{w.run}/seeds/judge.parquet"] if few_shot_judge(w) else []),
    output:
        scores="results/{run}/annotation/scores/{checkpoint}.parquet",
    log:
        "results/{run}/logs/score_annotation/{checkpoint}.log",
    benchmark:
        "results/{run}/benchmarks/score_annotation/{checkpoint}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "score_annotation",
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
        "Scoring {wildcards.checkpoint} for the annotation"
    script:
        "../scripts/score_annotation.py"


rule choose_annotation:
    input:
        prompts=from_run("results/{run}/annotation/prompts.parquet"),
        samples=annotation_files("samples"),
        scores=annotation_files("scores"),
        judge=from_run("results/{run}/seeds/judge.parquet"),
        judge_heldout=from_run("results/{run}/seeds/judge_heldout.parquet"),
    output:
        tasks="results/{run}/annotation/tasks.json",
        interface="results/{run}/annotation/label_studio.xml",
        sheet="results/{run}/annotation/tasks.csv",
        page="results/{run}/annotation/instructions.html",
        key="results/{run}/annotation/key.parquet",
    log:
        "results/{run}/logs/choose_annotation.log",
    benchmark:
        "results/{run}/benchmarks/choose_annotation.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(60),
    params:
        spec=spec(
            "choose_annotation",
            seed=lambda w: seed_of(w, "annotation"),
            prompts=from_config("annotation", "prompts"),
            responses=from_config("annotation", "responses"),
            choose=from_config("annotation", "choose"),
        ),
    message:
        "Choosing the responses that people rate"
    script:
        "../scripts/choose_annotation.py"


rule annotate:
    input:
        f"results/{RUN}/annotation/tasks.json",
    message:
        f"Rate the responses in results/{RUN}/annotation/: instructions.html says how, docs/annotation.md what then"
