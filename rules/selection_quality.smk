# What the judge's choice is worth on the model's own responses, before the rounds rely on it.


def selection(*path):
    return from_config("evaluation", "selection", *path)


rule sample_selection:
    input:
        model=from_run(lambda w: model_files(w.run, cfg(w, "evaluation", "selection", "checkpoint"))),
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        checked=lengths_checked,
    output:
        responses="results/{run}/evaluation/selection/responses.parquet",
    log:
        "results/{run}/logs/sample_selection.log",
    benchmark:
        "results/{run}/benchmarks/sample_selection.tsv"
    priority: 1  # worth knowing before the rounds are paid for
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "sample_selection",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=engine,
            checkpoint=selection("checkpoint"),
            benchmark_name=selection("benchmark"),
            prompts_used=selection("prompts"),
            samples=selection("samples"),
            **{name: from_config("sampling", name) for name in ("temperature", "top_p", "max_tokens")},
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Sampling responses to measure the judge's choice on"
    script:
        "../scripts/sample_selection.py"


rule score_selection:
    input:
        model=from_run(lambda w: model_files(w.run, cfg(w, "judge", "checkpoint"))),
        responses=from_run("results/{run}/evaluation/selection/responses.parquet"),
        seeds=from_run(lambda w: [f"results/{w.run}/seeds/judge.parquet"] if few_shot_judge(w) else []),
    output:
        scores="results/{run}/evaluation/selection/scores.parquet",
    log:
        "results/{run}/logs/score_selection.log",
    benchmark:
        "results/{run}/benchmarks/score_selection.tsv"
    priority: 1
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "score_selection",
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
        "Scoring responses to measure the judge's choice on"
    script:
        "../scripts/score_selection.py"


rule measure_selection:
    input:
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        responses=from_run("results/{run}/evaluation/selection/responses.parquet"),
        scores=from_run("results/{run}/evaluation/selection/scores.parquet"),
        heldout=from_run("results/{run}/seeds/judge_heldout.parquet"),
        heldout_scores=from_run(
            lambda w: f"results/{w.run}/judge/heldout/{cfg(w, 'judge', 'checkpoint')}.parquet"
        ),
    output:
        table=report(
            "results/{run}/evaluation/selection.csv",
            caption="../report/selection.rst",
            category="Judge",
            labels={"what": "Choice among own responses", "form": "table"},
        ),
    log:
        "results/{run}/logs/measure_selection.log",
    benchmark:
        "results/{run}/benchmarks/measure_selection.tsv"
    priority: 1
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "measure_selection",
            seed=from_config("seed"),
            resamples=from_config("evaluation", "resamples"),
            judge=from_config("judge", "checkpoint"),
            score=from_config("judge", "score"),
            tie_tolerance=from_config("training", "tie_tolerance"),
        ),
    message:
        "Measuring the judge's choice on the model's own responses"
    script:
        "../scripts/measure_selection.py"


# Whether the judge may choose the rounds' data. Under `judge.gate: warn` no round waits for the answer.


rule check_judge:
    input:
        judge=from_run("results/{run}/evaluation/judge.csv"),
        selection=from_run("results/{run}/evaluation/selection.csv"),
    output:
        gate="results/{run}/evaluation/gate.csv",
    log:
        "results/{run}/logs/check_judge.log",
    benchmark:
        "results/{run}/benchmarks/check_judge.tsv"
    priority: 1
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "check_judge",
            checkpoint=from_config("judge", "checkpoint"),
            score=from_config("judge", "score"),
            samples_per_prompt=from_config("samples_per_prompt"),
        ),
    message:
        "Checking that the judge can tell good responses from bad ones"
    script:
        "../scripts/check_judge.py"


rule gate_rounds:
    input:
        gate=from_run(
            lambda w: f"results/{w.run}/evaluation/gate.csv" if cfg(w, "judge", "gate") == "stop" else []
        ),
    output:
        passed="results/{run}/judge/gate.txt",
    log:
        "results/{run}/logs/gate_rounds.log",
    benchmark:
        "results/{run}/benchmarks/gate_rounds.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(1000),
        runtime=NEEDS.minutes(10),
    params:
        spec=spec("gate_rounds"),
    message:
        "Opening the gate to the rounds"
    script:
        "../scripts/gate_rounds.py"
