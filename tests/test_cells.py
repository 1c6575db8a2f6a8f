"""K-means in two levels keeps what one level promises, and no job reads more than its own cells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import assign_cells
import cluster_cells
import cluster_prompts
import find_cells
import numpy as np
import pyarrow.parquet as pq
import pytest
import share_clusters
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.cells import (
    Cells,
    assigned,
    clustered,
    fill_empty,
    read_by_cell,
    read_cells,
    sample_size,
    sampled,
    shares,
    sizes_by_cell,
    write_by_cell,
    write_cells,
)
from alma.clustering import ranks_in, read_embeddings, to_directions, write_embeddings
from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.ids import content_id
from alma.tables import read_columns, read_table
from alma.workflow.config import ROOT, merge
from alma.workflow.plan import plan, spec_of
from alma.workflow.sizes import cell_sample

search = settings(deadline=None, max_examples=100, derandomize=True, database=None)


def blobs(count: int, groups: int, width: int = 8, noise: float = 0.3) -> np.ndarray:
    """float32 [count, width] around as many centers as groups, which lie far from the origin."""
    dice = np.random.default_rng(0)
    centers = dice.normal(size=(groups, width))
    spread = dice.normal(scale=noise, size=(count, width))
    return (centers[np.arange(count) % groups] + spread + 50.0).astype(np.float32)


def written(folder: Path, vectors: np.ndarray, shards: int = 3) -> list[str]:
    """Embeddings in as many shards, each sorted by id."""
    ids = sorted(content_id("prompt", i) for i in range(len(vectors)))
    paths = [str(folder / f"embeddings{shard}.parquet") for shard in range(shards)]
    for shard, path in enumerate(paths):
        write_embeddings(path, ids[shard::shards], vectors[shard::shards])
    return paths


def two_levels(
    folder: Path, paths: list[str], cells: int, clusters: int, parts: int = 3, seed: int = 0
) -> list[dict]:
    """Rows of the `cluster` table that the five rules make."""
    known, table = folder / "cells.parquet", folder / "cells.csv"
    find_cells.main(paths, known, seed=seed, cells=cells, iterations=10, clusters=clusters)
    by_cell = [f"{path}.by_cell" for path in paths]
    for path, own in zip(paths, by_cell, strict=True):
        assign_cells.main(path, known, own)
    share_clusters.main(by_cell, table, clusters=clusters)
    found = [str(folder / f"part{part}.parquet") for part in range(parts)]
    for part, path in enumerate(found):
        cluster_cells.main(by_cell, known, table, path, seed=seed, iterations=10, part=part, parts=parts)
    cluster_prompts.join(found, folder / "clusters.parquet")
    return read_table(folder / "clusters.parquet", "cluster")


def one_level(folder: Path, paths: list[str], clusters: int) -> list[dict]:
    """The same of one level."""
    values = {"seed": 0, "clusters": clusters, "iterations": 10, "diversify": True}
    cluster_prompts.main(paths, folder / "one.parquet", **values)
    return read_table(folder / "one.parquet", "cluster")


def check_contract(rows: list[dict], prompts: int, clusters: int, seed: int = 0) -> None:
    """Every prompt once and sorted by id, every cluster used, ranks by the rule of one level."""
    ids, names = [row["prompt_id"] for row in rows], [row["cluster"] for row in rows]
    assert ids == sorted(content_id("prompt", i) for i in range(prompts))
    assert set(names) == set(range(clusters))
    assert [row["rank"] for row in rows] == ranks_in(ids, names, seed)


# how the clusters are shared out


@search
@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.data())
def test_clusters_are_shared_out_in_proportion(sizes, data) -> None:
    some, prompts = sum(size > 0 for size in sizes), sum(sizes)
    clusters = data.draw(st.integers(some, prompts))
    found = shares(np.array(sizes), clusters).tolist()
    assert sum(found) == clusters
    for size, share in zip(sizes, found, strict=True):
        assert min(size, 1) <= share <= size
        if prompts > some:  # one each, and the proportion of the others rounded up or down
            proportion = (clusters - some) * (size - 1) / (prompts - some)
            assert not size or abs(share - 1 - proportion) < 1
    of = dict(zip(sizes, found, strict=True))
    assert [of[size] for size in sorted(of)] == sorted(of.values()), "more prompts, no fewer clusters"


def test_of_equal_remainders_the_first_cell_comes_first() -> None:
    assert shares(np.array([3, 3, 0, 3]), 4).tolist() == [2, 1, 0, 1]
    assert shares(np.array([5, 1]), 2).tolist() == [1, 1]
    assert shares(np.array([100_000_000, 1]), 1_000_000).tolist() == [999_999, 1]


def test_fewer_prompts_than_clusters_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"prompts\.clusters: found 6, but only 5 prompts passed"):
        shares(np.array([2, 3]), 6)
    for count in (0, 5):
        with pytest.raises(InputError, match=rf"only {count} prompts.*\n.*raise|Raise prompts"):
            two_levels(tmp_path, written(tmp_path, blobs(count, 2)), 2, 6)
    assert not (tmp_path / "cells.parquet").exists()


@search
@given(st.lists(st.integers(0, 5), min_size=6, max_size=40))
def test_no_cluster_stays_empty(found) -> None:
    nearest, squared = np.array(found), np.arange(len(found), dtype=np.float32)[::-1].copy()
    before = nearest.copy()
    fill_empty(nearest, squared, 6)
    assert set(nearest.tolist()) == set(range(6))
    moved = nearest != before
    assert moved.sum() == 6 - len(set(found)) and (squared[moved] == 0).all()


# what one level promises


@pytest.mark.parametrize(("cells", "clusters"), [(2, 40), (7, 40), (40, 40), (5, 300)])
def test_two_levels_keep_the_contract_of_one(tmp_path, cells, clusters) -> None:
    rows = two_levels(tmp_path, written(tmp_path, blobs(300, 12)), cells, clusters)
    check_contract(rows, 300, clusters)
    given_ = read_csv_table(tmp_path / "cells.csv", "cells")
    for row in given_:
        names = range(row["first_cluster"], row["first_cluster"] + row["clusters"])
        assert sum(r["cluster"] in names for r in rows) == row["prompts"]
    assert sum(row["prompts"] for row in given_) == 300


def test_clusters_do_not_depend_on_the_parts_and_repeat(tmp_path) -> None:
    paths = written(tmp_path, blobs(300, 12))
    rows = two_levels(tmp_path, paths, 5, 40)
    first = (tmp_path / "clusters.parquet").read_bytes()
    for parts in (1, 3, 8):
        two_levels(tmp_path, paths, 5, 40, parts)
        assert (tmp_path / "clusters.parquet").read_bytes() == first, parts
    assert two_levels(tmp_path, paths, 5, 40, seed=1) != rows


def test_equal_prompts_fill_their_clusters_too(tmp_path) -> None:
    """No cell can part them: one cell has all prompts, and the others none."""
    rows = two_levels(tmp_path, written(tmp_path, np.ones((30, 4), np.float32)), 3, 10)
    check_contract(rows, 30, 10)
    assert sorted(row["prompts"] for row in read_csv_table(tmp_path / "cells.csv", "cells")) == [0, 0, 30]


def test_a_cell_without_prompts_is_left_out(tmp_path) -> None:
    paths = written(tmp_path, blobs(60, 4))
    vectors = read_embeddings(paths)[1]
    mean = vectors.mean(axis=0)
    to_directions(vectors, mean)
    far = np.full((1, 8), 100, np.float32)
    write_cells(tmp_path / "cells.parquet", Cells(mean, np.concatenate([vectors[:1], far, vectors[1:2]])))
    by_cell = [f"{path}.by_cell" for path in paths]
    for path, own in zip(paths, by_cell, strict=True):
        assign_cells.main(path, tmp_path / "cells.parquet", own)
    share_clusters.main(by_cell, tmp_path / "cells.csv", clusters=12)
    assert read_csv_table(tmp_path / "cells.csv", "cells")[1] == (
        {"cell": 1, "prompts": 0, "clusters": 0}
        | {"first_cluster": read_csv_table(tmp_path / "cells.csv", "cells")[0]["clusters"]}
    )
    parts = [str(tmp_path / f"part{part}.parquet") for part in range(3)]
    for part, path in enumerate(parts):
        facts = {"seed": 0, "iterations": 5, "part": part, "parts": 3}
        cluster_cells.main(by_cell, tmp_path / "cells.parquet", tmp_path / "cells.csv", path, **facts)
    assert read_table(parts[1], "cluster") == []
    cluster_prompts.join(parts, tmp_path / "clusters.parquet")
    check_contract(read_table(tmp_path / "clusters.parquet", "cluster"), 60, 12)


@pytest.mark.parametrize("groups", [30, 1])
def test_the_inertia_is_near_that_of_one_level(tmp_path, groups) -> None:
    """At most 15% more, of vectors in groups and in none (docs/performance.md measures harder ones)."""
    paths = written(tmp_path, blobs(3000, groups, 16))
    one, two = (
        sum(row["distance"] for row in rows)
        for rows in (one_level(tmp_path, paths, 300), two_levels(tmp_path, paths, 10, 300))
    )
    assert two < 1.15 * one


def test_distances_are_those_of_one_center_for_all_cells(tmp_path) -> None:
    """A cell that was centered by its own mean would have other distances."""
    paths = written(tmp_path, blobs(300, 12))
    rows = two_levels(tmp_path, paths, 6, 24)
    vectors = read_embeddings(paths)[1]
    to_directions(vectors)
    names = np.array([row["cluster"] for row in rows])
    inner = sum(((vectors[names == c] - vectors[names == c].mean(axis=0)) ** 2).sum() for c in range(24))
    assert sum(row["distance"] for row in rows) == pytest.approx(inner, rel=0.05)


def test_directions_from_the_own_mean_are_those_of_one_level() -> None:
    one, other = blobs(50, 3), blobs(50, 3)
    to_directions(one)
    to_directions(other, other.mean(axis=0, dtype=np.float64).astype(np.float32))
    assert np.array_equal(one, other)


def test_a_cluster_for_each_prompt_is_no_error() -> None:
    vectors = blobs(9, 2)
    nearest, squared = clustered(vectors, np.full(8, 50, np.float32), 9, 5, 0)
    assert sorted(nearest.tolist()) == list(range(9)) and squared.max() < 1e-6


# what a job reads


def test_a_sample_is_the_first_rows_of_each_shard(tmp_path) -> None:
    vectors = blobs(1000, 4)
    paths = [str(tmp_path / name) for name in ("a", "b", "none")]
    for path, part in zip(paths, (vectors[:900], vectors[900:], vectors[:0]), strict=True):
        write_embeddings(path, [content_id(i) for i in range(len(part))], part)
    halves = vectors.astype(np.float16)
    found = sampled(paths, 100)
    assert np.array_equal(found, np.concatenate([halves[:90], halves[900:910]]))
    assert len(sampled(paths, 10**6)) == 1000 and found.dtype == np.float32
    write_embeddings(paths[2], ["x"], np.zeros((1, 3), np.float32))
    with pytest.raises(InputError, match=r"embeddings of \[3, 8\] numbers, expected one width"):
        sampled(paths, 100)
    assert [sample_size(cells) for cells in (2, 1000)] == [8192, 128_000]
    assert [cell_sample(cells) for cells in (2, 1000)] == [8192, 128_000], "what the plan counts with"


@pytest.fixture
def by_cell(tmp_path) -> tuple[list[str], dict[str, int]]:
    """Files by cell of 90 prompts in three shards, and the cell of each prompt: 0, 2 or 3 of four."""
    paths, of = written(tmp_path, blobs(90, 5)), {}
    for path in paths:
        table = read_columns(path, "embedding")
        cell = np.array([0, 2, 3])[np.arange(len(table)) * 7 % 3]
        write_by_cell(path, table, cell, 4)
        of |= dict(zip(table["prompt_id"].to_pylist(), cell.tolist(), strict=True))
    return paths, of


def test_a_row_group_holds_a_cell(by_cell) -> None:
    paths, of = by_cell
    counts = Counter(of.values())
    assert sum(sizes_by_cell(path) for path in paths).tolist() == [counts[cell] for cell in range(4)]
    halves = dict(zip(sorted(of), blobs(90, 5).astype(np.float16), strict=True))
    for cell, ids, vectors in read_by_cell(paths, range(4)):
        assert ids == sorted(key for key, own in of.items() if own == cell)
        assert vectors.shape == (len(ids), 8) and vectors.dtype == np.float32
        assert all(np.array_equal(row, halves[key]) for key, row in zip(ids, vectors, strict=True))


def test_a_job_reads_the_rows_of_its_cells_alone(by_cell) -> None:
    """The pages of the other cells are overwritten, and it does not notice."""
    paths, _ = by_cell
    wanted = [ids for _, ids, _ in read_by_cell(paths, range(2, 3))]
    for path in paths:
        whole = bytearray(Path(path).read_bytes())
        file = pq.ParquetFile(path)
        for cell in (0, 3):
            for column in range(2):
                chunk = file.metadata.row_group(cell).column(column)
                first = chunk.dictionary_page_offset or chunk.data_page_offset
                whole[first : first + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
        file.close()
        Path(path).write_bytes(whole)
    assert [ids for _, ids, _ in read_by_cell(paths, range(2, 3))] == wanted
    with pytest.raises(OSError):
        list(read_by_cell(paths, range(3, 4)))
    Path(paths[0]).write_bytes(b"no table")
    for reader in (lambda: sizes_by_cell(paths[0]), lambda: list(read_by_cell(paths, range(1)))):
        with pytest.raises(InputError, match=r"embeddings0\.parquet: not a readable"):
            reader()


def test_cells_come_back_as_they_were(tmp_path) -> None:
    cells = Cells(np.arange(3, dtype=np.float32), np.eye(3, dtype=np.float32)[:2])
    write_cells(tmp_path / "cells.parquet", cells)
    mean, centroids = read_cells(tmp_path / "cells.parquet")
    assert np.array_equal(mean, cells.mean) and np.array_equal(centroids, cells.centroids)
    write_embeddings(tmp_path / "e.parquet", ["a", "b", "c"], np.float32([[0, 1, 9], [9, 1, 2], [0, 9, 2]]))
    assert assigned(read_columns(tmp_path / "e.parquet", "embedding"), cells).tolist() == [0, 0, 1]


# the plan


def test_cells_are_planned_where_the_key_is_set_and_change_nothing_elsewhere(tmp_path, monkeypatch) -> None:
    """A run with cells, one whose prompts are dealt at random, one with one cell, and one without the key."""
    monkeypatch.chdir(tmp_path)
    runs = {
        "cells": {"seed": 1, "prompts": {"cells": 4}},
        "random": {"seed": 2, "prompts": {"cells": 4, "diversify": False}},
        "one": {"seed": 3, "prompts": {"cells": 1}},
    }
    config = merge(yaml.safe_load((ROOT / "config.yaml").read_text()), {"runs": runs})
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    wanted = [f"results/{run}/prompts/clusters.parquet" for run in ("default", *runs)]
    new = {"find_cells", "assign_cells", "share_clusters", "cluster_cells"}
    with plan(tmp_path, "default", ["my.yaml"], wanted) as dag:
        made: dict[str, Counter] = {}
        for job in dag.jobs:
            run = job.wildcards_dict.get("run")
            made.setdefault(run, Counter()).update([job.rule.name] * (job.rule.name in new))
            if job.rule.name == "cluster_prompts":
                files = {path.split("/")[3] for path in job.input}
                assert files == ({"cell_clusters"} if run == "cells" else {"embeddings"}), run
                names = [] if run == "cells" else ["clusters", "diversify", "iterations", "seed"]
                assert sorted(spec_of(job)["config"]) == names
    shards = config["prompts"]["shards"]
    assert made.pop("cells") == {
        "find_cells": 1,
        "assign_cells": shards,
        "share_clusters": 1,
        "cluster_cells": shards,
    }
    assert set(made) >= {"default", "random", "one"} and not any(made.values())
