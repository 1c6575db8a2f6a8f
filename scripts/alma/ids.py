"""Content ids, and random numbers that depend on names instead of on order.

Every id and every seed is a hash of what it stands for. So a prompt keeps its id when rows are added
or reordered, and a response keeps its seed whatever shard or process it is sampled in.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def _digest(parts: tuple[Any, ...]) -> bytes:
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def content_id(*parts: Any) -> str:
    """Id (16 hex characters) of a piece of content; equal content, equal id."""
    return _digest(parts).hex()[:16]


def hashed_int(*parts: Any, bits: int = 63) -> int:
    """Uniform integer in [0, 2**bits) that depends on `parts` alone."""
    return int.from_bytes(_digest(parts)[:8], "big") >> (64 - bits)


def hashed_ints(parts: tuple[Any, ...], texts: Iterable[str], bits: int = 63) -> list[int]:
    """`hashed_int(*parts, text)` of each text: a column at once, whose common beginning is hashed once.

    Args:
        parts: one or more, what the hashes are seeded with.
        texts: the last part of each hash.
    """
    start = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))[:-1] + ","
    state = hashlib.sha256(start.encode("utf-8", "surrogatepass"))
    encode = json.JSONEncoder(ensure_ascii=False).encode

    def hashed(text: str) -> int:
        copy = state.copy()
        copy.update(f"{encode(text)}]".encode("utf-8", "surrogatepass"))
        return int.from_bytes(copy.digest()[:8], "big") >> (64 - bits)

    return [hashed(text) for text in texts]


def request_seed(seed: int, round_: int | str, checkpoint: str, prompt_id: str, sample: int) -> int:
    """Seed of one sampling request, 0 <= seed < 2**31.

    Hashed, because engines give child i of a request the seed s + i: neighboring integer seeds
    would make different samples share their random numbers.
    """
    return hashed_int("request", seed, round_, checkpoint, prompt_id, sample, bits=31)
