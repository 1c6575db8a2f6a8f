"""Find the cells of a clustering in two levels: k-means on a sample of the embeddings (`alma.cells`).

Reads:
    embeddings: `embedding` tables of all shards, of each its first rows alone.

Writes:
    cells: `projection` table: the sample's mean, then the centroid of each cell.

Params:
    seed: seed of the run. cells: how many. iterations: of k-means.
    clusters: for the check alone: fewer prompts than clusters are refused here.
"""

from pathlib import Path

from alma.cells import check_enough, find, sample_size, sampled, write_cells
from alma.ids import hashed_int
from alma.tables import count_rows


def main(
    embeddings: list[str], cells_path: str | Path, *, seed: int, cells: int, iterations: int, clusters: int
) -> None:
    """Write the cells; see the module's docstring.

    Raises:
        InputError: there are fewer prompts than clusters.
    """
    prompts = sum(count_rows(path, "embedding") for path in embeddings)
    check_enough(prompts, clusters)
    vectors = sampled(embeddings, sample_size(cells))
    print(f"{cells} cells from {len(vectors)} of {prompts} prompts", flush=True)
    write_cells(cells_path, find(vectors, cells, iterations, hashed_int("cells", seed, bits=31)))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.embeddings), snakemake.output.cells, **config)
