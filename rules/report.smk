# Measures of the rounds, figures, tables to read, and Snakemake's report of the run.


def trained_checkpoints(run):
    return [*evaluated_checkpoints(run)[1:], "judge-seed", "judge"]


def every_round(path):
    """Input function: a file of each later round."""
    return from_run(lambda w: [path.format(run=w.run, round=r) for r in later_rounds(w.run)])


# Rules with a table that not every run has: which of a run's tables they make.
OPTIONAL = {
    "evaluate_reward_bench": reward_bench_tables,
    "measure_ifeval": ifeval_tables,
    "measure_harness": harness_tables,
}


def reported(run):
    """Files of a run that a rule marks with `report()`: what the report shows."""
    asked = [rule for rule in workflow.rules if rule.name not in OPTIONAL or OPTIONAL[rule.name](run)]
    marked = [path for rule in asked for path in rule.output if path.is_flagged("report")]
    return [output_path(path, {"run": run}) for path in marked]


def results_of(run):
    """What a run is for: its last model, its evaluation, its figures."""
    return [
        *model_files(run, final_checkpoint(run)),
        *reported(run),
        *judge_costs(run),
        *(
            f"results/{run}/{name}"
            for name in ("tables/round_clusters.csv", "tables/lengths.csv", "seeds/checked.txt")
        ),
    ]


rule measure_round:
    input:
        prompts=from_run(
            lambda w: [f"results/{w.run}/rounds/{w.round}/prompts/{s}.parquet" for s in shards(w.run)]
        ),
        responses=from_run(lambda w: round_files(w.run, w.round, "samples")),
        scores=from_run(lambda w: round_files(w.run, w.round, "scores")),
        selected=from_run(lambda w: selected_files(w.run, w.round)),
    output:
        scores="results/{run}/tables/rounds/{round}/scores.csv",
        length="results/{run}/tables/rounds/{round}/length.csv",
        candidates="results/{run}/tables/rounds/{round}/candidates.csv",
    log:
        "results/{run}/logs/measure_round/{round}.log",
    benchmark:
        "results/{run}/benchmarks/measure_round/{round}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(60),
    params:
        spec=spec(
            "measure_round",
            round_=lambda w: int(w.round),
            checkpoints=lambda w: sampled_checkpoints(w.run, int(w.round)),
            samples_per_prompt=from_config("samples_per_prompt"),
            seed=from_config("seed"),
            resamples=from_config("evaluation", "resamples"),
        ),
    message:
        "Measuring the candidates of round {wildcards.round}"
    script:
        "../scripts/measure_round.py"


rule verdict:
    input:
        summary=from_run("results/{run}/evaluation/summary.csv"),
        gate=from_run("results/{run}/evaluation/gate.csv"),
        lengths=every_round("results/{run}/tables/rounds/{round}/length.csv"),
        filters=from_run("results/{run}/tables/prompt_filters.csv"),
        quality=from_run("results/{run}/tables/prompt_quality.csv"),
        sft=from_run("results/{run}/seeds/sft.parquet"),
    output:
        table=report(
            "results/{run}/evaluation/verdict.csv",
            caption="../report/verdict.rst",
            category="Verdict",
            labels={"what": "Link by link", "form": "table"},
        ),
        html=report(
            "results/{run}/evaluation/verdict.html",
            caption="../report/verdict.rst",
            category="Verdict",
            labels={"what": "Link by link", "form": "page"},
        ),
    log:
        "results/{run}/logs/verdict.log",
    benchmark:
        "results/{run}/benchmarks/verdict.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("verdict"),
    message:
        "Giving the verdict: which links of the recipe hold"
    script:
        "../scripts/verdict.py"


rule plot_progress:
    input:
        summary=from_run("results/{run}/evaluation/summary.csv"),
    output:
        progress=report(
            "results/{run}/figures/progress.svg",
            caption="../report/progress.rst",
            category="Evaluation",
            labels={"what": "Progress by checkpoint", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_progress.log",
    benchmark:
        "results/{run}/benchmarks/plot_progress.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_progress"),
    message:
        "Plotting the progress by checkpoint"
    script:
        "../scripts/plot_progress.py"


rule plot_checks:
    input:
        results=from_run(lambda w: evaluation_files(w.run)),
        prompts=from_run("results/{run}/seeds/eval.parquet"),
    output:
        checks=report(
            "results/{run}/tables/checks.csv",
            caption="../report/checks.rst",
            category="Evaluation",
            labels={"what": "Checks by category and kind", "form": "table"},
        ),
        figure=report(
            "results/{run}/figures/checks.svg",
            caption="../report/checks.rst",
            category="Evaluation",
            labels={"what": "Checks by category and kind", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_checks.log",
    benchmark:
        "results/{run}/benchmarks/plot_checks.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "plot_checks",
            checkpoints=lambda w: evaluated_checkpoints(w.run),
        ),
    message:
        "Plotting the checks by category and kind"
    script:
        "../scripts/plot_checks.py"


rule plot_judge:
    input:
        table=from_run("results/{run}/evaluation/judge.csv"),
        calibration=from_run("results/{run}/tables/judge_calibration.csv"),
    output:
        figure=report(
            "results/{run}/figures/judge.svg",
            caption="../report/judge.rst",
            category="Judge",
            labels={"what": "Accuracy and calibration", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_judge.log",
    benchmark:
        "results/{run}/benchmarks/plot_judge.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_judge"),
    message:
        "Plotting accuracy and calibration of the judges"
    script:
        "../scripts/plot_judge.py"


rule plot_selection:
    input:
        table=from_run("results/{run}/evaluation/selection.csv"),
    output:
        figure=report(
            "results/{run}/figures/selection.svg",
            caption="../report/selection.rst",
            category="Judge",
            labels={"what": "Choice among own responses", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_selection.log",
    benchmark:
        "results/{run}/benchmarks/plot_selection.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_selection"),
    message:
        "Plotting what the judge's choice is worth"
    script:
        "../scripts/plot_selection.py"


rule plot_scores:
    input:
        per_round=every_round("results/{run}/tables/rounds/{round}/scores.csv"),
    output:
        scores=report(
            "results/{run}/tables/scores.csv",
            caption="../report/scores.rst",
            category="Rounds",
            labels={"what": "Scores by round and checkpoint", "form": "table"},
        ),
        figure=report(
            "results/{run}/figures/scores.svg",
            caption="../report/scores.rst",
            category="Rounds",
            labels={"what": "Scores by round and checkpoint", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_scores.log",
    benchmark:
        "results/{run}/benchmarks/plot_scores.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_scores"),
    message:
        "Plotting the scores by round and checkpoint"
    script:
        "../scripts/plot_scores.py"


rule plot_length:
    input:
        per_round=every_round("results/{run}/tables/rounds/{round}/length.csv"),
    output:
        length=report(
            "results/{run}/tables/length.csv",
            caption="../report/length.rst",
            category="Rounds",
            labels={"what": "Length of chosen against pool", "form": "table"},
        ),
        figure=report(
            "results/{run}/figures/length.svg",
            caption="../report/length.rst",
            category="Rounds",
            labels={"what": "Length of chosen against pool", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_length.log",
    benchmark:
        "results/{run}/benchmarks/plot_length.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_length"),
    message:
        "Plotting the length of chosen responses"
    script:
        "../scripts/plot_length.py"


rule list_candidates:
    input:
        per_round=every_round("results/{run}/tables/rounds/{round}/candidates.csv"),
    output:
        table=report(
            "results/{run}/tables/candidates.csv",
            caption="../report/candidates.rst",
            category="Rounds",
            labels={"what": "Candidates to read", "form": "table"},
        ),
        html=report(
            "results/{run}/tables/candidates.html",
            caption="../report/candidates.rst",
            category="Rounds",
            labels={"what": "Candidates to read", "form": "page"},
        ),
    log:
        "results/{run}/logs/list_candidates.log",
    benchmark:
        "results/{run}/benchmarks/list_candidates.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("list_candidates"),
    message:
        "Writing the page of candidates"
    script:
        "../scripts/list_candidates.py"


rule plot_prompt_filters:
    input:
        filters=from_run("results/{run}/tables/prompt_filters.csv"),
    output:
        figure=report(
            "results/{run}/figures/prompt_filters.svg",
            caption="../report/prompt_filters.rst",
            category="Prompts",
            labels={"what": "Filters", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_prompt_filters.log",
    benchmark:
        "results/{run}/benchmarks/plot_prompt_filters.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_prompt_filters"),
    message:
        "Plotting the prompt filters"
    script:
        "../scripts/plot_prompt_filters.py"


rule plot_prompts:
    input:
        embeddings=from_run(lambda w: prompt_files(w.run, "embeddings")),
        clusters=from_run("results/{run}/prompts/clusters.parquet"),
    output:
        figure=report(
            "results/{run}/figures/prompts.svg",
            caption="../report/prompts.rst",
            category="Prompts",
            labels={"what": "Map of the prompts", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_prompts.log",
    benchmark:
        "results/{run}/benchmarks/plot_prompts.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_prompts"),
    message:
        "Plotting the map of the prompts"
    script:
        "../scripts/plot_prompts.py"


rule plot_training:
    input:
        curves=from_run(
            lambda w: [f"results/{w.run}/tables/training/{c}.csv" for c in trained_checkpoints(w.run)]
        ),
    output:
        figure=report(
            "results/{run}/figures/training.svg",
            caption="../report/training.rst",
            category="Training",
            labels={"what": "Loss of every training", "form": "figure"},
        ),
    log:
        "results/{run}/logs/plot_training.log",
    benchmark:
        "results/{run}/benchmarks/plot_training.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "plot_training",
            checkpoints=lambda w: trained_checkpoints(w.run),
        ),
    message:
        "Plotting the training curves"
    script:
        "../scripts/plot_training.py"


localrules:
    render_report,
    report,


def storage_options():
    """Options with which Snakemake finds the results again; the environment has the keys of a storage."""
    settings = workflow.storage_settings
    if settings.default_storage_provider is None:
        return []
    return [
        *("--default-storage-provider", settings.default_storage_provider),
        *("--default-storage-prefix", settings.default_storage_prefix),
        *("--local-storage-prefix", str(settings.local_storage_prefix)),
    ]


# Snakemake's own report needs Snakemake's records of the jobs, which lie in the working directory.
rule render_report:
    input:
        contents=from_run(lambda w: reported(w.run)),
    output:
        html="results/{run}/report.html",
    log:
        "results/{run}/logs/render_report.log",
    benchmark:
        "results/{run}/benchmarks/render_report.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(1000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("render_report"),
        uncompared=uncompared(settings=config, storage=storage_options()),
    message:
        "Rendering the report"
    script:
        "../scripts/render_report.py"


rule report:
    input:
        f"results/{RUN}/report.html",
