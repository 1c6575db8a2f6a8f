"""The filters of new prompts in memory and one after the other: what the jobs per shard must come to as well.

Slow and simple on purpose: lists of rows, one filter at a time, and rensa's own index for near duplicates.
"""

from __future__ import annotations

import math
from typing import Any

from filter_prompts import user_texts

from alma.duplicates import OverlapIndex, bare_words, folded_words, grams_of
from alma.fewshot import has_marker
from alma.ids import hashed_int
from alma.minhash import PERMUTATIONS, lsh_bands
from alma.stated import stated_checks

Row = dict[str, Any]


def first_of_near_duplicates(texts: list[str], threshold: float) -> list[bool]:
    """Whether each text is kept when those like an earlier kept one are dropped, in the order given."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold, PERMUTATIONS, lsh_bands(threshold))
    sketches: dict[int, RMinHash] = {}  # of the texts that are kept
    flags = []
    for number, text in enumerate(texts):
        sketch = RMinHash(PERMUTATIONS, 0)
        sketch.update(grams_of(text))
        alike = any(sketch.jaccard(sketches[other]) >= threshold for other in index.query(sketch))
        if not alike:
            index.insert(number, sketch)
            sketches[number] = sketch
        flags.append(not alike)
    return flags


def in_band(logprobs: list[float | None], band: list[float]) -> list[bool]:
    """Which perplexities lie between two quantiles of all of them; one without a value is in (0, 1) alone."""
    if list(band) == [0, 1]:
        return [True] * len(logprobs)
    known = sorted(-value for value in logprobs if value is not None)
    if not known:
        return [False] * len(logprobs)
    low = known[min(len(known) - 1, max(0, math.ceil(band[0] * (len(known) - 1))))]
    high = known[min(len(known) - 1, max(0, math.floor(band[1] * (len(known) - 1))))]
    return [value is not None and low <= -value <= high for value in logprobs]


def survivors(
    rows: list[Row],
    sft: list[Row],
    seeds: list[str],
    evaluation: list[str],
    *,
    seed: int,
    min_words: int,
    perplexity_band: list[float],
    require_constraint: bool,
    near_duplicate: float,
    overlap: float,
) -> tuple[list[Row], dict[str, int]]:
    """Raw prompts that are kept, sorted by prompt_id, and how many each filter removed.

    The filters that need the seeds' language or a tokenizer look at one prompt alone and are left out.
    """
    rows = sorted(
        rows,
        key=lambda row: (hashed_int("unique", seed, row["prompt_id"]), row["prompt_id"], row["examples"]),
    )
    removed: dict[str, int] = {}

    def keep(name: str, flags: list[bool]) -> None:
        nonlocal rows
        removed[name] = flags.count(False)
        rows = [row for row, kept in zip(rows, flags, strict=True) if kept]

    def prompts() -> list[str]:
        return [row["prompt"] for row in rows]

    keep("unfinished", [row["finish_reason"] == "stop" for row in rows])
    keep("too_short", [len(folded_words(text)) >= min_words for text in prompts()])
    keep("marker_or_answer", [not has_marker(text) for text in prompts()])
    keep("perplexity", in_band([row["logprob"] for row in rows], perplexity_band))
    keep("no_constraint", [bool(stated_checks(text)) or not require_constraint for text in prompts()])
    first: dict[str, int] = {}
    for number, text in enumerate(prompts()):
        first.setdefault(bare_words(text), number)
    keep("exact_duplicate", [first[bare_words(text)] == number for number, text in enumerate(prompts())])
    keep("near_duplicate", first_of_near_duplicates(prompts(), near_duplicate))
    own = [(row["prompt_id"], text) for row in sft for text in user_texts(row)]
    index = OverlapIndex([text for _, text in own])
    found = [{own[i][0] for i in index.overlapping(text, overlap)} for text in prompts()]
    keep("few_shot_overlap", [f.isdisjoint(row["examples"]) for f, row in zip(found, rows, strict=True)])
    for name, texts in (("seed_overlap", seeds), ("evaluation_overlap", evaluation)):
        index = OverlapIndex(texts)
        keep(name, [not index.overlapping(text, overlap) for text in prompts()])
    return sorted(rows, key=lambda row: row["prompt_id"]), removed
