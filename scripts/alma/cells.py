"""K-means in two levels: coarse cells from a sample, then each cell clustered by itself (`prompts.cells`).

One k-means over all prompts holds all embeddings in one process, and its time grows with prompts x clusters.
Here no job holds more than a sample, a shard, or the cells of one part:

1. `sampled` embeddings give the mean and the centroids of the cells.
2. The prompts of a shard go to their nearest centroid (`assigned`). The shard's vectors are written again by
   cell: row group c of the file is cell c, empty ones too, so that a job reads the rows of its cells alone.
3. `shares` says how many of the clusters each cell gets.
4. Each cell is clustered (`clustered`). Its vectors, its seed and so its clusters do not depend on the job
   that it falls to.

All steps center by one mean, that of the sample: a sum over all shards would be one more pass over all
embeddings, and the mean of n random vectors is off by about 1 / sqrt(n) of their spread (n is `SAMPLE` or
more, or all of them where there are fewer).

faiss as it is locked in envs/ is built for CPUs (it has no `StandardGpuResources`), so no key asks for a GPU.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alma.clustering import Projection, read_projection, to_directions, trained, write_projection
from alma.errors import InputError
from alma.files import atomic_path
from alma.tables import count_rows, iter_columns

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SAMPLE = 8192  # vectors that the cells are trained on, at least
PER_CELL = 128  # or so many per cell
_AT_ONCE = 8192  # vectors of a shard that are in memory as float32


class Cells(NamedTuple):
    """What the cells are.

    Args:
        mean: float32 [width], of the sample. centroids: float32 [cells, width], of its directions.
    """

    mean: "np.ndarray"
    centroids: "np.ndarray"


def sample_size(cells: int) -> int:
    """Vectors that so many cells are trained on."""
    return max(SAMPLE, PER_CELL * cells)


def check_enough(prompts: int, clusters: int) -> None:
    """Check that there are as many prompts as clusters.

    Raises:
        InputError: there are not.
    """
    if prompts < clusters:
        raise InputError(
            f"prompts.clusters: found {clusters}, but only {prompts} prompts passed the filters "
            f"(tables/prompt_filters.csv counts what was removed).\n"
            f"  Raise prompts.raw_per_shard or lower prompts.clusters."
        )


def vectors_of(table: "pa.Table") -> "np.ndarray":
    """float16 [rows, width] of the column of an `embedding` table."""
    column = table["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(table), column.type.list_size)


def sampled(paths: list[str], count: int) -> "np.ndarray":
    """float32 [at least count, width]: the first rows of each `embedding` table, in proportion to its rows.

    A shard is sorted by ids, which are hashes, so its first rows are a random sample of it. All rows where
    there are fewer than `count`.

    Raises:
        InputError: a table is damaged, or the tables are not of one width.
    """
    import numpy as np

    rows = [count_rows(path, "embedding") for path in paths]
    found: list[np.ndarray] = []
    for path, have in zip(paths, rows, strict=True):
        left = min(have, -(-count * have // max(sum(rows), 1)))
        for part in iter_columns(path, "embedding", ["embedding"], rows=_AT_ONCE):
            if left <= 0:
                break
            found.append(vectors_of(part.slice(0, left)))
            left -= len(part)
    widths = {part.shape[1] for part in found}
    if len(widths) > 1:
        raise InputError(
            f"{', '.join(paths)}: embeddings of {sorted(widths)} numbers, expected one width. Delete them."
        )
    return np.concatenate(found, dtype=np.float32) if found else np.empty((0, 0), dtype=np.float32)


def find(vectors: "np.ndarray", cells: int, iterations: int, seed: int) -> Cells:
    """Mean and centroids of so many cells, from a sample (float32 [prompts, width], changed in place)."""
    import numpy as np

    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    to_directions(vectors, mean)
    return Cells(mean, trained(vectors, cells, iterations, seed).centroids)


def assigned(embeddings: "pa.Table", cells: Cells) -> "np.ndarray":
    """int64 [rows]: the nearest cell of each row of an `embedding` table."""
    import faiss
    import numpy as np

    index = faiss.IndexFlatL2(cells.centroids.shape[1])
    index.add(np.ascontiguousarray(cells.centroids))
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(embeddings), _AT_ONCE):
        part = vectors_of(embeddings.slice(start, _AT_ONCE)).astype(np.float32)
        to_directions(part, cells.mean)
        found.append(index.search(part, 1)[1][:, 0])
    return np.concatenate(found)


def shares(sizes: "np.ndarray", clusters: int) -> "np.ndarray":
    """How many clusters each cell gets: exactly `clusters` in all, and in no cell more than its prompts.

    Each cell with prompts gets one. The others are shared out in proportion to the prompts beyond the first
    of each cell, by largest remainder; of equal remainders the cell with the lower number comes first.

    Args:
        sizes: int64 [cells], prompts of each cell. clusters: at least as many as cells with prompts.

    Raises:
        InputError: there are fewer prompts than clusters.
    """
    import numpy as np

    check_enough(int(sizes.sum()), clusters)
    given = (sizes > 0).astype(np.int64)
    beyond = sizes - given
    left = clusters - int(given.sum())
    whole, remainder = np.divmod(beyond * left, max(int(beyond.sum()), 1))
    whole[np.argsort(-remainder, kind="stable")[: left - int(whole.sum())]] += 1
    return given + whole


def fill_empty(nearest: "np.ndarray", squared: "np.ndarray", clusters: int) -> None:
    """Give every cluster without a prompt the one that is farthest from its centroid, in place.

    faiss may leave a cluster empty, the more often the fewer prompts there are per cluster. A prompt that
    is alone in its cluster stays there.

    Args:
        nearest: int64 [prompts], at least as many as clusters. squared: float32 [prompts], distances.
    """
    import numpy as np

    sizes = np.bincount(nearest, minlength=clusters)
    empty = np.flatnonzero(sizes == 0).tolist()
    for place in np.argsort(-squared, kind="stable").tolist() if empty else ():
        if sizes[nearest[place]] > 1:
            sizes[nearest[place]] -= 1
            nearest[place], squared[place] = empty.pop(0), 0.0
            if not empty:
                return


def clustered(
    vectors: "np.ndarray", mean: "np.ndarray", clusters: int, iterations: int, seed: int
) -> "tuple[np.ndarray, np.ndarray]":
    """Cluster the prompts of one cell (float32 [prompts, width], changed in place): none stays empty.

    Returns:
        Cluster (int64, from 0) and squared Euclidean distance to its centroid (float32) of each prompt.
    """
    to_directions(vectors, mean)
    distance, nearest = trained(vectors, clusters, iterations, seed).index.search(vectors, 1)
    nearest, squared = nearest[:, 0].copy(), distance[:, 0].copy()
    fill_empty(nearest, squared, clusters)
    return nearest, squared


# files


def write_cells(path: str | Path, cells: Cells) -> None:
    """Write the mean, then the centroids, as a `projection` table."""
    write_projection(path, Projection(cells.mean, cells.centroids), "centroid")


def read_cells(path: str | Path) -> Cells:
    """Read a table that `write_cells` wrote.

    Raises:
        InputError: the table is damaged.
    """
    return Cells(*read_projection(path))


def write_by_cell(path: str | Path, embeddings: "pa.Table", cell: "np.ndarray", cells: int) -> None:
    """Write an `embedding` table by cell, atomically: row group c holds the rows of cell c, in their order.

    Args:
        cell: int64 [rows], of each row. cells: how many there are.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    order = np.argsort(cell, kind="stable")
    ends = np.cumsum(np.bincount(cell, minlength=cells))
    schema = embeddings.schema
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for rows in np.split(order, ends[:-1]):
            part = embeddings.take(pa.array(rows)).combine_chunks()
            writer.write_table(part, row_group_size=max(len(part), 1))


def _opened(path: str) -> Any:
    """A file that `write_by_cell` wrote; damage is named."""
    import pyarrow.parquet as pq

    count_rows(path, "embedding")
    return pq.ParquetFile(path)


def sizes_by_cell(path: str) -> "np.ndarray":
    """int64 [cells]: rows of each cell in a file of `write_by_cell`, from its metadata.

    Raises:
        InputError: the file is damaged.
    """
    import numpy as np

    with _opened(path) as file:
        groups = range(file.num_row_groups)
        return np.array([file.metadata.row_group(cell).num_rows for cell in groups], dtype=np.int64)


def read_by_cell(paths: list[str], cells: range) -> "Iterator[tuple[int, list[str], np.ndarray]]":
    """Each of some cells with its prompts of all shards: number, ids, and vectors (float32 [prompts, width]).

    The prompts of a cell come sorted by id, however they are cut into shards. The rows of all these cells are
    held as float16, those of one cell as float32.

    Args:
        paths: files of `write_by_cell`.

    Raises:
        InputError: a file is damaged.
    """
    import numpy as np
    import pyarrow as pa

    tables, starts = [], []
    for path in paths:
        with _opened(path) as file:
            tables.append(file.read_row_groups(list(cells)))
            sizes = [file.metadata.row_group(cell).num_rows for cell in cells]
            starts.append(np.cumsum([0, *sizes]).tolist())
    for number, cell in enumerate(cells):
        ends = [(start[number], start[number + 1]) for start in starts]
        parts = [table.slice(low, high - low) for table, (low, high) in zip(tables, ends, strict=True)]
        rows = pa.concat_tables(parts).sort_by("prompt_id")
        yield cell, rows["prompt_id"].to_pylist(), vectors_of(rows).astype(np.float32)
