# Human labels in, checked tables out. Bad rows are listed all at once, and nothing else starts.

from alma.workflow.config import data_sources


def local_seed_files(run):
    """Seed and benchmark files on this machine; hub data sets are named in the spec instead."""
    return sorted({path for path in data_sources(cfg(run)).values() if is_local(path)})


rule read_seeds:
    input:
        files=lambda w: local_seed_files(w.run),
    output:
        sft="results/{run}/seeds/sft.parquet",
        judge="results/{run}/seeds/judge.parquet",
        judge_heldout="results/{run}/seeds/judge_heldout.parquet",
        judge_benchmark="results/{run}/seeds/judge_benchmark.parquet",
        eval="results/{run}/seeds/eval.parquet",
    log:
        "results/{run}/logs/read_seeds.log",
    benchmark:
        "results/{run}/benchmarks/read_seeds.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        spec=spec(
            "read_seeds",
            seed=from_config("seed"),
            sft=from_config("labels", "sft"),
            judge=from_config("labels", "judge"),
            scale=from_config("judge", "scale"),
            heldout_fraction=from_config("judge", "heldout_fraction"),
            judge_benchmark=from_config("judge", "benchmark"),
            benchmarks=from_config("evaluation", "benchmarks"),
        ),
    message:
        "Reading and checking the seeds"
    script:
        "../scripts/read_seeds.py"
