"""K-means of prompts in two levels against one: inertia, diversity of a round, time and peak memory.

Run: .venv/bin/python benchmarks/bench_clustering.py [PROMPTS [WIDTH [SHARDS]]]     (50000 64 4: a minute)
The vectors are made up, of two kinds: `groups` lie around 1,000 centers that have nothing in common, which is
hard for cells (they cut through groups), and `nested` around 1,000 centers that lie around 40 topics, as
subjects do. Each job is a process of its own with one thread. A round takes 1,000 prompts of as many
clusters, as alma.dealing deals them; its diversity is the mean distance between two of them, and from each to
the nearest other, beside that of as many prompts at random. Distances are those between centered vectors of
length one.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

GROUPS, TOPICS, ROUND, ITERATIONS, SEED = 1000, 40, 1000, 25, 0
CASES = (("groups", 1000, 32), ("nested", 1000, 32), ("nested", 10_000, 100))  # data, clusters, cells


def made_up(kind: str, prompts: int, width: int) -> Any:
    """float32 [prompts, width]."""
    import numpy as np

    dice = np.random.default_rng(SEED)
    centers = dice.normal(size=(GROUPS, width))
    if kind == "nested":
        centers = dice.normal(size=(TOPICS, width))[np.arange(GROUPS) % TOPICS] + centers / 2
    noise = dice.normal(size=(prompts, width), scale=0.4)
    return (centers[dice.integers(GROUPS, size=prompts)] + noise + 10).astype(np.float32)


def _measured(job: Callable[..., None], arguments: Any, keys: Any, answer: Any) -> None:
    sys.stdout = open("/dev/null", "w")  # noqa: SIM115
    begin = time.process_time()
    job(*arguments, **keys)
    # Not getrusage: its peak is that of the process that started this one, where that is larger.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    answer.put((time.process_time() - begin, peak))


def measured(job: Callable[..., None], *arguments: Any, **keys: Any) -> tuple[float, float]:
    """CPU seconds and peak memory (MiB) of a job in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_measured, args=(job, arguments, keys, answer))
    process.start()
    found = answer.get()
    process.join()
    return found


def two_levels(folder: Path, paths: list[str], clusters: int, cells: int) -> list[tuple[float, float]]:
    """CPU seconds and peak memory of each job of a clustering in cells, which writes two.parquet."""
    import assign_cells
    import cluster_cells
    import cluster_prompts
    import find_cells
    import share_clusters

    known, table = folder / "cells.parquet", folder / "cells.csv"
    by_cell = [f"{path}.by_cell" for path in paths]
    parts = [str(folder / f"part{part}.parquet") for part in range(len(paths))]
    facts = {"seed": SEED, "iterations": ITERATIONS}
    jobs = [measured(find_cells.main, paths, known, cells=cells, clusters=clusters, **facts)]
    for path, own in zip(paths, by_cell, strict=True):
        jobs.append(measured(assign_cells.main, path, known, own))
    jobs.append(measured(share_clusters.main, by_cell, table, clusters=clusters))
    for part, path in enumerate(parts):
        facts |= {"part": part, "parts": len(paths)}
        jobs.append(measured(cluster_cells.main, by_cell, known, table, path, **facts))
    jobs.append(measured(cluster_prompts.join, parts, folder / "two.parquet"))
    return jobs


def spread(directions: Any) -> tuple[float, float]:
    """Mean distance between two of some vectors of length one, and from each to the nearest other."""
    import numpy as np

    squared = np.maximum(2 - 2 * directions @ directions.T, 0)
    distances = np.sqrt(squared)
    count = len(directions)
    mean = float(distances.sum() / (count * (count - 1)))
    np.fill_diagonal(distances, np.inf)
    return mean, float(distances.min(axis=1).mean())


def quality(path: Path, ids: list[str], directions: Any) -> tuple[float, float, float]:
    """Inertia per prompt, and the spread of the first round that is dealt from a `cluster` table."""
    import numpy as np

    from alma.dealing import deal_clusters
    from alma.tables import read_columns

    inertia = float(read_columns(path, "cluster", ["distance"])["distance"].to_numpy().mean())
    chosen = deal_clusters(path, SEED, 1).rounds[0][2][:ROUND]
    return inertia, *spread(directions[np.searchsorted(np.array(ids), chosen.astype(str))])


def case(kind: str, clusters: int, cells: int, prompts: int, width: int, shards: int) -> None:
    """Print the lines of one case."""
    import cluster_prompts
    import numpy as np

    from alma.clustering import read_embeddings, to_directions, write_embeddings
    from alma.ids import content_id

    print(
        f"{kind}: {prompts} prompts of {width} numbers, {clusters} clusters, {cells} cells, {shards} shards"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors, ids = made_up(kind, prompts, width), sorted(content_id(i) for i in range(prompts))
        paths = [str(folder / f"embeddings{shard}.parquet") for shard in range(shards)]
        for shard, path in enumerate(paths):
            write_embeddings(path, ids[shard::shards], vectors[shard::shards])
        directions = read_embeddings(paths)[1]
        to_directions(directions)
        facts = {"seed": SEED, "clusters": clusters, "iterations": ITERATIONS, "diversify": True}
        one = [measured(cluster_prompts.main, paths, folder / "one.parquet", **facts)]
        two = two_levels(folder, paths, clusters, cells)
        rows = []
        for level, jobs in (("one", one), ("two", two)):
            seconds, peaks = zip(*jobs, strict=True)
            found = quality(folder / f"{level}.parquet", ids, directions)
            rows.append((*found, sum(seconds), max(seconds), max(peaks)))
        at_random = np.random.default_rng(SEED).choice(prompts, ROUND, replace=False)
    names = ("inertia per prompt", "mean distance in a round", "nearest distance in a round")
    names += ("CPU s in all", "CPU s of the longest job", "peak memory of a job (MiB)")
    for place, label in enumerate(names):
        first, second = rows[0][place], rows[1][place]
        print(f"  {label}: one level {first:.4g}, two {second:.4g}, ratio {second / first:.3f}")
    mean, nearest = spread(directions[at_random])
    print(f"  at random: mean distance {mean:.4g}, nearest {nearest:.4g}", flush=True)


def main(prompts: int, width: int, shards: int) -> None:
    """Print all cases."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[variable] = "1"
    for kind, clusters, cells in CASES:
        case(kind, clusters, cells, prompts, width, shards)


if __name__ == "__main__":
    given = list(map(int, sys.argv[1:]))
    main(*given, *(50_000, 64, 4)[len(given) :])
