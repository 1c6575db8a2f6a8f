"""Cluster the prompts, and rank the members of each cluster.

Reads:
    embeddings: `embedding` tables of all shards.

Writes:
    clusters: `cluster` table, sorted by prompt_id: prompt_id, cluster (0 ..), rank (place in a
        seeded order of the cluster), distance (squared Euclidean, of
        centered vectors of length one; null where the prompts were dealt at random).

Params:
    seed: seed of the run. clusters, iterations: of k-means. diversify: false deals the prompts at
    random into equal groups (the ablation).
"""

from collections import Counter
from pathlib import Path

from alma.clustering import dealt, k_means, ranks_in, read_embeddings
from alma.errors import InputError
from alma.ids import hashed_int
from alma.tables import write_table


def main(
    embeddings: list[str],
    clusters_path: str | Path,
    *,
    seed: int,
    clusters: int,
    iterations: int,
    diversify: bool,
) -> None:
    """Cluster all prompts; see the module's docstring."""
    ids, vectors = read_embeddings(embeddings)
    if len(ids) < clusters:
        raise InputError(
            f"prompts.clusters: found {clusters}, but only {len(ids)} prompts passed the filters "
            f"(tables/prompt_filters.csv counts what was removed).\n"
            f"  Raise prompts.raw_per_shard or lower prompts.clusters."
        )
    distances: list[float | None] = [None] * len(ids)
    if diversify:
        nearest, squared = k_means(vectors, clusters, iterations, hashed_int("k-means", seed, bits=31))
        found, distances = nearest.tolist(), squared.tolist()
    else:
        found = dealt(ids, clusters, seed)
    ranks = ranks_in(ids, found, seed)
    rows = [
        {"prompt_id": key, "cluster": cluster, "rank": rank, "distance": distance}
        for key, cluster, rank, distance in zip(ids, found, ranks, distances, strict=True)
    ]
    sizes = sorted(Counter(found).values())
    print(f"{len(ids)} prompts in {len(sizes)} clusters of {sizes[0]} to {sizes[-1]}", flush=True)
    write_table(clusters_path, "cluster", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.embeddings), snakemake.output.clusters, **config)
