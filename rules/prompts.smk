# New prompts: written by the base model, filtered, embedded, clustered, and dealt to the rounds.

from alma.workflow.sharding import shard_range


def prompt_files(run, kind):
    return [f"results/{run}/prompts/{kind}/{s}.parquet" for s in range(cfg(run, "prompts", "shards"))]


def shard_size(w):
    """Prompts in one shard of a round; the last shard may be short."""
    return len(shard_range(int(w.shard), cfg(w, "prompts_per_shard"), cfg(w, "prompts_per_round")))


rule synthesize_prompts:
    input:
        model=model("base"),
        seeds=at("seeds/sft.parquet"),
    output:
        prompts="results/{run}/prompts/raw/{shard}.parquet",
    log:
        "results/{run}/logs/synthesize_prompts/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/synthesize_prompts/{shard}.tsv"
    conda:
        CONDA
    threads: lambda w: cfg(w, "engine", "threads")
    resources:
        mem_mb=6000,
        runtime=120,
        gpu=needs_gpu,
    params:
        spec=lambda w: spec(
            "synthesize_prompts",
            threads=cfg(w, "engine", "threads"),
            seed=cfg(w, "seed"),
            engine=engine(w),
            shard=int(w.shard),
            count=cfg(w, "prompts", "raw_per_shard"),
            shots=cfg(w, "prompts", "shots"),
            temperature=cfg(w, "prompts", "temperature"),
            top_p=cfg(w, "prompts", "top_p"),
            max_tokens=cfg(w, "prompts", "max_tokens"),
        ),
    message:
        "Writing prompts with the base model (shard {wildcards.shard})"
    script:
        "../scripts/synthesize_prompts.py"


rule unique_prompts:
    input:
        raw=own(lambda w: prompt_files(w.run, "raw")),
        sft=at("seeds/sft.parquet"),
        judge=at("seeds/judge.parquet"),
        judge_heldout=at("seeds/judge_heldout.parquet"),
        judge_benchmark=at("seeds/judge_benchmark.parquet"),
        eval=at("seeds/eval.parquet"),
    output:
        prompts="results/{run}/prompts/unique.parquet",
        filters="results/{run}/tables/prompt_filters.csv",
    log:
        "results/{run}/logs/unique_prompts.log",
    benchmark:
        "results/{run}/benchmarks/unique_prompts.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        spec=lambda w: spec(
            "unique_prompts",
            seed=cfg(w, "seed"),
            min_words=cfg(w, "prompts", "min_words"),
            near_duplicate=cfg(w, "prompts", "near_duplicate"),
            overlap=cfg(w, "prompts", "overlap"),
        ),
    message:
        "Removing unfinished, duplicate and contaminated prompts"
    script:
        "../scripts/unique_prompts.py"


rule embed_prompts:
    input:
        model=model("base"),
        prompts=at("prompts/unique.parquet"),
    output:
        embeddings="results/{run}/prompts/embeddings/{shard}.parquet",
    log:
        "results/{run}/logs/embed_prompts/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/embed_prompts/{shard}.tsv"
    conda:
        CONDA
    threads: lambda w: cfg(w, "engine", "threads")
    resources:
        mem_mb=6000,
        runtime=120,
        gpu=needs_gpu,
    params:
        spec=lambda w: spec(
            "embed_prompts",
            threads=cfg(w, "engine", "threads"),
            device=cfg(w, "engine", "device"),
            shard=int(w.shard),
            shards=cfg(w, "prompts", "shards"),
        ),
    message:
        "Embedding prompts with the base model (shard {wildcards.shard})"
    script:
        "../scripts/embed_prompts.py"


rule cluster_prompts:
    input:
        embeddings=own(lambda w: prompt_files(w.run, "embeddings")),
    output:
        clusters="results/{run}/prompts/clusters.parquet",
    log:
        "results/{run}/logs/cluster_prompts.log",
    benchmark:
        "results/{run}/benchmarks/cluster_prompts.tsv"
    conda:
        CONDA
    threads: lambda w: cfg(w, "engine", "threads")
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        spec=lambda w: spec(
            "cluster_prompts",
            threads=cfg(w, "engine", "threads"),
            seed=cfg(w, "seed"),
            clusters=cfg(w, "prompts", "clusters"),
            iterations=cfg(w, "prompts", "iterations"),
            diversify=cfg(w, "prompts", "diversify"),
        ),
    message:
        "Clustering the prompts (k-means)"
    script:
        "../scripts/cluster_prompts.py"


rule round_prompts:
    input:
        prompts=at("prompts/unique.parquet"),
        clusters=at("prompts/clusters.parquet"),
    output:
        prompts="results/{run}/rounds/{round}/prompts/{shard}.parquet",
    log:
        "results/{run}/logs/round_prompts/{round}-{shard}.log",
    benchmark:
        "results/{run}/benchmarks/round_prompts/{round}-{shard}.tsv"
    priority: 2  # a round that runs dry is found before anything is sampled
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=lambda w: spec(
            "round_prompts",
            seed=cfg(w, "seed"),
            round_=int(w.round),
            shard=int(w.shard),
            prompts_per_shard=cfg(w, "prompts_per_shard"),
            prompts_in_shard=shard_size(w),
        ),
    message:
        "Dealing prompts to round {wildcards.round} (shard {wildcards.shard})"
    script:
        "../scripts/round_prompts.py"
