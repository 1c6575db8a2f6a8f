# The best response per prompt, a preference pair per prompt, and the round's data sets. Round 1 is the SFT
# (rules/sft.smk).


def selected_files(run, round_):
    return [f"results/{run}/rounds/{round_}/selected/{s}.parquet" for s in shards(run)]


rule select_responses:
    input:
        prompts=from_run("results/{run}/rounds/{round}/prompts/{shard}.parquet"),
        responses=from_run(lambda w: round_files(w.run, w.round, "samples", w.shard)),
        scores=from_run(lambda w: round_files(w.run, w.round, "scores", w.shard)),
    output:
        selected="results/{run}/rounds/{round}/selected/{shard}.parquet",
    log:
        "results/{run}/logs/select_responses/{round}-{shard}.log",
    benchmark:
        "results/{run}/benchmarks/select_responses/{round}-{shard}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "select_responses",
            seed=lambda w: [cfg(w, "seed"), int(w.round)],
            selection=from_config("training", "selection"),
            tie_tolerance=from_config("training", "tie_tolerance"),
        ),
    message:
        "Selecting responses of round {wildcards.round} (shard {wildcards.shard})"
    script:
        "../scripts/select_responses.py"


rule build_dataset:
    input:
        selected=from_run(lambda w: selected_files(w.run, w.round)),
    output:
        dataset="results/{run}/rounds/{round}/dataset.parquet",
        preferences="results/{run}/rounds/{round}/preferences.parquet",
    log:
        "results/{run}/logs/build_dataset/{round}.log",
    benchmark:
        "results/{run}/benchmarks/build_dataset/{round}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "build_dataset",
            round_=lambda w: int(w.round),
        ),
    message:
        "Building the data set of round {wildcards.round}"
    script:
        "../scripts/build_dataset.py"
