# A round's model, always trained from the base model: on D1 + ... + Dr (best_of_n), or with DPO on the
# preference pairs of rounds 2..r, where the start and reference is sft-0 (the base model after D1).


def start_checkpoint(run):
    return "base" if cfg(run, "training", "objective") == "best_of_n" else "sft-0"


def training_sets(run, round_):
    if cfg(run, "training", "objective") == "best_of_n":
        return [f"results/{run}/rounds/{r}/dataset.parquet" for r in range(1, round_ + 1)]
    return [f"results/{run}/rounds/{r}/preferences.parquet" for r in range(2, round_ + 1)]


def objective(w):
    """The part of the training config that the run's objective uses."""
    if cfg(w, "training", "objective") == "best_of_n":
        return {"objective": "best_of_n", "training": training("training", "sft")(w)}
    return {
        "objective": "dpo",
        "training": training("training", "dpo")(w),
        "beta": cfg(w, "training", "dpo_beta"),
    }


def objective_saves(w):
    name = "sft" if cfg(w, "training", "objective") == "best_of_n" else "dpo"
    return saves("training", name)(w)


rule train_round:
    input:
        model=from_run(lambda w: model_files(w.run, start_checkpoint(w.run))),
        datasets=from_run(lambda w: training_sets(w.run, int(w.round))),
    output:
        model=model_outputs("round-{round}"),
        curve="results/{run}/tables/training/round-{round}.csv",
    log:
        "results/{run}/logs/train_round/{round}.log",
    benchmark:
        "results/{run}/benchmarks/train_round/{round}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(12000),
        runtime=NEEDS.minutes(1200),
        disk_mb=NEEDS.disk(1000),
        gpu=training_gpus(objective_saves),
    params:
        spec=spec(
            "train_round",
            objective,
            threads=from_config("training", "threads", "rounds"),
            seed=lambda w: [seed_of(w, "training"), "round", int(w.round)],
            device=from_config("engine", "device"),
        ),
        uncompared=uncompared(training=objective_saves),
    message:
        "Training the model of round {wildcards.round}"
    script:
        "../scripts/train_round.py"
