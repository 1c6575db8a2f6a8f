"""Cluster the prompts, and rank the members of each cluster for the rounds.

Reads:
    embeddings: `embedding` tables of all shards.

Writes:
    clusters: `cluster` table, sorted by prompt_id: prompt_id, cluster (0 ..), rank (place in a
        seeded order of the cluster; round r takes rank r - 2), distance (squared Euclidean, of
        centred vectors of length one; null where the prompts were dealt at random).

Params:
    seed: seed of the run. clusters, iterations: of k-means. diversify: false deals the prompts at
    random into equal groups (the ablation). rounds: later rounds, R - 1. prompts_per_round: K.
"""

from collections import Counter
from pathlib import Path

from alma.clustering import FIRST_ROUND, check_dealing, dealt, k_means, ranks_in, read_embeddings
from alma.errors import InputError
from alma.ids import hashed_int
from alma.tables import write_table


def check_supply(clusters: list[int], wanted: int, rounds: int, prompts_per_round: int) -> None:
    """Check, before anything is sampled, that no round runs dry.

    Args:
        clusters: cluster of each prompt. wanted: prompts.clusters. rounds: later rounds, R - 1.

    Raises:
        InputError: a round finds too few clusters that still hold a prompt.
    """
    sizes = Counter(clusters).values()
    for round_ in range(FIRST_ROUND, FIRST_ROUND + rounds):
        serving = sum(size > round_ - FIRST_ROUND for size in sizes)
        if serving < prompts_per_round:
            raise InputError(
                f"prompts_per_round: round {round_} needs {prompts_per_round} clusters that still hold an "
                f"unused prompt, but only {serving} of {wanted} do "
                f"({len(clusters)} prompts passed the filters).\n  {_advice(wanted, prompts_per_round)}"
            )


def _advice(wanted: int, prompts_per_round: int) -> str:
    """Which keys to change where a round runs dry."""
    if wanted < prompts_per_round:
        return (
            f"A round takes one prompt a cluster: raise prompts.clusters (found {wanted}) to at least "
            f"{prompts_per_round}, or lower prompts_per_round."
        )
    return (
        "Raise prompts.per_shard (more prompts), lower prompts.clusters (fewer, larger clusters), "
        "or lower prompts_per_round or rounds."
    )


def main(
    embeddings: list[str],
    clusters_path: str | Path,
    *,
    seed: int,
    clusters: int,
    iterations: int,
    diversify: bool,
    rounds: int,
    prompts_per_round: int,
) -> None:
    """Cluster all prompts; see the module's docstring."""
    ids, vectors = read_embeddings(embeddings)
    if len(ids) < clusters:
        raise InputError(
            f"prompts.clusters: found {clusters}, but only {len(ids)} prompts passed the filters "
            f"(tables/prompt_filters.csv counts what was removed).\n"
            f"  Raise prompts.per_shard or lower prompts.clusters."
        )
    distances: list[float | None] = [None] * len(ids)
    if diversify:
        nearest, squared = k_means(vectors, clusters, iterations, hashed_int("k-means", seed, bits=31))
        found, distances = nearest.tolist(), squared.tolist()
    else:
        found = dealt(ids, clusters, seed)
    check_supply(found, clusters, rounds, prompts_per_round)
    ranks = ranks_in(ids, found, seed)
    rows = [
        {"prompt_id": key, "cluster": cluster, "rank": rank, "distance": distance}
        for key, cluster, rank, distance in zip(ids, found, ranks, distances, strict=True)
    ]
    check_dealing(rows)
    sizes = sorted(Counter(found).values())
    print(f"{len(ids)} prompts in {len(sizes)} clusters of {sizes[0]} to {sizes[-1]}", flush=True)
    write_table(clusters_path, "cluster", rows)


if "snakemake" in globals():
    from alma.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.embeddings), snakemake.output.clusters, **config)
