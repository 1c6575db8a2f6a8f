"""Assign the prompts of one shard to the cells, and write its embeddings again by cell (`alma.cells`).

Reads:
    embeddings: `embedding` table of the shard, sorted by prompt_id.
    cells: the mean and the centroids, as find_cells writes them.

Writes:
    by_cell: `embedding` table with the same rows: row group c holds those of cell c, sorted by prompt_id.
"""

from pathlib import Path

from alma.cells import assigned, read_cells, write_by_cell
from alma.tables import read_columns


def main(embeddings: str | Path, cells: str | Path, by_cell: str | Path) -> None:
    """Assign one shard; see the module's docstring."""
    known = read_cells(cells)
    table = read_columns(embeddings, "embedding")
    nearest = assigned(table, known)
    write_by_cell(by_cell, table, nearest, len(known.centroids))
    print(f"{len(table)} prompts in {len(set(nearest.tolist()))} of {len(known.centroids)} cells")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.embeddings, snakemake.input.cells, snakemake.output.by_cell, **config)
