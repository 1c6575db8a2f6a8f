# The first round: the base model fine-tuned on the seed pairs, once for each training seed.


rule train_sft:
    input:
        model=model("base"),
        dataset=at("rounds/1/dataset.parquet"),
    output:
        model=model_outputs("sft-{index}"),
        curve="results/{run}/tables/training/sft-{index}.csv",
    log:
        "results/{run}/logs/train_sft/{index}.log",
    benchmark:
        "results/{run}/benchmarks/train_sft/{index}.tsv"
    conda:
        CONDA
    threads: lambda w: cfg(w, "training", "threads", "sft")
    resources:
        mem_mb=9000,
        runtime=600,
        gpu=needs_gpu,
    params:
        spec=lambda w: spec(
            "train_sft",
            threads=cfg(w, "training", "threads", "sft"),
            seed=[seed_of(w, "training"), "sft", int(w.index)],
            device=cfg(w, "engine", "device"),
            training=cfg(w, "training", "sft"),
        ),
    message:
        "Fine-tuning the base model on the seeds (sft-{wildcards.index})"
    script:
        "../scripts/train_sft.py"
