"""What fewer dimensions keep: how many of the ten nearest neighbors of each prompt survive.

Run: .venv/bin/python benchmarks/bench_embeddings.py [FILE ...]     (minutes; no model is loaded)
The files are embeddings of a finished run, by default results/default/prompts/embeddings/*.parquet, made with
`prompts.embedding_dimensions: null`. Neighbors are those of the angle between centered vectors, as k-means
sees them (`alma.clustering.to_directions`). Compared are float16 in all dimensions, a random projection (mean
over five seeds), and PCA, fitted on all of these prompts and on every second one: the figures are then of the
others. All are rounded to float16.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

NEIGHBORS, SEEDS = 10, 5
DIMENSIONS = (64, 128, 256)


def read_vectors(path: str) -> np.ndarray:
    """float32 [prompts, width] of a table with a column of lists, of any type of list and float."""
    lists = pq.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(lists), -1)


def nearest(vectors: np.ndarray) -> np.ndarray:
    """int64 [prompts, 10]: the prompts at the smallest angles to each, itself left out."""
    from alma.clustering import to_directions

    directions = vectors.astype(np.float32)
    to_directions(directions)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argpartition(-cosines, NEIGHBORS, axis=1)[:, :NEIGHBORS]


def projected(vectors: np.ndarray, dimensions: int, seed: int) -> np.ndarray:
    """Vectors after a random projection (normally distributed entries), float32 [prompts, dimensions]."""
    shape = vectors.shape[1], dimensions
    return vectors @ np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def shared(found: np.ndarray, wanted: np.ndarray) -> float:
    """Mean share of the neighbors that are among those wanted."""
    counts = [len(np.intersect1d(a, b)) for a, b in zip(found, wanted, strict=True)]
    return float(np.mean(counts)) / NEIGHBORS


def kept(fewer: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the neighbors that survive, float16 included."""
    return shared(nearest(fewer.astype(np.float16)), wanted)


def main(paths: list[str]) -> None:
    """Print the table."""
    from alma.clustering import fit_axes

    vectors = np.concatenate([read_vectors(path) for path in paths])
    wanted, half = nearest(vectors), nearest(vectors[1::2])
    print(
        f"{len(vectors)} prompts, {vectors.shape[1]} dimensions; share of the {NEIGHBORS} nearest that stay"
    )
    print(f"float16, all dimensions: {kept(vectors, wanted):.3f}")
    for dimensions in DIMENSIONS:
        random = [kept(projected(vectors, dimensions, seed), wanted) for seed in range(SEEDS)]
        fitted = kept(fit_axes(vectors, dimensions).of(vectors), wanted)
        others = kept(fit_axes(vectors[::2], dimensions).of(vectors[1::2]), half)
        some = [kept(projected(vectors[1::2], dimensions, seed), half) for seed in range(SEEDS)]
        print(
            f"{dimensions} dimensions: random projection {np.mean(random):.3f} "
            f"({min(random):.3f} to {max(random):.3f}), PCA {fitted:.3f}; among every second prompt: "
            f"random projection {np.mean(some):.3f}, PCA fitted on the others {others:.3f}"
        )


if __name__ == "__main__":
    found = sys.argv[1:] or sorted(map(str, ROOT.glob("results/default/prompts/embeddings/*.parquet")))
    if not found:
        sys.exit("bench_embeddings: found no embeddings, expected those of a finished run, or files by name")
    main(found)
