# Every checkpoint answers the evaluation prompts; programs check the answers and the judge scores them.


def evaluated_checkpoints(run):
    return ["base", *sft_checkpoints(run), *(f"round-{r}" for r in later_rounds(run))]


def benchmarks(run):
    return sorted(cfg(run, "evaluation", "benchmarks"))


def evaluation_files(run):
    return [
        f"results/{run}/evaluation/{c}/{b}.parquet"
        for c in evaluated_checkpoints(run)
        for b in benchmarks(run)
    ]


rule sample_evaluation:
    input:
        model=model("{checkpoint}"),
        seeds=from_run("results/{run}/seeds/sft.parquet"),
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        turns=from_run("results/{run}/seeds/eval_turns.parquet"),
        checked=lengths_checked,
    output:
        responses="results/{run}/evaluation/responses/{checkpoint}/{benchmark}.parquet",
    log:
        "results/{run}/logs/sample_evaluation/{checkpoint}-{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/sample_evaluation/{checkpoint}-{benchmark}.tsv"
    priority: -1  # nothing waits for it but the evaluation
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "sample_evaluation",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=engine,
            checkpoint=lambda w: w.checkpoint,
            benchmark_name=lambda w: w.benchmark,
            shots=lambda w: cfg(w, "evaluation", "shots") if w.checkpoint == "base" else 0,
            temperature=from_config("evaluation", "temperature"),
            max_tokens=from_config("evaluation", "max_tokens"),
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Answering {wildcards.benchmark} with {wildcards.checkpoint}"
    script:
        "../scripts/sample_evaluation.py"


# One judge scores all runs of a config, so that a variant's figures compare with the main run's. For the same
# reason the seed that chooses the prompts is the main run's.
rule score_evaluation:
    input:
        model=from_run(lambda w: model_files(RUN, "judge")),
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        responses=from_run("results/{run}/evaluation/responses/{checkpoint}/{benchmark}.parquet"),
    output:
        scores="results/{run}/evaluation/{checkpoint}/{benchmark}.parquet",
    log:
        "results/{run}/logs/score_evaluation/{checkpoint}-{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/score_evaluation/{checkpoint}-{benchmark}.tsv"
    priority: -1  # nothing waits for it but the evaluation
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "score_evaluation",
            threads=from_config("engine", "threads"),
            seed=lambda w: cfg(RUN, "seed"),
            judge_prompts=from_config("evaluation", "judge_prompts"),
            engine=judge_engine,
            reading=lambda w: judge_reading(w, "judge"),
            min_mass=from_config("judge", "min_mass"),
        ),
        uncompared=uncompared(engine=batching, max_unreadable=from_config("judge", "max_unreadable")),
    message:
        "Judging {wildcards.checkpoint} on {wildcards.benchmark}"
    script:
        "../scripts/score_evaluation.py"


rule summarize_evaluation:
    input:
        results=from_run(lambda w: evaluation_files(w.run)),
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        judged=from_run(lambda w: judged_files(w.run)),  # of rules/outside_judges.smk
    output:
        summary=report(
            "results/{run}/evaluation/summary.csv",
            caption="../report/summary.rst",
            category="Evaluation",
            labels={"what": "Summary by checkpoint", "form": "table"},
        ),
    log:
        "results/{run}/logs/summarize_evaluation.log",
    benchmark:
        "results/{run}/benchmarks/summarize_evaluation.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "summarize_evaluation",
            seed=from_config("seed"),
            checkpoints=lambda w: evaluated_checkpoints(w.run),
            resamples=from_config("evaluation", "resamples"),
            reference=lambda w: reference_writer(w.run) if outside_judges(w.run) else "",
        ),
    message:
        "Summarizing the evaluation"
    script:
        "../scripts/summarize_evaluation.py"
