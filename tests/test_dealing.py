"""The deal of clusters to rounds: even, without a prompt twice, and the same whatever K and R are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import check_rounds
import deal_prompts
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alma.csv_tables import read_csv_table
from alma.dealing import FIRST_ROUND, MOST, TOGETHER, TURNS, best_length, deal_clusters, lists
from alma.errors import InputError
from alma.ids import content_id
from alma.tables import read_table, write_table
from alma.workflow.config import ROOT

search = settings(deadline=None, max_examples=60, derandomize=True, database=None)
sizes_of_clusters = st.lists(st.integers(1, 14), min_size=1, max_size=60) | st.lists(
    st.sampled_from([1, 1, 1, 2, 3, 40]), min_size=1, max_size=60
)


def dealt(sizes: list[int], rounds: int = MOST) -> list[list[tuple[int, int]]]:
    """(cluster, number of its prompt) of each place of each round."""
    found = lists(np.array(sizes), rounds)
    return [list(zip(clusters.tolist(), numbers.tolist(), strict=True)) for clusters, numbers in found]


def uses(deal: list[list[tuple[int, int]]], clusters: int, rounds: int, prompts: int) -> np.ndarray:
    """How often a run of so many dealt rounds and prompts per round uses each cluster."""
    found = np.zeros(clusters, dtype=int)
    for row in deal[:rounds]:
        for cluster, _ in row[:prompts]:
            found[cluster] += 1
    return found


def heavy_tailed(clusters: int) -> np.ndarray:
    """Sizes of clusters with a mean of five prompts, most of them small and some very large."""
    sizes = np.random.default_rng(0).lognormal(0, 1, clusters)
    return np.maximum(1, np.round(5 * sizes / sizes.mean())).astype(int)


@search
@given(sizes_of_clusters)
def test_no_run_meets_a_prompt_twice_or_a_cluster_twice_in_a_round(sizes) -> None:
    deal = dealt(sizes)
    lengths = [len(row) for row in deal]
    assert len(deal) == MOST and lengths == sorted(lengths, reverse=True)
    for rounds, length in enumerate(lengths, start=1):  # the largest K of each R; a smaller one uses less
        places = [place for row in deal[:rounds] for place in row[:length]]
        assert len(set(places)) == len(places) == rounds * length
        assert all(0 <= number < sizes[cluster] for cluster, number in places)
    assert all(len({cluster for cluster, _ in row}) == len(row) for row in deal)


@search
@given(sizes_of_clusters, st.integers(1, MOST))
def test_the_first_rounds_are_the_same_whatever_the_number_of_rounds(sizes, rounds) -> None:
    assert dealt(sizes, rounds) == dealt(sizes)[:rounds]


@search
@given(sizes_of_clusters)
def test_a_cluster_is_used_again_only_when_the_others_were_used_as_often(sizes) -> None:
    deal, counts = dealt(sizes, TOGETHER), np.array(sizes)
    for prompts in range(1, len(deal[-1]) + 1):
        after_all = uses(deal, len(sizes), TOGETHER, prompts)
        # An even deal uses every cluster `level` times, or as often as it has prompts, and some once more.
        level = max(n for n in range(TOGETHER + 1) if np.minimum(counts, n).sum() <= TOGETHER * prompts)
        elsewhere = np.maximum(after_all - np.minimum(counts, level + 1), 0).sum()
        assert elsewhere <= TOGETHER
        if prompts <= len(sizes) // TOGETHER:
            assert after_all.max() == 1


@search
@given(sizes_of_clusters)
def test_every_round_gets_clusters_of_the_same_sizes(sizes) -> None:
    """Of the first rounds at their full length: each size as often, but for what does not divide."""
    deal = dealt(sizes, TOGETHER)
    length = len(deal[-1])
    for least in set(sizes):
        found = [sum(sizes[cluster] >= least for cluster, _ in row[:length]) for row in deal]
        assert max(found) - min(found) <= TOGETHER


@search
@given(sizes_of_clusters)
def test_few_rounds_find_nearly_as_many_prompts_as_any_deal_could(sizes) -> None:
    for rounds, row in enumerate(dealt(sizes, TOGETHER), start=1):
        best = best_length(np.array(sizes), rounds)
        assert best - TOGETHER <= len(row) <= best


def test_the_config_allows_as_many_rounds_as_are_dealt() -> None:
    schema = yaml.safe_load((ROOT / "schemas" / "config.schema.yaml").read_text())
    assert schema["properties"]["rounds"]["maximum"] == FIRST_ROUND + MOST - 1


def test_a_run_of_few_rounds_is_nearly_even_too() -> None:
    """Whatever R and K are, nearly every cluster is used as often as in an even deal."""
    assert sorted(TURNS) == list(range(TOGETHER))
    clusters, elsewhere = 100, []
    deal = dealt([TOGETHER] * clusters, TOGETHER)
    for rounds in range(1, TOGETHER + 1):
        for prompts in range(1, clusters + 1):
            level, more = divmod(rounds * prompts, clusters)
            found = uses(deal, clusters, rounds, prompts)
            even = np.sort(np.where(np.arange(clusters) < clusters - more, level, level + 1))
            elsewhere.append(int(np.maximum(np.sort(found) - even, 0).sum()))
    assert max(elsewhere) <= 2 * clusters // TOGETHER
    assert np.mean(elsewhere) < 3  # each turn as far as possible from those before it gave 7.3


def test_late_rounds_do_not_draw_from_large_clusters_only(capsys) -> None:
    """10,000 clusters of five prompts in the mean, as drawn in ten rounds of 500; the old deal beside it."""
    sizes = heavy_tailed(10_000)
    deal = lists(sizes, TOGETHER)
    dice = np.random.default_rng(1)
    # The old deal: round r took the members of rank r - 2, clusters in a seeded order.
    old = [dice.permutation(np.flatnonzero(sizes > rank)) for rank in range(TOGETHER)]
    means = [sizes[clusters[:500]].mean() for clusters, _ in deal]
    old_means = [sizes[clusters[:500]].mean() for clusters in old]
    with capsys.disabled():
        print(
            f"\nmean size of the clusters drawn, rounds 2 to 11 of 500 prompts: {np.round(means, 1).tolist()}"
        )
        print(f"  by rank, as before: {np.round(old_means, 1).tolist()}")
        for rounds in (3, 5, 10, 11, 21, 51):
            print(
                f"  most prompts per round with R = {rounds}: {len(lists(sizes)[rounds - 2][0])}, "
                f"by rank {int((sizes >= rounds - 1).sum())}, best possible {best_length(sizes, rounds - 1)}"
            )
    assert max(means) < 1.25 * min(means)
    assert old_means[-1] > 2.5 * old_means[0], "the old deal drifts, or this test shows nothing"
    used = np.concatenate([clusters[:500] for clusters, _ in deal])
    assert len(set(used.tolist())) == len(used)


# the scripts


def write_clusters(path: Path, sizes: list[int]) -> None:
    """A `cluster` table of clusters 0, 1, ... with these sizes."""
    rows = [
        {"prompt_id": content_id("prompt", cluster, rank), "cluster": cluster, "rank": rank, "distance": 0.5}
        for cluster, size in enumerate(sizes)
        for rank in range(size)
    ]
    write_table(path, "cluster", sorted(rows, key=lambda row: row["prompt_id"]))


FEW = {"rounds": 2, "prompts_per_round": 1}
SIZES = [1, 2, 2, 3, 5, 8, 1, 4, 3, 2, 2, 6]


@pytest.fixture
def clusters(tmp_path) -> Path:
    """A `cluster` table of 12 clusters with 39 prompts."""
    write_clusters(tmp_path / "clusters.parquet", SIZES)
    return tmp_path / "clusters.parquet"


def test_the_deal_holds_every_prompt_in_the_order_of_its_places(clusters, tmp_path) -> None:
    deal_prompts.main(clusters, tmp_path / "deal.parquet", seed=0, **FEW)
    rows = read_table(tmp_path / "deal.parquet", "deal")
    assert {row["prompt_id"] for row in rows} == {row["prompt_id"] for row in read_table(clusters, "cluster")}
    of = {row["prompt_id"]: row["cluster"] for row in read_table(clusters, "cluster")}
    assert all(of[row["prompt_id"]] == row["cluster"] for row in rows)
    counts = Counter(row["round"] for row in rows)
    assert [(row["round"], row["place"]) for row in rows] == [
        (r, i) for r in sorted(counts) for i in range(counts[r])
    ]
    assert min(counts) == FIRST_ROUND and counts[FIRST_ROUND] == len(SIZES)


def test_the_deal_depends_on_the_seed_and_not_on_the_order_of_the_rows(clusters, tmp_path) -> None:
    deals = []
    for seed in (0, 1):
        deal_prompts.main(clusters, tmp_path / "deal.parquet", seed=seed, **FEW)
        deals.append((tmp_path / "deal.parquet").read_bytes())
    assert deals[0] != deals[1]
    write_table(clusters, "cluster", read_table(clusters, "cluster")[::-1])
    deal_prompts.main(clusters, tmp_path / "deal.parquet", seed=1, **FEW)
    assert (tmp_path / "deal.parquet").read_bytes() == deals[1]


def check(clusters: Path, rounds: int, prompts: int) -> list[dict]:
    table = clusters.parent / "round_clusters.csv"
    check_rounds.main(clusters, table, seed=0, rounds=rounds, prompts_per_round=prompts)
    return read_csv_table(table, "round_clusters")


def test_the_table_of_rounds_counts_sizes_and_uses(clusters, capsys) -> None:
    rows = check(clusters, 4, 7)
    assert "round 2: 7 prompts, one per cluster" in capsys.readouterr().out
    assert [row["round"] for row in rows] == [2, 3, 4]
    used: Counter = Counter()
    for row, (numbers, _, ids) in zip(rows, deal_clusters(clusters, 0, 3).rounds, strict=True):
        drawn = numbers[:7].tolist()
        sizes = deal_clusters(clusters, 0).sizes[drawn].tolist()
        assert row["new_clusters"] == sum(cluster not in used for cluster in drawn)
        used.update(drawn)
        assert row["most_uses"] == max(used.values())
        assert (row["prompts"], row["smallest"], row["largest"]) == (7, min(sizes), max(sizes))
        assert row["mean_size"] == pytest.approx(sum(sizes) / 7, rel=1e-5)
        assert row["median_size"] == sorted(sizes)[3]
        assert len(set(ids.tolist())) == len(ids)


def test_a_run_that_runs_dry_is_refused_with_what_would_work(clusters) -> None:
    with pytest.raises(InputError) as error:
        check(clusters, 6, 8)
    message = str(error.value)
    assert "found 8 with rounds: 6, which is 40 prompts" in message
    assert "the 39 prompts that passed the filters, in 12 clusters (prompts.clusters)" in " ".join(
        message.split()
    )
    assert not (clusters.parent / "round_clusters.csv").exists()
    most = deal_clusters(clusters, 0).lengths[6 - FIRST_ROUND]
    assert f"prompts_per_round: {most} with these rounds" in message
    assert len(check(clusters, 6, most)) == 5
    with pytest.raises(InputError, match=f"found {most + 1} with rounds: 6"):
        check(clusters, 6, most + 1)
    rounds = int(message.split("or rounds: ")[1].split()[0])
    assert len(check(clusters, rounds, 8)) == rounds - 1
    with pytest.raises(InputError, match=f"rounds: {rounds + 1}"):
        check(clusters, rounds + 1, 8)


def test_the_deal_itself_is_refused_where_the_prompts_will_not_last(clusters, tmp_path) -> None:
    with pytest.raises(InputError, match="found 8 with rounds: 6"):
        deal_prompts.main(clusters, tmp_path / "deal.parquet", seed=0, rounds=6, prompts_per_round=8)
    assert not (tmp_path / "deal.parquet").exists()


def test_more_rounds_than_are_dealt_and_more_prompts_than_clusters_are_refused(clusters) -> None:
    with pytest.raises(InputError, match="at most 51 rounds"):
        check(clusters, 52, 1)
    with pytest.raises(InputError, match=r"raise prompts\.raw_per_shard and prompts\.clusters"):
        check(clusters, 2, 13)


def test_a_damaged_clusters_table_is_named(clusters, tmp_path) -> None:
    rows = read_table(clusters, "cluster")
    write_table(clusters, "cluster", [*rows, rows[0] | {"rank": 99}])
    with pytest.raises(InputError, match=r"clusters\.parquet: 40 rows, but 39 different prompts.*two rounds"):
        deal_prompts.main(clusters, tmp_path / "deal.parquet", seed=0, **FEW)
    broken = [row | {"rank": 0} if row["rank"] == 1 else row for row in rows]
    write_table(clusters, "cluster", broken)
    with pytest.raises(InputError, match="two rounds"):
        check(clusters, 2, 1)
    clusters.write_bytes(b"no table")
    with pytest.raises(InputError, match=r"clusters\.parquet: not a readable"):
        check(clusters, 2, 1)
