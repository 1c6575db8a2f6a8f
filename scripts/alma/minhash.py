"""Near duplicates among many texts: MinHash signatures, pairs that share an LSH bucket, and who stays.

Two texts are alike where the MinHash estimate (128 permutations, standard error at most 0.045) of the Jaccard
similarity of their word 3-grams reaches a threshold. Only pairs that agree in a whole band of their
signatures are compared (LSH), with so many bands that a pair at the threshold is missed with a probability
of at most 0.001. The permutations are fixed, so nothing depends on the order of the texts, on shards or on
threads. Signatures are those of rensa (R-MinHash). Its LSH index holds all texts at once and in Python's
objects; here a part of the buckets is looked at at a time, as arrays.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from alma.duplicates import grams_of

if TYPE_CHECKING:
    import numpy as np

PERMUTATIONS = 128
_AT_ONCE = 1 << 18  # pairs that are compared in one step, which bounds the memory for them


def lsh_bands(threshold: float) -> int:
    """Fewest LSH bands that find a pair at the threshold with a probability of at least 0.999."""
    bands = 1
    while bands < PERMUTATIONS and (1 - threshold ** (PERMUTATIONS // bands)) ** bands > 0.001:
        bands *= 2
    return bands


def signatures(texts: list[str]) -> "np.ndarray":
    """MinHash signatures of the word 3-grams of texts, uint32 [texts, 128]. Library: rensa.

    rensa hands rows out as lists of Python's integers (5 KB per text): give it some thousand texts at a time.
    """
    import numpy as np
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_token_sets([grams_of(text) for text in texts], PERMUTATIONS, 0)
    values = chain.from_iterable(matrix.to_rows())
    return np.fromiter(values, dtype=np.uint32, count=len(texts) * PERMUTATIONS).reshape(-1, PERMUTATIONS)


def band_keys(found: "np.ndarray", bands: int) -> "np.ndarray":
    """Hashes of the bands of signatures: equal bands, equal hash.

    Args:
        found: uint32 [texts, 128]. bands: a divisor of 128.

    Returns:
        uint64 [texts, bands]; hashes of different bands differ too.
    """
    import numpy as np

    rows = found.reshape(len(found), bands, PERMUTATIONS // bands)
    keys = np.broadcast_to(np.arange(1, bands + 1, dtype=np.uint64), (len(found), bands)).copy()
    for column in range(rows.shape[2]):
        keys ^= rows[:, :, column]
        keys *= np.uint64(0x9E3779B97F4A7C15)  # wraps around; odd, so nothing is lost
        keys ^= keys >> np.uint64(29)
    return keys


def sketches(found: "np.ndarray") -> "np.ndarray":
    """The two lowest bits of each value of signatures (uint32 [texts, 128]), packed: uint64 [texts, 4]."""
    import numpy as np

    low = (found & np.uint32(3)).astype(np.uint64).reshape(len(found), 4, 32)
    return np.bitwise_or.reduce(low << np.arange(0, 64, 2, dtype=np.uint64), axis=2)


def least_agreeing(threshold: float) -> int:
    """Fewest of the 128 values that agree in two signatures whose estimate reaches the threshold."""
    return next(count for count in range(PERMUTATIONS + 1) if count / PERMUTATIONS >= threshold)


def probable_pairs(keys: "np.ndarray", texts: "np.ndarray", packed: "np.ndarray", least: int) -> "np.ndarray":
    """Pairs of texts that share a bucket and may be alike.

    A sketch agrees wherever the signature does, and by chance in a quarter of the other places. So no pair
    that is alike is missing, and few others are there.

    Args:
        keys: uint64 [entries], bucket of each entry. texts: int32 [entries], place of its text.
        packed: uint64 [texts, 4], `sketches`. least: values of a signature that must agree.

    Returns:
        int64 [pairs, 2], places of two texts, the smaller first; each pair once, in ascending order. The time
        grows with the pairs in a bucket, the memory with the entries and the pairs that are returned.
    """
    import numpy as np

    order = np.argsort(keys, kind="stable")
    keys, texts = keys[order], texts[order]
    found = [np.empty(0, dtype=np.int64)]
    starts, distance = np.arange(max(len(keys) - 1, 0)), 1
    while len(starts):  # all pairs at distance 1 in the sorted buckets, then at distance 2, ...
        starts = starts[starts < len(keys) - distance]
        starts = starts[keys[starts] == keys[starts + distance]]
        for place in range(0, len(starts), _AT_ONCE):
            one = texts[starts[place : place + _AT_ONCE]].astype(np.int64)
            other = texts[starts[place : place + _AT_ONCE] + distance].astype(np.int64)
            unequal = packed[one] ^ packed[other]
            unequal = (unequal | unequal >> np.uint64(1)) & np.uint64(0x5555555555555555)
            near = PERMUTATIONS - np.bitwise_count(unequal).sum(axis=1, dtype=np.int64) >= least
            found.append(np.minimum(one, other)[near] * len(packed) + np.maximum(one, other)[near])
        distance += 1
    pairs = np.unique(np.concatenate(found))
    return np.stack(np.divmod(pairs, max(len(packed), 1)), axis=1)


def compared(
    pairs: "np.ndarray", found: "np.ndarray", bands: int
) -> "Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]":
    """Compare signatures pair by pair, some thousand pairs at a time.

    Args:
        pairs: int64 [pairs, 2], rows of `found`. found: uint32 [texts, 128].

    Yields:
        Some of the pairs; how many values agree (int64 [pairs]); the first band in which all do (int64, -1
        where none does).
    """
    import numpy as np

    for place in range(0, len(pairs), _AT_ONCE // 16):
        some = pairs[place : place + _AT_ONCE // 16]
        equal = found[some[:, 0]] == found[some[:, 1]]
        in_band = equal.reshape(len(some), bands, PERMUTATIONS // bands).all(axis=2)
        first = np.where(in_band.any(axis=1), in_band.argmax(axis=1), -1)
        yield some, equal.sum(axis=1, dtype=np.int64), first


def dropped_of_pairs(later: "np.ndarray", earlier: "np.ndarray", texts: int) -> "np.ndarray":
    """Which texts are dropped when each is that is like an earlier one which stays.

    Args:
        later, earlier: int64 [pairs], the texts of each pair that is alike, numbered in the order in which
            they have precedence: earlier < later. texts: how many are numbered.

    Returns:
        bool [texts]. Time and memory grow with the pairs (16 bytes each) and the texts in them (1 byte).
    """
    import numpy as np

    order = np.argsort(later, kind="stable")
    dropped = bytearray(texts)
    for one, other in zip(later[order].data, earlier[order].data, strict=True):
        if not dropped[other]:  # its own fate is known: its pairs with those before it came first
            dropped[one] = 1
    return np.frombuffer(dropped, dtype=np.bool_)
