"""Cluster the prompts of some cells, each by itself, and rank the members of each cluster (`alma.cells`).

Reads:
    by_cell: embeddings by cell, of all shards; the rows of these cells alone.
    cells: the mean, as find_cells writes it.
    table: tables/cells.csv: how many clusters each cell gets, and the number of its first.

Writes:
    clusters: `cluster` table of these cells, sorted by prompt_id, as cluster_prompts writes it for all.

Params:
    seed: seed of the run. iterations: of k-means.
    part, parts: the cells are cut into so many parts, as even as can be; this job's.
"""

from pathlib import Path

from alma.cells import clustered, read_by_cell, read_cells
from alma.clustering import ranks_in
from alma.csv_tables import read_csv_table
from alma.ids import hashed_int
from alma.tables import SCHEMAS, write_columns
from alma.workflow.sharding import even_range


def main(
    by_cell: list[str],
    cells: str | Path,
    table: str | Path,
    clusters_path: str | Path,
    *,
    seed: int,
    iterations: int,
    part: int,
    parts: int,
) -> None:
    """Cluster the cells of one part; see the module's docstring."""
    import pyarrow as pa

    mean, given = read_cells(cells).mean, read_csv_table(table, "cells")
    schema = SCHEMAS["cluster"]
    found = [schema.empty_table()]
    for cell, ids, vectors in read_by_cell(by_cell, even_range(part, parts, len(given))):
        if not ids:
            continue
        count, first = given[cell]["clusters"], given[cell]["first_cluster"]
        own = hashed_int("k-means", seed, cell, bits=31)
        nearest, squared = clustered(vectors, mean, count, iterations, own)
        names = (nearest + first).tolist()
        columns = [ids, names, ranks_in(ids, names, seed), squared]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        found.append(pa.Table.from_arrays(arrays, schema=schema))
        print(f"cell {cell}: {len(ids)} prompts in {count} clusters", flush=True)
    write_columns(clusters_path, "cluster", pa.concat_tables(found).sort_by("prompt_id"))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.by_cell),
            snakemake.input.cells,
            snakemake.input.table,
            snakemake.output.clusters,
            **config,
        )
