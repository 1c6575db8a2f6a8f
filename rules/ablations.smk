# Tables that compare the variants of a config (`runs`) with its main run, one for each name in `table`: run by
# run, and round by round beside random choice.


def compared_runs(table):
    """Main run first, then the variants that the table is about."""
    return [RUN, *ABLATION_TABLES[table]]


def compared_config(run):
    """What the table says of a run: its variant's keys, and the judge that chose its responses."""
    changes = {k: v for k, v in config["runs"].get(run, {}).items() if k != "table"}
    return {
        "run": run,
        "changes": changes,
        "judge": [cfg(run, "judge", "checkpoint"), cfg(run, "judge", "score")],
        "results": len(evaluation_files(run)),
    }


def random_control(run, table):
    """The run of random choice that a run is compared with: its own, else the main run's; empty for none."""
    if cfg(run, "training", "selection") == "random":
        return ""
    possible = [
        r for r in compared_runs(table) if r in CONTROLS and cfg(r, "training", "selection") == "random"
    ]
    of = CONTROLS.get(run, run)
    return next((r for wanted in (of, RUN) for r in possible if CONTROLS[r] == wanted), "")


def round_files_of(run):
    """The evaluation of the SFT checkpoints and of the models of the rounds, every benchmark."""
    models = [c for c in evaluated_checkpoints(run) if c != "base"]
    return [f"results/{run}/evaluation/{c}/{b}.parquet" for c in models for b in benchmarks(run)]


rule compare_runs:
    input:
        summaries=from_run(lambda w: [f"results/{r}/evaluation/summary.csv" for r in compared_runs(w.table)]),
        judges=from_run(lambda w: [f"results/{r}/evaluation/judge.csv" for r in compared_runs(w.table)]),
        selections=from_run(
            lambda w: [f"results/{r}/evaluation/selection.csv" for r in compared_runs(w.table)]
        ),
        results=from_run(lambda w: [path for r in compared_runs(w.table) for path in evaluation_files(r)]),
        heldout=from_run(
            lambda w: [
                f"results/{r}/judge/heldout/{cfg(r, 'judge', 'checkpoint')}.parquet"
                for r in compared_runs(w.table)
            ]
        ),
    output:
        table="results/{run}/tables/ablations/{table}.csv",
    log:
        "results/{run}/logs/compare_runs/{table}.log",
    benchmark:
        "results/{run}/benchmarks/compare_runs/{table}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "compare_runs",
            seed=from_config("seed"),
            resamples=from_config("evaluation", "resamples"),
            runs=lambda w: [compared_config(r) for r in compared_runs(w.table)],
        ),
    message:
        "Comparing runs: {wildcards.table}"
    script:
        "../scripts/compare_runs.py"


rule compare_rounds:
    input:
        results=from_run(lambda w: [path for r in compared_runs(w.table) for path in round_files_of(r)]),
    output:
        table="results/{run}/tables/by_round/{table}.csv",
    log:
        "results/{run}/logs/compare_rounds/{table}.log",
    benchmark:
        "results/{run}/benchmarks/compare_rounds/{table}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "compare_rounds",
            seed=from_config("seed"),
            resamples=from_config("evaluation", "resamples"),
            runs=lambda w: [
                {
                    "run": r,
                    "series": SERIES[r],
                    "choice": cfg(r, "training", "selection"),
                    "control": random_control(r, w.table),
                    "results": len(round_files_of(r)),
                }
                for r in compared_runs(w.table)
            ],
        ),
    message:
        "Comparing runs round by round: {wildcards.table}"
    script:
        "../scripts/compare_rounds.py"


rule plot_rounds:
    input:
        table=from_run("results/{run}/tables/by_round/{table}.csv"),
    output:
        figure="results/{run}/figures/by_round/{table}.svg",
    log:
        "results/{run}/logs/plot_rounds/{table}.log",
    benchmark:
        "results/{run}/benchmarks/plot_rounds/{table}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("plot_rounds"),
    message:
        "Plotting the quality by round: {wildcards.table}"
    script:
        "../scripts/plot_rounds.py"


rule variants:
    input:
        lambda w: [SHARING.source(path) for run in RUNS for path in results_of(run)],
    message:
        "All runs of the config are there"


rule ablations:
    input:
        [
            f"results/{RUN}/{place}"
            for table in ABLATION_TABLES
            for place in (f"tables/ablations/{table}.csv", f"figures/by_round/{table}.svg")
        ],
