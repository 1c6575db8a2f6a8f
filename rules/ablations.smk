# Tables that compare the variants of a config (`runs`) with its main run, one for each name in `table`.


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


rule compare_runs:
    input:
        summaries=from_run(lambda w: [f"results/{r}/evaluation/summary.csv" for r in compared_runs(w.table)]),
        judges=from_run(lambda w: [f"results/{r}/evaluation/judge.csv" for r in compared_runs(w.table)]),
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
        mem_mb=2000,
        runtime=30,
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


rule ablations:
    input:
        [f"results/{RUN}/tables/ablations/{table}.csv" for table in ABLATION_TABLES],
