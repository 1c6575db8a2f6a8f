"""Shards, blocks and the remainder rule (recipe, traps 6 and 9), ids and seeds (trap 7)."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from alma.ids import content_id, hashed_int, hashed_ints, request_seed
from alma.workflow.sharding import block_samples, ceil_div, even_range, shard_range

COUNT = st.integers(1, 500)


def test_two_hundred_samples_over_three_checkpoints():
    counts = [sum(len(block_samples(b, 20, 200, c, 3)) for b in range(10)) for c in range(3)]
    assert counts == [67, 67, 66]


@given(samples=COUNT, size=st.integers(1, 64), checkpoints=st.integers(1, 5))
def test_every_sample_is_drawn_once_and_shares_differ_by_at_most_one(samples, size, checkpoints):
    blocks = range(ceil_div(samples, size))
    drawn = [
        [s for b in blocks for s in block_samples(b, size, samples, c, checkpoints)]
        for c in range(checkpoints)
    ]
    assert sorted(s for part in drawn for s in part) == list(range(samples))
    sizes = [len(part) for part in drawn]
    assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)


@given(samples=COUNT, more=COUNT, size=st.integers(1, 64), checkpoints=st.integers(1, 5))
def test_more_samples_leave_full_blocks_alone(samples, more, size, checkpoints):
    for block in range(samples // size):
        for position in range(checkpoints):
            before = block_samples(block, size, samples, position, checkpoints)
            assert before == block_samples(block, size, samples + more, position, checkpoints)


@given(total=st.integers(0, 500), size=COUNT)
def test_shards_cover_everything_once(total, size):
    parts = [i for s in range(ceil_div(total, size)) for i in shard_range(s, size, total)]
    assert parts == list(range(total))
    assert len(shard_range(ceil_div(total, size), size, total)) == 0


@given(total=st.integers(0, 500), parts=st.integers(1, 40))
def test_even_parts_cover_everything_once_and_evenly(total, parts):
    ranges = [even_range(p, parts, total) for p in range(parts)]
    assert [i for r in ranges for i in r] == list(range(total))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


def test_request_seeds_are_spread_out_and_depend_on_every_part():
    base = (0, 2, "sft-0", "p", 0)
    changed = [
        (1, 2, "sft-0", "p", 0),
        (0, 3, "sft-0", "p", 0),
        (0, 2, "sft-1", "p", 0),
        (0, 2, "sft-0", "q", 0),
        (0, 2, "sft-0", "p", 1),
    ]
    seeds = {request_seed(*parts) for parts in [base, *changed]}
    assert len(seeds) == 6
    run = sorted(request_seed(0, 2, "sft-0", "p", s) for s in range(1000))
    assert all(0 <= seed < 2**31 for seed in run)
    # engines give child i the seed s + i, so neighbors would share their random numbers
    assert all(b - a > 1 for a, b in itertools.pairwise(run))


@given(st.text(), st.text())
def test_ids_are_equal_only_for_equal_content(a, b):
    assert (content_id(a) == content_id(b)) == (a == b)
    assert content_id(a, b) != content_id(a + b) and 0 <= hashed_int(a) < 2**63


@given(total=COUNT, size=COUNT)
def test_no_shard_more_than_are_needed(total, size):
    count = ceil_div(total, size)
    assert (count - 1) * size < total <= count * size


def test_ids_and_seeds_are_what_they_were():
    """Records, tables and finished runs hold them: another hash would make all of it anew."""
    assert content_id("prompt", "Größe") == "6147c71be6a10024"
    assert hashed_int("a", [1, "b"]) == 8427110051396287063
    assert hashed_int("a", [1, "b"], bits=31) == 1962089457


@given(
    st.lists(st.text(), max_size=5), st.sampled_from([31, 63]), st.sampled_from(["best", 7, [0, "ü"], 1.5])
)
def test_a_column_of_hashes_is_one_hash_each(texts, bits, part):
    """Id columns are hashed at once; the values are those of one at a time, whatever the text."""
    for parts in ((part,), (part, None, "x")):
        assert hashed_ints(parts, texts, bits) == [hashed_int(*parts, text, bits=bits) for text in texts]
