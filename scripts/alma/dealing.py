"""How clusters of prompts are dealt to the rounds: evenly, and whatever K and R are.

A round takes one prompt from each of K clusters (paper section 2.2, diversification). Every round has a
list of clusters, one place for each; a run with K = `prompts_per_round` uses the first K places of the rounds
2..R. The lists depend on the sizes of the clusters alone, so raising K or R only adds prompts, and never the
same prompt twice.

What "even" means for lists that know neither K nor R:

- In the first `TOGETHER` rounds a cluster stands in as many lists as it has prompts, and every list holds
  first the clusters whose first turn it is, then those of a second turn, and so on. So with K up to
  clusters / TOGETHER no cluster is used twice in these rounds, and with any K that lasts for all of them a
  cluster is used again only when all others that have a prompt left were used as often; at most TOGETHER
  prompts stand elsewhere, where the numbers do not divide. A run of fewer rounds is as even, but for at most
  two in TOGETHER of the clusters (`TURNS`). Every round gets clusters of the same sizes.
- A K that is too large for all of these rounds can still serve fewer of them. The places behind are filled
  for the N rounds that such a K lasts: with those clusters that need every turn that is left, then the least
  used.
- After these rounds a list takes the clusters that were used least by the runs that get so far.

Two places may share a prompt where no run can reach both: a place far behind belongs to runs of few rounds.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alma.errors import InputError
from alma.files import atomic_path
from alma.ids import hashed_int
from alma.tables import SCHEMAS, read_columns

if TYPE_CHECKING:
    import numpy as np

FIRST_ROUND = 2  # round 1 is the SFT on the seeds
TOGETHER = 10  # rounds that are dealt as one; the paper samples in ten
# How many rounds after its first a cluster is used for the second time, for the third, and so on. Of all
# orders this one is the evenest, summed over every number of rounds and of places; a test measures it.
TURNS = (0, 4, 7, 2, 6, 9, 3, 8, 1, 5)
MOST = 50  # rounds that are dealt; more than the paper's fifteen at most
_NEVER = 2**31 - 1


def places(sizes: "np.ndarray", rounds: int = MOST) -> "tuple[np.ndarray, list[int]]":
    """Place of every cluster in the list of every round.

    Args:
        sizes: prompts in each cluster, at least one; int [clusters], the clusters in a seeded order.
        rounds: how many to deal, at most; the lists of the first rounds are the same for any number.

    Returns:
        int32 [rounds, clusters], the place of a cluster in the list of the round FIRST_ROUND + row, or
        2**31 - 1 where it is not in the list; and the length of each list, which no later list exceeds.
    """
    import numpy as np

    clusters = len(sizes)
    rounds = max(1, min(rounds, MOST))
    place = np.full((max(rounds, TOGETHER), clusters), _NEVER, dtype=np.int32)
    lengths = _deal_first(sizes, place[:TOGETHER])
    for row in range(TOGETHER, rounds):
        lengths.append(_deal_later(sizes, place, row, lengths[-1]))
    return place[:rounds], lengths[:rounds]


def _deal_first(sizes: "np.ndarray", place: "np.ndarray") -> list[int]:
    """Fill the rows of the first rounds; returns the lengths of their lists."""
    import numpy as np

    clusters, together = len(sizes), len(place)
    uses = np.minimum(sizes, together)
    home = np.empty(clusters, dtype=np.int64)
    home[np.argsort(-uses, kind="stable")] = np.arange(clusters) % together
    turn = np.full((together, clusters), together, dtype=np.int8)
    for number, step in enumerate(TURNS):
        taking = np.flatnonzero(uses > number)
        turn[(home[taking] + step) % together, taking] = number
    for row in range(together):
        found = np.flatnonzero(turn[row] < together)
        found = found[np.argsort(turn[row, found], kind="stable")]
        place[row, found] = np.arange(len(found))
    lengths = [_cut(place)]
    for count in range(together, 0, -1):
        lengths.append(_widen(sizes, place[:count], lengths[-1]))
    return lengths[:0:-1]


def _cut(place: "np.ndarray") -> int:
    """Cut the lists of these rounds to the shortest of them; returns its length."""
    length = int((place != _NEVER).sum(axis=1).min())
    place[place >= length] = _NEVER
    return length


def _widen(sizes: "np.ndarray", place: "np.ndarray", length: int) -> int:
    """Lengthen the lists of `len(place)` rounds as far as the prompts last; returns their length."""
    import numpy as np

    rounds = len(place)
    used = (place != _NEVER).sum(axis=0)
    left = sizes - used
    more = int(np.minimum(left, rounds - used).sum() // rounds)
    for row in range(rounds):
        found = np.flatnonzero((place[row] == _NEVER) & (left > 0))
        free = (place[row:] == _NEVER).sum(axis=0)
        late = left[found] < free[found]  # not one that needs every turn that is left
        used = (place != _NEVER).sum(axis=0)
        found = found[np.lexsort((found, -left[found], used[found], late))][:more]
        place[row, found] = length + np.arange(len(found))
        left[found] -= 1
    return _cut(place)


def _deal_later(sizes: "np.ndarray", place: "np.ndarray", row: int, longest: int) -> int:
    """Fill one row behind the first rounds; returns the length of its list."""
    import numpy as np

    before = place[:row]

    def lasts(length: int) -> bool:
        return int(((before < length).sum(axis=0) < sizes).sum()) >= length

    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if lasts(middle) else (low, middle - 1)
    available = (before < low).sum(axis=0) < sizes
    # Another start for every round, so that not the same clusters come first; golden steps spread evenly.
    start = round(row * 0.6180339887498949 * len(sizes))
    first = 0
    while first < low:
        end = min(low, 2 * first + 1)
        found = np.flatnonzero(available & (place[row] == _NEVER))
        used = (before[:, found] < end).sum(axis=0)
        found = found[np.lexsort(((found - start) % len(sizes), used))][: end - first]
        place[row, found] = np.arange(first, end)
        first = end
    return low


def members(sizes: "np.ndarray", place: "np.ndarray", lengths: list[int]) -> "np.ndarray":
    """Which of its prompts a cluster gives to each place, so that no run meets one twice.

    Returns:
        int16 [rounds, clusters]: number of the prompt in its cluster, below the cluster's size; -1 where the
        cluster is not in the round's list.
    """
    import numpy as np

    number = np.full(place.shape, -1, dtype=np.int16)
    for row, length in enumerate(lengths):
        found = np.flatnonzero(place[row] != _NEVER)
        taken = np.zeros(len(found), dtype=np.uint64)
        for before in range(row):  # a run that gets to this round uses `length` places of each at most
            met = place[before, found] < length
            taken[met] |= np.uint64(1) << number[before, found[met]].astype(np.uint64)
        lowest = np.zeros(len(found), dtype=np.int16)
        open_ = np.ones(len(found), dtype=bool)
        for bit in range(row + 1):
            hit = open_ & (taken >> np.uint64(bit) & np.uint64(1) == 0)
            lowest[hit] = bit
            open_ &= ~hit
        if bool((lowest >= sizes[found]).any()):
            raise AssertionError("a cluster has fewer prompts than places in the rounds")
        number[row, found] = lowest
    return number


def lists(sizes: "np.ndarray", rounds: int = MOST) -> "list[tuple[np.ndarray, np.ndarray]]":
    """The list of each round: clusters in the order of their places, and the number of the prompt of each.

    Args and clusters are those of `places`.
    """
    import numpy as np

    place, lengths = places(sizes, rounds)
    number = members(sizes, place, lengths)
    found = []
    for row, length in enumerate(lengths):
        order = np.argsort(place[row], kind="stable")[:length]
        found.append((order, number[row, order]))
    return found


def best_length(sizes: "np.ndarray", rounds: int) -> int:
    """The most prompts per round that any deal could give to so many rounds, each cluster once per round."""
    import numpy as np

    return min(len(sizes), int(np.minimum(sizes, rounds).sum()) // rounds)


# tables


def read_clusters(path: str | Path) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Prompt ids (str), cluster and rank (int32) of a `cluster` table, sorted by cluster and rank.

    Raises:
        InputError: the table is damaged, or holds a prompt or a rank of a cluster twice; then a prompt
            could be used in two rounds.
    """
    import numpy as np

    table = read_columns(path, "cluster")
    ids, cluster, rank = (table[name].to_numpy() for name in ("prompt_id", "cluster", "rank"))
    order = np.lexsort((rank, cluster))
    ids, cluster, rank = ids[order], cluster[order], rank[order]
    prompts = len(set(ids.tolist()))
    twice = int(((cluster[1:] == cluster[:-1]) & (rank[1:] == rank[:-1])).sum())
    if prompts < len(ids) or twice:
        raise InputError(
            f"{path}: {len(ids)} rows, but {prompts} different prompts and {len(ids) - twice} different "
            f"places in clusters; a prompt could be used in two rounds.\n"
            f"  Delete it and run the same command again."
        )
    return ids, cluster, rank


class Deal(NamedTuple):
    """Clusters dealt to rounds; see `deal_clusters`.

    Args:
        sizes: prompts in each cluster, int64 [clusters], in the seeded order of the deal.
        rounds: for each round from FIRST_ROUND on (numbers of clusters as in `sizes`, their names in the
            table, prompt ids), each an array in the order of the places.
    """

    sizes: "np.ndarray"
    rounds: "list[tuple[np.ndarray, np.ndarray, np.ndarray]]"

    @property
    def lengths(self) -> list[int]:
        """Places of each round from FIRST_ROUND on: the most prompts per round of a run that ends with it."""
        return [len(ids) for _, _, ids in self.rounds]


def deal_clusters(path: str | Path, seed: int, rounds: int = MOST) -> Deal:
    """Deal the clusters of a `cluster` table to so many rounds from FIRST_ROUND on."""
    import numpy as np

    ids, cluster, _ = read_clusters(path)
    names, first, counts = np.unique(cluster, return_index=True, return_counts=True)
    order = sorted(range(len(names)), key=lambda i: (hashed_int("deal", seed, int(names[i])), i))
    names, first, counts = names[order], first[order], counts[order]
    found = [
        (numbers, names[numbers], ids[first[numbers] + prompts]) for numbers, prompts in lists(counts, rounds)
    ]
    return Deal(counts, found)


def write_deal(path: str | Path, deal: Deal) -> None:
    """Write a `deal` table, one row group per round, atomically."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = SCHEMAS["deal"]
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for round_, (_, names, ids) in enumerate(deal.rounds, start=FIRST_ROUND):
            places_ = np.arange(len(ids), dtype=np.int32)
            columns = [np.full(len(ids), round_, np.int32), places_, names.astype(np.int32), ids.tolist()]
            arrays = [
                pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=max(len(ids), 1))


def read_lengths(path: str | Path) -> list[int]:
    """Places of each round of a `deal` table, from FIRST_ROUND on.

    Raises:
        InputError: the table is damaged.
    """
    import numpy as np

    rounds = read_columns(path, "deal", ["round"])["round"].to_numpy()
    return [int(count) for count in np.bincount(rounds)[FIRST_ROUND:]]


def check_lasting(lengths: list[int], prompts: int, rounds: int, prompts_per_round: int) -> None:
    """Check that every round of a run finds its prompts.

    Args:
        lengths: places of each round from FIRST_ROUND on.
        prompts: how many were dealt.
        rounds: R. prompts_per_round: K.

    Raises:
        InputError: a round does not; the message says what would work.
    """
    longest = dict(enumerate(lengths, start=FIRST_ROUND))
    if prompts_per_round <= longest.get(rounds, 0):
        return
    enough = [r for r, length in longest.items() if length >= prompts_per_round]
    works = [f"prompts_per_round: {longest[r]} with these rounds" for r in [rounds] if longest.get(r)]
    works += [f"rounds: {r} with these prompts per round" for r in enough[-1:]]
    works += [f"at most {MOST + 1} rounds"] * (rounds > MOST + 1)
    clusters = lengths[0] if lengths else 0
    raised = "prompts.raw_per_shard" + " and prompts.clusters" * (prompts_per_round > clusters)
    raise InputError(
        f"prompts_per_round: found {prompts_per_round} with rounds: {rounds}, which is "
        f"{prompts_per_round * (rounds - 1)} prompts for the rounds 2 to {rounds}. With one prompt per "
        f"cluster in a round, the {prompts} prompts that passed the filters, in {clusters} clusters "
        f"(prompts.clusters), do not last so long.\n"
        f"  What would work: {' or '.join(works)}. Or raise {raised}; tables/prompt_filters.csv counts what "
        f"the filters removed.\n"
        f"  Nothing was sampled for these rounds."
    )
