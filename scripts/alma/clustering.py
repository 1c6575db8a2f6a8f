"""Clusters of prompts by their embeddings (`alma.dealing` deals them to the rounds)."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alma.errors import InputError
from alma.ids import hashed_int
from alma.tables import SCHEMAS, iter_columns, read_columns, write_columns

if TYPE_CHECKING:
    import numpy as np


class Projection(NamedTuple):
    """Principal components of embeddings.

    Args:
        mean: float32 [width]. axes: float32 [dimensions, width], of length one, the largest variance first.
    """

    mean: "np.ndarray"
    axes: "np.ndarray"

    def of(self, vectors: "np.ndarray") -> "np.ndarray":
        """float32 [texts, dimensions] of vectors (float32 [texts, width])."""
        return (vectors - self.mean) @ self.axes.T


def fit_axes(vectors: "np.ndarray", dimensions: int) -> Projection:
    """The first principal components of vectors (float32 [texts, width]): as many as asked for, or all.

    Each axis points to its largest entry, so that its sign does not hang on the library.
    """
    import numpy as np

    mean = vectors.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(vectors - mean, full_matrices=False)[2][:dimensions]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return Projection(mean.astype(np.float32), (axes * signs[:, None]).astype(np.float32))


def write_projection(path: str | Path, projection: Projection, row: str = "axis") -> None:
    """Write a `projection` table: the mean, then the axes, or what else its rows are."""
    import numpy as np
    import pyarrow as pa

    rows = np.concatenate([projection.mean[None], projection.axes]).astype(np.float32)
    columns = [
        pa.array(["mean"] + [row] * len(projection.axes), type=pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1]),
    ]
    names = SCHEMAS["projection"].names
    write_columns(path, "projection", pa.Table.from_arrays(columns, names=names))


def read_projection(path: str | Path) -> Projection:
    """Read a table that `write_projection` wrote.

    Raises:
        InputError: the table is damaged.
    """
    table = read_columns(path, "projection")
    rows = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return Projection(rows[0], rows[1:])


def write_embeddings(path: str | Path, ids: list[str], vectors: "np.ndarray") -> None:
    """Write an `embedding` table from ids and a float32 array [ids, width], rounded to float16.

    Raises:
        InputError: a value is too large for float16, or is no number.
    """
    import numpy as np
    import pyarrow as pa

    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(vectors, dtype=np.float16)
    if not np.isfinite(halves).all():
        raise InputError(
            f"{path}: embeddings of up to {np.nanmax(np.abs(vectors)):.3g}, expected numbers of at most "
            f"{np.finfo(np.float16).max:.0f} (float16).\n  The base model's hidden states are out of range; "
            "is its checkpoint sound?"
        )
    values = pa.array(halves.reshape(-1), type=pa.float16())
    columns = [pa.array(ids, type=pa.string()), pa.FixedSizeListArray.from_arrays(values, halves.shape[1])]
    write_columns(path, "embedding", pa.Table.from_arrays(columns, names=SCHEMAS["embedding"].names))


def read_embeddings(paths: list[str], wanted: list[str] | None = None) -> tuple[list[str], "np.ndarray"]:
    """Ids and float32 array [ids, width] of several `embedding` tables, sorted by id.

    The tables are read twice, ids first, so that each vector goes from its file to its place: beyond the
    result there are only some thousand vectors in memory.

    Args:
        wanted: ids to read, where not all are.

    Raises:
        InputError: a table is damaged, or its rows are not of one width.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen = None if wanted is None else pa.array(wanted, pa.string())
    parts = [part["prompt_id"] for path in paths for part in iter_columns(path, "embedding", ["prompt_id"])]
    ids = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
    used = np.ones(len(ids), dtype=np.bool_) if chosen is None else pc.is_in(ids, chosen).to_numpy()
    order = pc.sort_indices(ids.filter(used)).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found = np.empty((0, 0), dtype=np.float32)
    widths: set[int] = set()
    start = count = 0
    for path in paths:
        for part in iter_columns(path, "embedding", ["embedding"], rows=8192):
            widths.add(part["embedding"].type.list_size)
            if len(widths) > 1:
                raise InputError(
                    f"{', '.join(paths)}: embeddings of {sorted(widths)} numbers, expected one width. "
                    "Delete them."
                )
            if not found.size:
                found = np.empty((len(order), *widths), dtype=np.float32)
            values = part["embedding"].combine_chunks().flatten().to_numpy().reshape(len(part), *widths)
            values = values[used[start : start + len(part)]]
            found[place[count : count + len(values)]] = values
            start += len(part)
            count += len(values)
    return ids.filter(used).take(pa.array(order)).to_pylist(), found


def to_directions(vectors: "np.ndarray", mean: "np.ndarray | None" = None) -> None:
    """Center vectors (float32 [prompts, width]) and scale them to length one, in place.

    Hidden states share one large common direction; without centering the angles between prompts would be
    dwarfed by it.

    Args:
        mean: float32 [width]; None takes that of these vectors.
    """
    import numpy as np

    if mean is None:
        mean = vectors.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    for start in range(0, len(vectors), 65536):
        part = vectors[start : start + 65536]
        part -= mean
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), np.float32(1e-12))


def trained(directions: "np.ndarray", clusters: int, iterations: int, seed: int) -> Any:
    """faiss's k-means on all of these directions (float32 [prompts, width]), at least as many as clusters."""
    import faiss

    model = faiss.Kmeans(
        directions.shape[1],
        clusters,
        niter=iterations,
        seed=seed,
        # faiss trains on a sample, and warns about small clusters, unless told otherwise.
        max_points_per_centroid=len(directions),
        min_points_per_centroid=1,
    )
    model.train(directions)
    return model


def k_means(
    vectors: "np.ndarray", clusters: int, iterations: int, seed: int
) -> "tuple[np.ndarray, np.ndarray]":
    """Spherical-like k-means: on centered vectors of length one. Library: faiss.

    Args:
        vectors: float32 [prompts, width], at least `clusters` rows; they are changed in place
            (`to_directions`), since a copy may not fit the memory. iterations: of Lloyd's algorithm.

    Returns:
        Cluster (int64) and squared Euclidean distance to its centroid (float32) of each prompt.
    """
    import numpy as np

    data = np.ascontiguousarray(vectors, dtype=np.float32)
    to_directions(data)
    distance, nearest = trained(data, clusters, iterations, seed).index.search(data, 1)
    return nearest[:, 0], distance[:, 0]


def ranks_in(ids: list[str], clusters: list[int], seed: int) -> list[int]:
    """Place of each prompt in a seeded order of its cluster, from 0."""
    members: dict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(ids)), key=lambda i: (hashed_int("rank", seed, ids[i]), ids[i])):
        members[clusters[i]].append(i)
    ranks = [0] * len(ids)
    for group in members.values():
        for rank, i in enumerate(group):
            ranks[i] = rank
    return ranks


def dealt(ids: list[str], groups: int, seed: int) -> list[int]:
    """Group of each prompt when they are dealt one by one in a seeded order: groups of equal size."""
    found = [0] * len(ids)
    for place, i in enumerate(
        sorted(range(len(ids)), key=lambda i: (hashed_int("deal", seed, ids[i]), ids[i]))
    ):
        found[i] = place % groups
    return found
