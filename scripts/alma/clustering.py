"""Clusters of prompts by their embeddings (`alma.dealing` deals them to the rounds)."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from alma.errors import InputError
from alma.ids import hashed_int
from alma.tables import SCHEMAS, read_columns, write_columns

if TYPE_CHECKING:
    import numpy as np


def write_embeddings(path: str | Path, ids: list[str], vectors: "np.ndarray") -> None:
    """Write an `embedding` table from ids and a float32 array [ids, width]."""
    import numpy as np
    import pyarrow as pa

    count, width = vectors.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width, type=pa.int32())
    values = pa.array(vectors.reshape(-1), type=pa.float32())
    table = pa.Table.from_arrays(
        [pa.array(ids, type=pa.string()), pa.ListArray.from_arrays(offsets, values)],
        schema=SCHEMAS["embedding"],
    )
    write_columns(path, "embedding", table)


def read_embeddings(paths: list[str]) -> tuple[list[str], "np.ndarray"]:
    """Ids and float32 array [ids, width] of several `embedding` tables, sorted by id.

    Raises:
        InputError: a table is damaged, or its rows are not of one width.
    """
    import numpy as np
    import pyarrow.compute as pc

    ids: list[str] = []
    parts = []
    widths: set[int] = set()
    for path in paths:
        table = read_columns(path, "embedding")
        if len(table):
            ids += table["prompt_id"].to_pylist()
            vectors = table["embedding"].combine_chunks()
            widths |= set(pc.list_value_length(vectors).unique().to_pylist())
            parts.append(vectors.flatten().to_numpy(zero_copy_only=False))
    if len(widths) > 1:
        raise InputError(
            f"{', '.join(paths)}: embeddings of {sorted(widths)} numbers, expected one width. Delete them."
        )
    if not parts:
        return [], np.empty((0, 0), dtype=np.float32)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return [ids[i] for i in order], np.concatenate(parts).reshape(len(ids), -1)[order]


def k_means(
    vectors: "np.ndarray", clusters: int, iterations: int, seed: int
) -> "tuple[np.ndarray, np.ndarray]":
    """Spherical-like k-means: on centered vectors of length one. Library: faiss.

    Hidden states share one large common direction; without centring the angles between prompts
    would be dwarfed by it.

    Args:
        vectors: float32 [prompts, width], at least `clusters` rows. iterations: of Lloyd's algorithm.

    Returns:
        Cluster (int64) and squared Euclidean distance to its centroid (float32) of each prompt.
    """
    import faiss
    import numpy as np

    data = vectors - vectors.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    data /= np.maximum(np.linalg.norm(data, axis=1, keepdims=True), np.float32(1e-12))
    data = np.ascontiguousarray(data, dtype=np.float32)
    model = faiss.Kmeans(
        data.shape[1],
        clusters,
        niter=iterations,
        seed=seed,
        # faiss trains on a sample, and warns about small clusters, unless told otherwise.
        max_points_per_centroid=len(data),
        min_points_per_centroid=1,
    )
    model.train(data)
    distance, nearest = model.index.search(data, 1)
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
