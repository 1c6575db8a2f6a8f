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
        seeds=at("seeds/sft.parquet"),
        prompts=at("seeds/eval.parquet"),
    output:
        responses="results/{run}/evaluation/responses/{checkpoint}/{benchmark}.parquet",
    log:
        "results/{run}/logs/sample_evaluation/{checkpoint}-{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/sample_evaluation/{checkpoint}-{benchmark}.tsv"
    priority: -1  # nothing waits for it but the evaluation
    conda:
        CONDA
    threads: lambda w: cfg(w, "engine", "threads")
    resources:
        mem_mb=6000,
        runtime=120,
        gpu=needs_gpu,
    params:
        spec=lambda w: spec(
            "sample_evaluation",
            threads=cfg(w, "engine", "threads"),
            seed=cfg(w, "seed"),
            engine=engine(w),
            checkpoint=w.checkpoint,
            benchmark_name=w.benchmark,
            shots=cfg(w, "evaluation", "shots") if w.checkpoint == "base" else 0,
            temperature=cfg(w, "evaluation", "temperature"),
            max_tokens=cfg(w, "evaluation", "max_tokens"),
        ),
    message:
        "Answering {wildcards.benchmark} with {wildcards.checkpoint}"
    script:
        "../scripts/sample_evaluation.py"


# One judge scores all runs of a config, so that a variant's figures compare with the main run's.
rule score_evaluation:
    input:
        model=own(lambda w: model_files(RUN, "judge")),
        prompts=at("seeds/eval.parquet"),
        responses=at("evaluation/responses/{checkpoint}/{benchmark}.parquet"),
    output:
        scores="results/{run}/evaluation/{checkpoint}/{benchmark}.parquet",
    log:
        "results/{run}/logs/score_evaluation/{checkpoint}-{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/score_evaluation/{checkpoint}-{benchmark}.tsv"
    priority: -1  # nothing waits for it but the evaluation
    conda:
        CONDA
    threads: lambda w: cfg(w, "engine", "threads")
    resources:
        mem_mb=6000,
        runtime=120,
        gpu=needs_gpu,
    params:
        spec=lambda w: spec(
            "score_evaluation",
            threads=cfg(w, "engine", "threads"),
            engine=engine(w),
            min_mass=cfg(w, "judge", "min_mass"),
            max_unreadable=cfg(w, "judge", "max_unreadable"),
        ),
    message:
        "Judging {wildcards.checkpoint} on {wildcards.benchmark}"
    script:
        "../scripts/score_evaluation.py"


rule summarize_evaluation:
    input:
        results=own(lambda w: evaluation_files(w.run)),
        prompts=at("seeds/eval.parquet"),
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
        mem_mb=2000,
        runtime=30,
    params:
        spec=lambda w: spec(
            "summarize_evaluation",
            seed=cfg(w, "seed"),
            checkpoints=evaluated_checkpoints(w.run),
            resamples=cfg(w, "evaluation", "resamples"),
        ),
    message:
        "Summarizing the evaluation"
    script:
        "../scripts/summarize_evaluation.py"
