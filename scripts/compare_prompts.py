"""Find duplicates among the prompts of all shards: one part of the equal texts, one part of the LSH buckets.

Equal texts have one hash, and texts that are alike share a bucket (`alma.minhash`). Texts and buckets fall to
as many parts as there are shards, by their hashes: so all pairs are compared, and the memory of a job grows
with the size of a shard. It holds the hashes of its part, its pairs that are alike, and 56 bytes of each
prompt that has a bucket in its part: of all prompts while there are few shards, and never of more than a
shard has buckets (32 per prompt at the default of 0.7). Each part reads all signatures twice, some thousand
at a time.

Reads:
    signatures: `signature` tables of all shards, in their order.
    filtered: `filtered_prompt` tables of all shards, for the quantiles of the perplexity.

Writes:
    duplicates: `duplicate` table, sorted: prompts of this part that repeat the words of one with precedence.
    pairs: `near_pair` table, sorted: pairs of prompts of this part that are alike, each of which is the first
        of those with its words. A pair is found by the part that holds the first bucket that it shares.

Params:
    part, parts: this job's. perplexity_band: quantiles; prompts outside are compared with none.
    near_duplicate: estimated Jaccard similarity from which two prompts are alike.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alma.minhash import (
    PERMUTATIONS,
    band_keys,
    compared,
    least_agreeing,
    lsh_bands,
    probable_pairs,
    sketches,
)
from alma.prompt_filters import PerplexityBand
from alma.tables import SCHEMAS, iter_columns, write_columns

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


AT_ONCE = 8192  # prompts whose signatures are in memory
# What is known of a prompt in a part of the buckets; `packed` is the sketch of its signature.
_PROMPT = [("text", "i8"), ("precedence", "i8"), ("shard", "i4"), ("row", "i4"), ("packed", "u8", 4)]


class Entries(NamedTuple):
    """What one part of the buckets holds.

    Args:
        keys: uint64 [entries], the bucket. places: int32 [entries], its prompt, by its place in the next.
        prompts: structured array [prompts] of the fields `_PROMPT`.
    """

    keys: "np.ndarray"
    places: "np.ndarray"
    prompts: "np.ndarray"


def in_memory(signatures: "pa.ChunkedArray") -> "np.ndarray":
    """uint32 [prompts, 128] of a column of signatures."""
    import numpy as np

    values = signatures.combine_chunks()
    if not len(values):
        return np.empty((0, PERMUTATIONS), dtype=np.uint32)
    held = np.frombuffer(values.buffers()[1], dtype="<u4").reshape(-1, PERMUTATIONS)
    return held[values.offset : values.offset + len(values)]


def repeats(texts: "pa.Table") -> "pa.Table":
    """Rows (shard, row) of prompts that repeat the words of one with precedence, sorted.

    Args:
        texts: shard, row, prompt_id, examples, precedence and text of all prompts of some hashes of texts.
    """
    import pyarrow.compute as pc

    # The examples break ties between equal prompts: the choice must not hang on the cut into shards.
    examples = pc.binary_join(texts["examples"], " ")
    texts = texts.drop_columns("examples").append_column("examples", examples)
    keys = ("text", "precedence", "prompt_id", "examples", "shard", "row")
    texts = texts.sort_by([(key, "ascending") for key in keys])
    hashes = texts["text"].to_numpy()
    again = texts.slice(1).filter(hashes[1:] == hashes[:-1])
    return again.select(["shard", "row"]).sort_by([("shard", "ascending"), ("row", "ascending")])


def read_part(
    signatures: list[str], band: PerplexityBand, part: int, parts: int, bands: int
) -> "tuple[pa.Table, Entries]":
    """This part of the texts, as `repeats` takes them, and of the buckets, which hold one of equal texts."""
    import numpy as np
    import pyarrow as pa

    columns = ["row", "prompt_id", "examples", "precedence", "text"]
    fields = [SCHEMAS["signature"].field(name) for name in columns]
    texts = [pa.schema([*fields, ("shard", pa.int32())]).empty_table()]
    keys, places = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int32)]
    held = [np.empty(0, dtype=_PROMPT)]
    count = 0
    for shard, path in enumerate(signatures):
        for batch in iter_columns(path, "signature", rows=AT_ONCE):
            batch = batch.filter(band.holds(batch["logprob"]))
            own = batch["text"].to_numpy() % parts == part
            shards = pa.array(np.full(int(own.sum()), shard, dtype=np.int32))
            texts.append(batch.select(columns).filter(own).append_column("shard", shards))
            found = in_memory(batch["signature"])
            buckets = band_keys(found, bands)
            own = buckets % np.uint64(parts) == np.uint64(part)
            used = np.flatnonzero(own.any(axis=1))
            prompts = np.empty(len(used), dtype=_PROMPT)
            for name in ("text", "precedence", "row"):
                prompts[name] = batch[name].to_numpy()[used]
            prompts["shard"], prompts["packed"] = shard, sketches(found[used])
            held.append(prompts)
            keys.append(buckets[own])
            places.append(
                np.repeat(np.arange(count, count + len(used), dtype=np.int32), own[used].sum(axis=1))
            )
            count += len(used)
    # Equal texts share all buckets, so the first of them is the first everywhere.
    prompts, place = np.concatenate(held), np.concatenate(places)
    order = np.lexsort([prompts[name] for name in ("row", "shard", "precedence", "text")])
    first = np.ones(count, dtype=np.bool_)
    first[order[1:]] = prompts["text"][order[1:]] != prompts["text"][order[:-1]]
    stays = first[place]
    place = (np.cumsum(first, dtype=np.int32) - 1)[place[stays]]
    return pa.concat_tables(texts), Entries(np.concatenate(keys)[stays], place, prompts[first])


def read_prompts(signatures: list[str], prompts: "np.ndarray") -> "tuple[list[str], np.ndarray]":
    """Ids, and signatures (uint32 [prompts, 128]), of prompts of `Entries`, in the order of shard and row."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    ids: list[str] = []
    found = [np.empty((0, PERMUTATIONS), dtype=np.uint32)]
    for shard, path in enumerate(signatures):
        wanted = pa.array(prompts["row"][prompts["shard"] == shard])
        for batch in (
            iter_columns(path, "signature", ["row", "prompt_id", "signature"]) if len(wanted) else ()
        ):
            batch = batch.filter(pc.is_in(batch["row"], wanted))
            ids += batch["prompt_id"].to_pylist()
            found.append(in_memory(batch["signature"]))
    return ids, np.concatenate(found)


def near_pairs(
    signatures: list[str], entries: Entries, threshold: float, part: int, parts: int
) -> list[dict[str, Any]]:
    """Rows of the `near_pair` table of a part of the buckets, in no order."""
    import numpy as np

    bands, least = lsh_bands(threshold), least_agreeing(threshold)
    pairs = probable_pairs(
        entries.keys, entries.places, np.ascontiguousarray(entries.prompts["packed"]), least
    )
    used = np.unique(pairs)
    prompts = entries.prompts[used]
    order = np.lexsort((prompts["row"], prompts["shard"]))
    ids, found = read_prompts(signatures, prompts)
    precedence = prompts["precedence"][order].tolist()
    keys = band_keys(found, bands)
    # Places in the order of the entries become places in the order of shards and rows.
    pairs = np.argsort(order)[np.searchsorted(used, pairs)]
    rows = []
    for some, agreeing, first in compared(pairs, found, bands):
        own = keys[some[:, 0], first] % np.uint64(parts) == np.uint64(part)
        chosen = np.flatnonzero(own & (first >= 0) & (agreeing >= least))
        for (one, other), count in zip(some[chosen].tolist(), agreeing[chosen].tolist(), strict=True):
            earlier, later = sorted((precedence[place], ids[place]) for place in (one, other))
            rows.append(
                {
                    "prompt_id": later[1],
                    "precedence": later[0],
                    "earlier_id": earlier[1],
                    "earlier_precedence": earlier[0],
                    "similarity": count / PERMUTATIONS,
                }
            )
    return rows


def main(
    signatures: list[str],
    filtered: list[str],
    duplicates: str | Path,
    pairs: str | Path,
    *,
    part: int,
    parts: int,
    perplexity_band: list[float],
    near_duplicate: float,
) -> None:
    """Find the duplicates of one part; see the module's docstring."""
    import pyarrow as pa

    band = PerplexityBand(filtered, perplexity_band)
    texts, entries = read_part(signatures, band, part, parts, lsh_bands(near_duplicate))
    again = repeats(texts)
    write_columns(duplicates, "duplicate", again)
    rows = near_pairs(signatures, entries, near_duplicate, part, parts)
    found = pa.Table.from_pylist(rows, schema=SCHEMAS["near_pair"])
    order = ("precedence", "prompt_id", "earlier_precedence", "earlier_id")
    write_columns(pairs, "near_pair", found.sort_by([(name, "ascending") for name in order]))
    print(
        f"{len(texts)} prompts of this part, {len(again)} repeat another; "
        f"{len(entries.keys)} entries of buckets, {len(rows)} pairs that are alike"
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.signatures),
            list(snakemake.input.filtered),
            snakemake.output.duplicates,
            snakemake.output.pairs,
            **config,
        )
