# The first round: the base model fine-tuned on the seed pairs, one checkpoint per training seed.


# Also what the judge and the later rounds are trained with.


def training(*path):
    """What decides the result of a training, of its keys in the config: training("judge", "training")."""
    lora = ("lora_rank", "lora_alpha")

    def found(w):
        values = cfg(w, *path)
        unused = ("save_steps", "gpus", *(lora if values["method"] == "full" else ()))
        return {key: value for key, value in values.items() if key not in unused}

    return found


def saves(*path):
    """What changes no result of a training but the rounding on GPUs, and where its state and curves go."""
    return lambda w: {
        "save_steps": cfg(w, *path, "save_steps"),
        "gpus": cfg(w, *path, "gpus"),
        "attention": cfg(w, "training", "attention"),
        "report_to": cfg(w, "training", "report_to"),
    }


def training_gpus(saved):
    """Function of the wildcards: GPUs of a training job, whose `uncompared` part is `saved`."""
    return lambda w: one_gpu(w) * saved(w)["gpus"]


rule build_sft_dataset:
    input:
        seeds=from_run("results/{run}/seeds/sft.parquet"),
    output:
        dataset="results/{run}/rounds/1/dataset.parquet",
    log:
        "results/{run}/logs/build_sft_dataset.log",
    benchmark:
        "results/{run}/benchmarks/build_sft_dataset.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("build_sft_dataset"),
    message:
        "Building the data set of round 1 from the seeds"
    script:
        "../scripts/build_sft_dataset.py"


rule train_sft:
    input:
        model=model("base"),
        dataset=from_run("results/{run}/rounds/1/dataset.parquet"),
        checked=lengths_checked,
    output:
        model=model_outputs("sft-{index}"),
        curve="results/{run}/tables/training/sft-{index}.csv",
    log:
        "results/{run}/logs/train_sft/{index}.log",
    benchmark:
        "results/{run}/benchmarks/train_sft/{index}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(9000),
        runtime=NEEDS.minutes(600),
        disk_mb=NEEDS.disk(1000),
        gpu=training_gpus(saves("training", "sft")),
    params:
        spec=spec(
            "train_sft",
            threads=from_config("training", "threads", "sft"),
            seed=lambda w: [seed_of(w, "training"), "sft", int(w.index)],
            device=from_config("engine", "device"),
            training=training("training", "sft"),
        ),
        uncompared=uncompared(training=saves("training", "sft")),
    message:
        "Fine-tuning the base model on the seeds (sft-{wildcards.index})"
    script:
        "../scripts/train_sft.py"
