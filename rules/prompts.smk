# New prompts: written by the base model, filtered, embedded, clustered, and dealt to the rounds.

from alma.workflow.sharding import shard_range
from alma.workflow.sizes import cells_of


def prompt_files(run, kind):
    return [f"results/{run}/prompts/{kind}/{s}.parquet" for s in range(cfg(run, "prompts", "shards"))]


def shard_size(w):
    """Prompts in one shard of a round; the last shard may be short."""
    return len(shard_range(int(w.shard), cfg(w, "prompts_per_shard"), cfg(w, "prompts_per_round")))


def projection_file(w):
    """Axes that the embeddings are projected on, as a list of one file, or of none."""
    dimensions = cfg(w, "prompts", "embedding_dimensions")
    return [f"results/{w.run}/prompts/projection.parquet"] if dimensions else []


def in_cells(w):
    """Whether the prompts are clustered in two levels; those that are dealt at random are in one."""
    return cells_of(cfg(w)) > 1


def one_level(w):
    """What decides the clusters of one level; a join of cells depends on its inputs alone."""
    names = () if in_cells(w) else ("clusters", "iterations", "diversify")
    found = {name: cfg(w, "prompts", name) for name in names}
    return found | {"seed": cfg(w, "seed")} if found else {}


PLACES = 65536  # of a round in one file of gathered prompts: what a job holds of their texts


def gathered_files(w):
    """Files of the round that hold the places of this shard."""
    own = shard_range(int(w.shard), cfg(w, "prompts_per_shard"), cfg(w, "prompts_per_round"))
    blocks = range(own.start // PLACES, (own.stop - 1) // PLACES + 1)
    return [f"results/{w.run}/prompts/gathered/{w.round}-{block}.parquet" for block in blocks]


rule synthesize_prompts:
    input:
        model=model("base"),
        seeds=from_run("results/{run}/seeds/sft.parquet"),
        checked=lengths_checked,
    output:
        prompts="results/{run}/prompts/raw/{shard}.parquet",
    log:
        "results/{run}/logs/synthesize_prompts/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/synthesize_prompts/{shard}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "synthesize_prompts",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            engine=engine,
            shard=lambda w: int(w.shard),
            count=from_config("prompts", "raw_per_shard"),
            shots=from_config("prompts", "shots"),
            group=from_config("prompts", "group"),
            per_context=from_config("prompts", "per_context"),
            temperature=from_config("prompts", "temperature"),
            top_p=from_config("prompts", "top_p"),
            max_tokens=from_config("prompts", "max_tokens"),
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Writing prompts with the base model (shard {wildcards.shard})"
    script:
        "../scripts/synthesize_prompts.py"


rule filter_prompts:
    input:
        raw=from_run("results/{run}/prompts/raw/{shard}.parquet"),
        sft=from_run("results/{run}/seeds/sft.parquet"),
        judge_prompts=from_run("results/{run}/seeds/judge_prompts.parquet"),
        judge_benchmark=from_run("results/{run}/seeds/judge_benchmark.parquet"),
        eval=from_run("results/{run}/seeds/eval.parquet"),
        tokenizer=base_tokenizer,
    output:
        filtered="results/{run}/prompts/filtered/{shard}.parquet",
        signatures="results/{run}/prompts/signatures/{shard}.parquet",
    log:
        "results/{run}/logs/filter_prompts/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/filter_prompts/{shard}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec(
            "filter_prompts",
            seed=from_config("seed"),
            min_words=from_config("prompts", "min_words"),
            require_end=from_config("prompts", "require_end"),
            min_function_words=from_config("prompts", "min_function_words"),
            blocked=from_config("prompts", "blocked_words"),
            require_constraint=from_config("prompts", "require_constraint"),
            overlap=from_config("prompts", "overlap"),
            max_model_len=from_config("engine", "max_model_len"),
            max_tokens=from_config("sampling", "max_tokens"),
        ),
    message:
        "Filtering prompts by themselves (shard {wildcards.shard})"
    script:
        "../scripts/filter_prompts.py"


# Here {shard} is a part of the texts and of the LSH buckets, which are cut into as many parts as there are shards.
rule compare_prompts:
    input:
        signatures=from_run(lambda w: prompt_files(w.run, "signatures")),
        filtered=from_run(lambda w: prompt_files(w.run, "filtered")),
    output:
        duplicates="results/{run}/prompts/duplicates/{shard}.parquet",
        pairs="results/{run}/prompts/pairs/{shard}.parquet",
    log:
        "results/{run}/logs/compare_prompts/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/compare_prompts/{shard}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec(
            "compare_prompts",
            part=lambda w: int(w.shard),
            parts=from_config("prompts", "shards"),
            perplexity_band=from_config("prompts", "perplexity_band"),
            near_duplicate=from_config("prompts", "near_duplicate"),
        ),
    message:
        "Comparing prompts with each other (part {wildcards.shard})"
    script:
        "../scripts/compare_prompts.py"


rule drop_duplicates:
    input:
        filtered=from_run(lambda w: prompt_files(w.run, "filtered")),
        duplicates=from_run(lambda w: prompt_files(w.run, "duplicates")),
        pairs=from_run(lambda w: prompt_files(w.run, "pairs")),
    output:
        kept="results/{run}/prompts/kept.parquet",
        filters="results/{run}/tables/prompt_filters.csv",
        quality=report(
            "results/{run}/tables/prompt_quality.csv",
            caption="../report/prompt_quality.rst",
            category="Prompts",
            labels={"what": "Prompts that state a constraint", "form": "table"},
        ),
    log:
        "results/{run}/logs/drop_duplicates.log",
    benchmark:
        "results/{run}/benchmarks/drop_duplicates.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec("drop_duplicates", perplexity_band=from_config("prompts", "perplexity_band")),
    message:
        "Deciding which prompts stay"
    script:
        "../scripts/drop_duplicates.py"


rule unique_prompts:
    input:
        filtered=from_run("results/{run}/prompts/filtered/{shard}.parquet"),
        kept=from_run("results/{run}/prompts/kept.parquet"),
    output:
        prompts="results/{run}/prompts/unique/{shard}.parquet",
    log:
        "results/{run}/logs/unique_prompts/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/unique_prompts/{shard}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec("unique_prompts", shard=lambda w: int(w.shard)),
    message:
        "Keeping finished, new and uncontaminated prompts (shard {wildcards.shard})"
    script:
        "../scripts/unique_prompts.py"


rule fit_projection:
    input:
        model=model("base"),
        prompts=from_run("results/{run}/prompts/unique/0.parquet"),
    output:
        projection="results/{run}/prompts/projection.parquet",
    log:
        "results/{run}/logs/fit_projection.log",
    benchmark:
        "results/{run}/benchmarks/fit_projection.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=one_gpu,
    params:
        spec=spec(
            "fit_projection",
            threads=from_config("engine", "threads"),
            device=from_config("engine", "device"),
            dimensions=from_config("prompts", "embedding_dimensions"),
        ),
    message:
        "Finding the axes that the embeddings of prompts are projected on"
    script:
        "../scripts/fit_projection.py"


rule embed_prompts:
    input:
        model=model("base"),
        prompts=from_run("results/{run}/prompts/unique/{shard}.parquet"),
        projection=from_run(projection_file),
    output:
        embeddings="results/{run}/prompts/embeddings/{shard}.parquet",
    log:
        "results/{run}/logs/embed_prompts/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/embed_prompts/{shard}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=one_gpu,
    params:
        spec=spec(
            "embed_prompts",
            threads=from_config("engine", "threads"),
            device=from_config("engine", "device"),
        ),
    message:
        "Embedding prompts with the base model (shard {wildcards.shard})"
    script:
        "../scripts/embed_prompts.py"


# The next four rules run where prompts.cells is set (alma/cells.py).
rule find_cells:
    input:
        embeddings=from_run(lambda w: prompt_files(w.run, "embeddings")),
    output:
        cells="results/{run}/prompts/cells.parquet",
    log:
        "results/{run}/logs/find_cells.log",
    benchmark:
        "results/{run}/benchmarks/find_cells.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec(
            "find_cells",
            threads=from_config("engine", "threads"),
            seed=from_config("seed"),
            cells=from_config("prompts", "cells"),
            iterations=from_config("prompts", "iterations"),
        ),
        uncompared=uncompared(clusters=from_config("prompts", "clusters")),  # for a check
    message:
        "Finding cells of prompts (k-means on a sample)"
    script:
        "../scripts/find_cells.py"


rule assign_cells:
    input:
        embeddings=from_run("results/{run}/prompts/embeddings/{shard}.parquet"),
        cells=from_run("results/{run}/prompts/cells.parquet"),
    output:
        by_cell="results/{run}/prompts/by_cell/{shard}.parquet",
    log:
        "results/{run}/logs/assign_cells/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/assign_cells/{shard}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec("assign_cells"),
    message:
        "Assigning prompts to cells (shard {wildcards.shard})"
    script:
        "../scripts/assign_cells.py"


rule share_clusters:
    input:
        by_cell=from_run(lambda w: prompt_files(w.run, "by_cell")),
    output:
        table="results/{run}/tables/cells.csv",
    log:
        "results/{run}/logs/share_clusters.log",
    benchmark:
        "results/{run}/benchmarks/share_clusters.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec("share_clusters", clusters=from_config("prompts", "clusters")),
    message:
        "Sharing the clusters out over the cells"
    script:
        "../scripts/share_clusters.py"


# Here {shard} is a part of the cells, which are cut into as many parts as there are shards.
rule cluster_cells:
    input:
        by_cell=from_run(lambda w: prompt_files(w.run, "by_cell")),
        cells=from_run("results/{run}/prompts/cells.parquet"),
        table=from_run("results/{run}/tables/cells.csv"),
    output:
        clusters="results/{run}/prompts/cell_clusters/{shard}.parquet",
    log:
        "results/{run}/logs/cluster_cells/{shard}.log",
    benchmark:
        "results/{run}/benchmarks/cluster_cells/{shard}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec(
            "cluster_cells",
            seed=from_config("seed"),
            iterations=from_config("prompts", "iterations"),
            part=lambda w: int(w.shard),
            parts=from_config("prompts", "shards"),
        ),
    message:
        "Clustering the prompts of some cells (part {wildcards.shard})"
    script:
        "../scripts/cluster_cells.py"


rule cluster_prompts:
    input:
        embeddings=from_run(lambda w: [] if in_cells(w) else prompt_files(w.run, "embeddings")),
        parts=from_run(lambda w: prompt_files(w.run, "cell_clusters") if in_cells(w) else []),
    output:
        clusters="results/{run}/prompts/clusters.parquet",
    log:
        "results/{run}/logs/cluster_prompts.log",
    benchmark:
        "results/{run}/benchmarks/cluster_prompts.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(8000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec("cluster_prompts", one_level, threads=from_config("engine", "threads")),
    message:
        "Clustering the prompts (k-means)"
    script:
        "../scripts/cluster_prompts.py"


rule deal_prompts:
    input:
        clusters=from_run("results/{run}/prompts/clusters.parquet"),
    output:
        deal="results/{run}/prompts/deal.parquet",
    log:
        "results/{run}/logs/deal_prompts.log",
    benchmark:
        "results/{run}/benchmarks/deal_prompts.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(8000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec("deal_prompts", seed=from_config("seed")),
        # The check alone looks at these, so raising one makes no prompts again that are there.
        uncompared=uncompared(
            rounds=from_config("rounds"), prompts_per_round=from_config("prompts_per_round")
        ),
    message:
        "Dealing the clusters of prompts to the rounds"
    script:
        "../scripts/deal_prompts.py"


rule check_rounds:
    input:
        clusters=from_run("results/{run}/prompts/clusters.parquet"),
    output:
        table="results/{run}/tables/round_clusters.csv",
    log:
        "results/{run}/logs/check_rounds.log",
    benchmark:
        "results/{run}/benchmarks/check_rounds.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(8000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec(
            "check_rounds",
            seed=from_config("seed"),
            rounds=from_config("rounds"),
            prompts_per_round=from_config("prompts_per_round"),
        ),
    message:
        "Checking that the prompts last for all rounds"
    script:
        "../scripts/check_rounds.py"


rule gather_prompts:
    input:
        prompts=from_run(lambda w: prompt_files(w.run, "unique")),
        deal=from_run("results/{run}/prompts/deal.parquet"),
    output:
        gathered="results/{run}/prompts/gathered/{round}-{block}.parquet",
    log:
        "results/{run}/logs/gather_prompts/{round}-{block}.log",
    benchmark:
        "results/{run}/benchmarks/gather_prompts/{round}-{block}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(120),
    params:
        spec=spec(
            "gather_prompts",
            round_=lambda w: int(w.round),
            block=lambda w: int(w.block),
            places=PLACES,
        ),
    message:
        "Gathering the prompts that are dealt to round {wildcards.round} (block {wildcards.block})"
    script:
        "../scripts/gather_prompts.py"


rule round_prompts:
    input:
        gathered=from_run(gathered_files),
        deal=from_run("results/{run}/prompts/deal.parquet"),
        clusters=from_run("results/{run}/prompts/clusters.parquet"),
    output:
        prompts="results/{run}/rounds/{round}/prompts/{shard}.parquet",
    log:
        "results/{run}/logs/round_prompts/{round}-{shard}.log",
    benchmark:
        "results/{run}/benchmarks/round_prompts/{round}-{shard}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "round_prompts",
            round_=lambda w: int(w.round),
            shard=lambda w: int(w.shard),
            prompts_per_shard=from_config("prompts_per_shard"),
            prompts_in_shard=shard_size,
            places=PLACES,
        ),
        # The check alone looks at these, so raising one makes no prompts again that are there.
        uncompared=uncompared(
            rounds=from_config("rounds"), prompts_per_round=from_config("prompts_per_round")
        ),
    message:
        "Taking the prompts of round {wildcards.round} (shard {wildcards.shard})"
    script:
        "../scripts/round_prompts.py"
