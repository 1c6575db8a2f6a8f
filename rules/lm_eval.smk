# lm-eval, in an environment of its own (envs/lm_eval.sh): IFEval's checkers on the run's responses, and tasks of its
# harness on the checkpoints. A run without them has no job here.


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


def harness(*keys):
    """Parts of a spec: keys of evaluation.harness."""
    return {key: from_config("evaluation", "harness", key) for key in keys}


def harness_checkpoints(run):
    """Checkpoints that the tasks are run on, in order."""
    named = cfg(run, "evaluation", "harness", "checkpoints")
    wanted = {final_checkpoint(run) if name == "final" else name for name in named}
    return [name for name in evaluated_checkpoints(run) if name in wanted]


def harness_tables(run):
    """The table of the harness, where a run names tasks."""
    return [f"results/{run}/evaluation/harness.csv"] if cfg(run, "evaluation", "harness", "tasks") else []


def task_files(w):
    """Files of the folder with tasks of one's own; data that they name elsewhere is theirs to watch."""
    folder = cfg(w, "evaluation", "harness", "include_path")
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file()) if folder else []


rule probe_lm_eval:
    input:
        files=from_user(ifeval_files),
        tasks=from_user(task_files),
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
        mem_mb=NEEDS.memory(3000),
        runtime=NEEDS.minutes(60),
    params:
        spec=spec(
            "probe_lm_eval",
            ifeval=ifeval_benchmarks,
            **harness("tasks", "include_path"),
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
        files=from_user(ifeval_files),
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
        mem_mb=NEEDS.memory(3000),
        runtime=NEEDS.minutes(120),
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


rule run_harness:
    input:
        model=model("{checkpoint}"),
        tasks=from_user(task_files),
        checked=from_run("results/{run}/evaluation/lm_eval.txt"),
    output:
        results="results/{run}/evaluation/harness/{checkpoint}.parquet",
    log:
        "results/{run}/logs/run_harness/{checkpoint}.log",
    benchmark:
        "results/{run}/benchmarks/run_harness/{checkpoint}.tsv"
    priority: -1  # nothing waits for it but the evaluation
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(9000),
        runtime=NEEDS.minutes(600),
        gpu=one_gpu,
    params:
        spec=spec(
            "run_harness",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            device=from_config("engine", "device"),
            **harness("tasks", "include_path", "shots", "limit", "batch_size", "chat"),
        ),
    message:
        "Running lm-eval's tasks on {wildcards.checkpoint}"
    script:
        "../scripts/run_harness.py"


rule measure_harness:
    input:
        results=from_run(
            lambda w: [
                f"results/{w.run}/evaluation/harness/{name}.parquet" for name in harness_checkpoints(w.run)
            ]
        ),
    output:
        table=report(
            "results/{run}/evaluation/harness.csv",
            caption="../report/harness.rst",
            category="Evaluation",
            labels={"what": "lm-eval's tasks by checkpoint", "form": "table"},
        ),
    log:
        "results/{run}/logs/measure_harness.log",
    benchmark:
        "results/{run}/benchmarks/measure_harness.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "measure_harness",
            seed=from_config("seed"),
            checkpoints=lambda w: harness_checkpoints(w.run),
            resamples=from_config("evaluation", "resamples"),
        ),
    message:
        "Comparing the checkpoints on lm-eval's tasks"
    script:
        "../scripts/measure_harness.py"
