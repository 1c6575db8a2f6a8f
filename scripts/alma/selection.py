"""Best-of-N and preference pairs: which response is chosen, which is rejected, and which never can be.

Whether two texts are the same, and whether one says another again, follows Python's Unicode rules; that is
computed text by text, once per distinct text. All else is polars expressions over the columns of a shard.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from alma.checks import run_checks
from alma.duplicates import folded, folded_words
from alma.ids import hashed_ints
from alma.tables import collect, scan_table, scan_tables

if TYPE_CHECKING:
    import polars as pl

# Fewer shared words say nothing: "Hi" is well answered with "Hi there!", "Red or blue?" with "Red".
ECHO_WORDS = 4
_BATCH = 10_000  # texts that are compared at a time: Python's copies of more would fill the memory


def _length(text: str) -> float:
    """Words of a text; where words are not set apart by spaces, two wide characters count as one."""
    wide = [sum(unicodedata.east_asian_width(char) in "WF" for char in word) for word in folded_words(text)]
    return sum(max(1.0, count / 2) for count in wide)


class _Text(NamedTuple):
    """What is compared of a text."""

    folded: str
    core: str  # the folded text without what stands around its first and last letter or digit


def _text(text: str) -> _Text:
    text = folded(text)
    first = next((i for i, char in enumerate(text) if char.isalnum()), len(text))
    after = next((i for i in range(len(text), first, -1) if text[i - 1].isalnum()), first)
    return _Text(text, text[first:after])


def _says_again(prompt: _Text, response: _Text) -> bool:
    if prompt.folded == response.folded:
        return True
    shorter, longer = sorted((prompt.core, response.core), key=len)
    ends = not longer[len(shorter) : len(shorter) + 1].isalnum()
    return longer.startswith(shorter) and ends and _length(shorter) >= ECHO_WORDS


def is_echo(prompt: str, response: str) -> bool:
    """Whether a response says the prompt again.

    Case, white space and Unicode variants (NFKC) make no difference. An echo is:

    - the prompt itself, however short;
    - the prompt, then more text: an answer after it does not help, since the model that is trained on
      it learns to repeat its prompts;
    - the first part of the prompt.

    The last two are compared without the punctuation around either text, end at a word's end, and need
    at least `ECHO_WORDS` words in common.
    """
    return _says_again(_text(prompt), _text(response))


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def why_out(prompt: str, response: dict[str, Any]) -> str | None:
    """Why a response can never be chosen, in words; None where it may be."""
    if response["finish_reason"] != "stop":
        return "cut off"
    if not _has_word(response["response"]):
        return "empty"
    if is_echo(prompt, response["response"]):
        return "echo of the prompt"
    return "no score" if response["score"] is None else None


def is_eligible(prompt: str, response: dict[str, Any]) -> bool:
    """Whether a response may be chosen: scored, finished, not empty and not the prompt again."""
    return why_out(prompt, response) is None


def scored_responses(
    prompts: "pl.DataFrame", responses: list[str], scores: list[str]
) -> Iterator["pl.DataFrame"]:
    """The responses to some prompts with their scores, file by file: texts of one file are held at a time.

    Args:
        prompts: prompt_id and what else each response is to carry of its prompt.
        responses, scores: files of a shard; joined by response_id, never by position.

    Yields:
        The columns of a "response" table, score and those of `prompts`, in the order of the file.

    Raises:
        KeyError: a response was not scored (an error in the program).
    """
    known = collect(scan_tables(scores, "score").select("response_id", "score"))
    for path in responses:
        rows = collect(scan_table(path, "response"))
        scored = rows.join(known, on="response_id", maintain_order="left")
        if len(scored) != len(rows):
            raise KeyError(f"{path}: {len(rows)} responses, with {len(scored)} rows in the score tables")
        yield scored.join(prompts, on="prompt_id", maintain_order="left")


def _keys(rows: "pl.DataFrame") -> list[bytes | None]:
    """See `candidate_keys`; rows of prompt, response and whether all but the text allows the response."""
    text = cache(_text)

    def key(prompt: str, response: str) -> bytes | None:
        if not _has_word(response) or _says_again(text(prompt), text(response)):
            return None
        return hashlib.blake2b(text(response).folded.encode(), digest_size=16).digest()

    return [key(prompt, response) if could else None for prompt, response, could in rows.iter_rows()]


def candidate_keys(rows: "pl.DataFrame") -> "pl.Series":
    """The key of each response among the candidates for its prompt; null where it can never be chosen.

    Responses have one key where their texts differ at most in case, white space and Unicode variants (NFKC).
    Null is what `why_out` has a reason for.

    Args:
        rows: prompt, response, finish_reason (text) and score (float64 or null) of each response.

    Returns:
        binary, 16 bytes each (BLAKE2b of the folded text).
    """
    import polars as pl

    could = (pl.col("finish_reason") == "stop") & pl.col("score").is_not_null()
    parts = rows.select("prompt", "response", could=could).iter_slices(_BATCH)
    return pl.Series("key", [key for part in parts for key in _keys(part)], dtype=pl.Binary)


def passed_shares(rows: "pl.DataFrame") -> "pl.Series":
    """Share of its prompt's `checks` (JSON list) that each `response` passes, null without checks."""
    import polars as pl

    read = cache(json.loads)

    def share(checks: str, response: str) -> float | None:
        passed = run_checks(read(checks), response)
        return sum(passed) / len(passed) if passed else None

    found = [share(checks, response) for checks, response in rows.select("checks", "response").iter_rows()]
    return pl.Series("share", found, dtype=pl.Float64)


def distinct_candidates(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Eligible responses without repeats, each with `multiplicity`; a text's first sample stands for it.

    Args:
        rows: prompt_id, response_id, sample and key (`candidate_keys`), in any order, and other columns.
    """
    import polars as pl

    first = rows.filter(pl.col("key").is_not_null()).sort("sample", "response_id")
    return first.group_by("prompt_id", "key", maintain_order=True).agg(
        pl.all().first(), pl.len().alias("multiplicity")
    )


def _first_per_prompt(rows: "pl.DataFrame", *keys: str, descending: bool = False) -> "pl.DataFrame":
    """The row of each prompt that is first by the keys; `descending` is for the first key."""
    turned = [descending] + [False] * (len(keys) + 1)
    ordered = rows.sort(*keys, "sample", "response_id", descending=turned)
    return ordered.unique("prompt_id", keep="first", maintain_order=True)


def select(
    candidates: "pl.DataFrame", *, seed: list[Any], selection: str, tie_tolerance: float
) -> "pl.DataFrame":
    """The chosen and the rejected response of every prompt that has a candidate.

    Args:
        candidates: of `distinct_candidates`: prompt_id, response_id, sample, score, multiplicity and share
            (float64, `passed_shares`; read under "checks" alone), in any order.
        seed: what the hashes are seeded with. Ties are broken by them and never by position: position follows
            the checkpoint, and would favor one.
        selection: "best" (highest score), "random" (any eligible sample, the control) or "checks" (largest
            share of the checks that the prompt states, for studies: the ceiling that the judge is held
            against, in which its score has no part; a prompt that states none is chosen for at random).
        tie_tolerance: scores this close are equal.

    Returns:
        prompt_id, chosen_id, chosen_score, rejected_id, rejected_score, candidates (int32), in no set order.
        The rejected one is a random other candidate, weighted by how often it was sampled, with a lower
        score (under "checks" a lower share; under "random" any); it is null where there is none such, or all
        scores tie.
    """
    import polars as pl

    def hashes(name: str, rows: "pl.DataFrame") -> "pl.Series":
        return pl.Series("tie", hashed_ints((seed, name), rows["response_id"]), dtype=pl.UInt64)

    # Weighted by multiplicity: the largest u ** (1 / w) wins (Efraimidis and Spirakis, 2006).
    drawn = zip(hashes("random", candidates), candidates["multiplicity"], strict=True)
    random = [1.0 - ((number + 1) / 2**63) ** (1.0 / weight) for number, weight in drawn]
    score = pl.col("score")
    rows = candidates.with_columns(
        pl.Series("random", random, dtype=pl.Float64),
        top=score.max().over("prompt_id"),
        differ=(score.max() - score.min() > tie_tolerance).over("prompt_id"),
        candidates=pl.len().over("prompt_id").cast(pl.Int32),
    )
    if selection == "best":
        tied = rows.filter(score >= pl.col("top") - tie_tolerance)
        chosen = _first_per_prompt(tied.with_columns(hashes("best", tied)), "tie")
        lower = pl.col("differ") & (score < pl.col("chosen_score") - tie_tolerance)
    elif selection == "checks":
        tie = pl.when(pl.col("share").is_not_null()).then(hashes("checks", rows))
        chosen = _first_per_prompt(rows.with_columns(tie=tie), "share", "tie", "random", descending=True)
        lower = pl.col("share") < pl.col("chosen_share")
    else:
        chosen = _first_per_prompt(rows, "random")
        lower = pl.col("differ") & (pl.col("response_id") != pl.col("chosen_id"))
    chosen = chosen.select(
        "prompt_id",
        pl.col("response_id").alias("chosen_id"),
        pl.col("score", "share").name.prefix("chosen_"),
        "candidates",
    )
    others = rows.join(chosen, on="prompt_id").filter(lower)
    rejected = _first_per_prompt(others, "random").select(
        "prompt_id", pl.col("response_id").alias("rejected_id"), pl.col("score").alias("rejected_score")
    )
    return chosen.drop("chosen_share").join(rejected, on="prompt_id", how="left")
