"""Cluster the prompts and rank the members of each cluster, or join what was clustered cell by cell.

Reads:
    embeddings: `embedding` tables of all shards, where there is one level (`prompts.cells`).
    parts: else the `cluster` tables of all cells, as cluster_cells writes them.

Writes:
    clusters: `cluster` table, sorted by prompt_id: prompt_id, cluster (0 ..), rank (place in a
        seeded order of the cluster), distance (squared Euclidean, of
        centered vectors of length one; null where the prompts were dealt at random).

Params:
    seed: seed of the run. clusters, iterations: of k-means. diversify: false deals the prompts at
    random into equal groups (the ablation). All of one level alone: a join needs none.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from alma.cells import check_enough
from alma.clustering import dealt, k_means, ranks_in, read_embeddings
from alma.ids import hashed_int
from alma.tables import collect, frame_schema, iter_columns, scan_tables, write_frames

if TYPE_CHECKING:
    import polars as pl


def write_sorted(path: str | Path, frame: "pl.DataFrame") -> None:
    """Write a `cluster` table of rows that are sorted by prompt_id, and tell the sizes of the clusters."""
    sizes = frame["cluster"].value_counts()["count"].to_numpy()
    print(f"{len(frame)} prompts in {len(sizes)} clusters of {sizes.min()} to {sizes.max()}", flush=True)
    write_frames(path, "cluster", [frame])


def read_ids(paths: list[str]) -> list[str]:
    """Ids of several `embedding` tables, sorted: where the vectors are not looked at."""
    parts = (part for path in paths for part in iter_columns(path, "embedding", ["prompt_id"]))
    return sorted(key for part in parts for key in part["prompt_id"].to_pylist())


def main(
    embeddings: list[str],
    clusters_path: str | Path,
    *,
    seed: int,
    clusters: int,
    iterations: int,
    diversify: bool,
) -> None:
    """Cluster all prompts in one level; see the module's docstring."""
    import polars as pl

    columns: dict[str, object] = {}
    if diversify:
        ids, vectors = read_embeddings(embeddings)
        check_enough(len(ids), clusters)
        nearest, squared = k_means(vectors, clusters, iterations, hashed_int("k-means", seed, bits=31))
        found = nearest.tolist()
        columns["distance"] = squared
    else:
        ids = read_ids(embeddings)
        check_enough(len(ids), clusters)
        found = dealt(ids, clusters, seed)
        columns["distance"] = [None] * len(ids)
    columns |= {"prompt_id": ids, "cluster": found, "rank": ranks_in(ids, found, seed)}
    schema = frame_schema("cluster")
    write_sorted(clusters_path, pl.DataFrame({name: columns[name] for name in schema}, schema))


def join(parts: list[str], clusters_path: str | Path) -> None:
    """Join the clusters of all cells, ids and numbers alone; see the module's docstring."""
    write_sorted(clusters_path, collect(scan_tables(parts, "cluster").sort("prompt_id")))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        if snakemake.input.parts:
            join(list(snakemake.input.parts), snakemake.output.clusters)
        else:
            main(list(snakemake.input.embeddings), snakemake.output.clusters, **config)
