# Judges that training never used, one for each name in evaluation.judges: an endpoint (api) or a reward model. They
# score the evaluation's responses, and compare them with those of a reference. A run without such judges has no
# job here.

from alma.workflow.config import is_reference_file


def outside_judges(run, *kinds):
    """Names of the judges of a run, of some kinds or of all."""
    judges = cfg(run, "evaluation", "judges")
    return sorted(name for name in judges if not kinds or judges[name]["kind"] in kinds)


def judge_key(*path):
    """Function of the wildcards that looks up a key of the job's judge."""
    return lambda w: cfg(w, "evaluation", "judges", w.judge, *path)


def reference_writer(run):
    """What a run's responses are compared with: a checkpoint, or `reference` for a file of outputs."""
    named = cfg(run, "evaluation", "reference")
    return "reference" if is_reference_file(named) else named


def written_by(run, writer, benchmark):
    """Responses of a checkpoint or of the reference file to a benchmark."""
    folder = "reference" if writer == "reference" else f"responses/{writer}"
    return f"results/{run}/evaluation/{folder}/{benchmark}.parquet"


def judged_writers(run, judge):
    """Whose responses a judge looks at; those of the reference too, where it gives scores."""
    settings = cfg(run, "evaluation", "judges", judge)
    named = settings["checkpoints"]
    wanted = {final_checkpoint(run) if name == "final" else name for name in named or []}
    writers = [c for c in evaluated_checkpoints(run) if named is None or c in wanted]
    reference, scores = reference_writer(run), settings["kind"] == "reward" or "score" in settings["asks"]
    if not scores:
        return [writer for writer in writers if writer != reference]
    return writers if reference in writers else [*writers, reference]


def judged_files(run, *kinds):
    """All that the judges of a run say, of some kinds or of all."""
    judges = cfg(run, "evaluation", "judges")
    return [
        f"results/{run}/evaluation/judges/{judges[judge]['kind']}/{judge}/{writer}/{benchmark}.parquet"
        for judge in outside_judges(run, *kinds)
        for writer in judged_writers(run, judge)
        for benchmark in benchmarks(run)
    ]


def judge_costs(run):
    """The table of costs, where a run asks an endpoint."""
    return [f"results/{run}/tables/judge_costs.csv"] if outside_judges(run, "api") else []


def local_reward_files(source):
    """Files of a reward model on this machine; one of the hub is named in the spec instead."""
    return sorted(str(path) for path in Path(source).iterdir() if path.is_file()) if is_local(source) else []


def reward_engine(w):
    """The engine's part of a spec, with the judge's own limit of length."""
    return engine(w) | {"max_model_len": judge_key("max_length")(w)}


rule read_reference:
    input:
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        file=from_user(lambda w: [f for f in [cfg(w, "evaluation", "reference")] if is_local(f)]),
    output:
        responses="results/{run}/evaluation/reference/{benchmark}.parquet",
    log:
        "results/{run}/logs/read_reference/{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/read_reference/{benchmark}.tsv"
    priority: 10  # what is wrong with the file is worth knowing before anything is trained
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "read_reference",
            source=from_config("evaluation", "reference"),
            benchmark_name=lambda w: w.benchmark,
        ),
    message:
        "Reading the reference's responses to {wildcards.benchmark}"
    script:
        "../scripts/read_reference.py"


rule probe_judge:
    input:
        files=from_user(
            lambda w: local_reward_files(judge_key("model")(w)) if judge_key("kind")(w) == "reward" else []
        ),
    output:
        checked="results/{run}/evaluation/judges/{judge}.txt",
    log:
        "results/{run}/logs/probe_judge/{judge}.log",
    benchmark:
        "results/{run}/benchmarks/probe_judge/{judge}.tsv"
    priority: 10  # a wrong key, address or model is worth knowing before anything is trained
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(60),
    params:
        spec=spec(
            "probe_judge",
            judge=lambda w: w.judge,
            **{name: judge_key(name) for name in ("kind", "model", "base_url", "body")},
            **{name: judge_key(name) for name in ("temperature", "max_tokens")},
        ),
        uncompared=uncompared(**{name: judge_key(name) for name in ("api_key_env", "max_retries", "timeout")}),
    message:
        "Looking whether the judge {wildcards.judge} can be asked"
    script:
        "../scripts/probe_judge.py"


rule judge_with_api:
    input:
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        responses=from_run(lambda w: written_by(w.run, w.writer, w.benchmark)),
        reference=from_run(
            lambda w: (
                []
                if w.writer == reference_writer(w.run)
                else [written_by(w.run, reference_writer(w.run), w.benchmark)]
            )
        ),
        checked=from_run("results/{run}/evaluation/judges/{judge}.txt"),
    output:
        judged="results/{run}/evaluation/judges/api/{judge}/{writer}/{benchmark}.parquet",
    log:
        "results/{run}/logs/judge_with_api/{judge}-{writer}-{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/judge_with_api/{judge}-{writer}-{benchmark}.tsv"
    priority: -1  # nothing waits for it but the evaluation
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(600),
    params:
        spec=spec(
            "judge_with_api",
            seed=lambda w: cfg(RUN, "seed"),
            judge=lambda w: w.judge,
            benchmark_name=lambda w: w.benchmark,
            reference=lambda w: reference_writer(w.run),
            prompts_asked=judge_key("prompts"),
            **{name: judge_key(name) for name in ("asks", "model", "base_url", "body")},
            **{name: judge_key(name) for name in ("temperature", "max_tokens")},
        ),
        uncompared=uncompared(
            **{name: judge_key(name) for name in ("api_key_env", "max_retries", "concurrency", "timeout")},
            max_unreadable=judge_key("max_unreadable"),
        ),
    message:
        "Asking {wildcards.judge} about {wildcards.writer} on {wildcards.benchmark}"
    script:
        "../scripts/judge_with_api.py"


rule judge_with_reward:
    input:
        prompts=from_run("results/{run}/seeds/eval.parquet"),
        responses=from_run(lambda w: written_by(w.run, w.writer, w.benchmark)),
        checked=from_run("results/{run}/evaluation/judges/{judge}.txt"),
        files=from_user(lambda w: local_reward_files(judge_key("model")(w))),
    output:
        judged="results/{run}/evaluation/judges/reward/{judge}/{writer}/{benchmark}.parquet",
    log:
        "results/{run}/logs/judge_with_reward/{judge}-{writer}-{benchmark}.log",
    benchmark:
        "results/{run}/benchmarks/judge_with_reward/{judge}-{writer}-{benchmark}.tsv"
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
            "judge_with_reward",
            threads=from_config("engine", "threads"),
            seed=lambda w: cfg(RUN, "seed"),
            judge=lambda w: w.judge,
            benchmark_name=lambda w: w.benchmark,
            prompts_asked=judge_key("prompts"),
            model=judge_key("model"),
            engine=reward_engine,
        ),
        uncompared=uncompared(engine=batching, max_unreadable=judge_key("max_unreadable")),
    message:
        "Scoring {wildcards.writer} on {wildcards.benchmark} with {wildcards.judge}"
    script:
        "../scripts/judge_with_reward.py"


rule judge_costs:
    input:
        judged=from_run(lambda w: judged_files(w.run, "api")),
    output:
        table="results/{run}/tables/judge_costs.csv",
    log:
        "results/{run}/logs/judge_costs.log",
    benchmark:
        "results/{run}/benchmarks/judge_costs.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "judge_costs",
            prices=lambda w: {
                name: cfg(w, "evaluation", "judges", name, "price") for name in outside_judges(w.run, "api")
            },
        ),
    message:
        "Counting what the judges were asked"
    script:
        "../scripts/judge_costs.py"
