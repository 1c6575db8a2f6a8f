# Responses to the round's prompts: checkpoint x shard x block, every request with a seed of its own.

from alma.workflow.sharding import block_samples


def sample_indices(w):
    """Sample indices that one samples file holds (checkpoint x block)."""
    names = sampled_checkpoints(w.run, int(w.round))
    sizes = cfg(w, "samples_per_block"), cfg(w, "samples_per_prompt")
    return block_samples(int(w.block), *sizes, names.index(w.checkpoint), len(names))


def judge_gate(w):
    """Input function of what samples for a round: it waits for the gate, which is open under warn.

    It is one file of the run's own under warn and stop, and nothing of it goes into a result: so neither a change
    of the key nor a variant with another one samples again.
    """
    return f"results/{w.run}/judge/gate.txt"


judge_gate.own = lambda w: []


rule sample_responses:
    input:
        model=model("{checkpoint}"),
        prompts=from_run("results/{run}/rounds/{round}/prompts/{shard}.parquet"),
        gate=judge_gate,
    output:
        responses="results/{run}/rounds/{round}/samples/{checkpoint}/{shard}-{block}.parquet",
    log:
        "results/{run}/logs/sample_responses/{round}-{checkpoint}-{shard}-{block}.log",
    benchmark:
        "results/{run}/benchmarks/sample_responses/{round}-{checkpoint}-{shard}-{block}.tsv"
    conda:
        CONDA
    threads: as_in_spec
    resources:
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        gpu=engine_gpus,
    params:
        spec=spec(
            "sample_responses",
            from_config("sampling"),
            threads=from_config("engine", "threads"),
            seed=lambda w: seed_of(w, "sampling"),
            engine=engine,
            round_=lambda w: int(w.round),
            checkpoint=lambda w: w.checkpoint,
            samples=sample_indices,
        ),
        uncompared=uncompared(engine=batching),
    message:
        "Sampling {wildcards.checkpoint} for round {wildcards.round} (shard {wildcards.shard}, block {wildcards.block})"
    script:
        "../scripts/sample_responses.py"
