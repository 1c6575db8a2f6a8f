"""Share the clusters out over the cells, in proportion to their prompts (`alma.cells.shares`).

Reads:
    by_cell: embeddings by cell, of all shards; their metadata alone.

Writes:
    table: tables/cells.csv, one row per cell (`alma.csv_schemas`).

Params:
    clusters: how many in all.
"""

from pathlib import Path

from alma.cells import shares, sizes_by_cell
from alma.csv_tables import write_csv_table


def main(by_cell: list[str], table: str | Path, *, clusters: int) -> None:
    """Share the clusters out; see the module's docstring.

    Raises:
        InputError: there are fewer prompts than clusters.
    """
    import numpy as np

    sizes = np.sum([sizes_by_cell(path) for path in by_cell], axis=0)
    given = shares(sizes, clusters)
    firsts = np.cumsum(given) - given
    rows = [
        {"cell": cell, "prompts": prompts, "clusters": count, "first_cluster": first}
        for cell, (prompts, count, first) in enumerate(
            zip(sizes.tolist(), given.tolist(), firsts.tolist(), strict=True)
        )
    ]
    print(
        f"{sizes.sum()} prompts in {len(rows)} cells of {sizes.min()} to {sizes.max()}; "
        f"{given.min()} to {given.max()} clusters per cell"
    )
    write_csv_table(table, "cells", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.by_cell), snakemake.output.table, **config)
