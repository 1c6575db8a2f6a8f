# lm-eval, in an environment of its own (envs/lm_eval.sh): IFEval's checkers on the run's responses. A run without it has
# no job here.


def ifeval_benchmarks(w):
    """{name: source} of the run's benchmarks that are IFEval."""
    named = {name: split_set(source) for name, source in cfg(w, "evaluation", "benchmarks").items()}
    return {name: source for name, (kind, source) in named.items() if kind == "ifeval"}


def ifeval_tables(run):
    """The table of IFEval, where a run has one."""
    return [f"results/{run}/evaluation/ifeval.csv"] if ifeval_benchmarks(run) else []


def ifeval_files(w):
    """Sources on this machine; one of the hub is named in the spec instead."""
    return sorted({source for source in ifeval_benchmarks(w).values() if is_local(source)})


rule probe_lm_eval:
    input:
        files=ifeval_files,
    output:
        checked="results/{run}/evaluation/lm_eval.txt",
    log:
        "results/{run}/logs/probe_lm_eval.log",
    benchmark:
        "results/{run}/benchmarks/probe_lm_eval.tsv"
    priority: 10  # what lm-eval lacks is worth knowing before anything is trained
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        spec=spec(
            "probe_lm_eval",
            ifeval=ifeval_benchmarks,
        ),
    message:
        "Looking whether lm-eval can be asked"
    script:
        "../scripts/probe_lm_eval.py"


rule measure_ifeval:
    input:
        responses=from_run(
            lambda w: [
                f"results/{w.run}/evaluation/responses/{c}/{b}.parquet"
                for b in sorted(ifeval_benchmarks(w))
                for c in evaluated_checkpoints(w.run)
            ]
        ),
        files=ifeval_files,
        checked=from_run("results/{run}/evaluation/lm_eval.txt"),
    output:
        table=report(
            "results/{run}/evaluation/ifeval.csv",
            caption="../report/ifeval.rst",
            category="Evaluation",
            labels={"what": "IFEval by checkpoint", "form": "table"},
        ),
    log:
        "results/{run}/logs/measure_ifeval.log",
    benchmark:
        "results/{run}/benchmarks/measure_ifeval.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        spec=spec(
            "measure_ifeval",
            seed=from_config("seed"),
            benchmarks=ifeval_benchmarks,
            checkpoints=lambda w: evaluated_checkpoints(w.run),
            resamples=from_config("evaluation", "resamples"),
        ),
    message:
        "Checking the responses to IFEval with lm-eval's programs"
    script:
        "../scripts/measure_ifeval.py"
