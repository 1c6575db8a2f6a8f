"""Keep the finished, new and uncontaminated prompts of those that the base model wrote.

The filters run in the order of `FILTERS`. Of equal or nearly equal prompts the first in a seeded
order stays, so the result does not depend on the order of the shards.

Reads:
    raw: `raw_prompt` tables of all shards.
    sft, judge_prompts, judge_benchmark: the seed tables (`sft`, `seed_prompt`, `judge_pair`).
    evaluation: `eval` table.
    tokenizer: a file of models/base/; the folder's tokenizer and chat template are read, no weights.

Writes:
    prompts: `prompt` table, sorted by prompt_id, with the checks that each prompt states.
    filters: CSV, one row per filter in order (`prompt_filters` of `alma.csv_schemas`).
    quality: CSV, share of prompts that state a constraint, by kind (`prompt_quality`).

Params:
    seed: seed of the run. min_words: a prompt of fewer words is dropped.
    require_end: whether a prompt must end as a request does. min_function_words: smallest share of function
        words of the seeds' languages. blocked: words that no prompt may hold. perplexity_band: quantiles.
    require_constraint: whether a prompt must state a constraint that `alma.stated` reads.
    near_duplicate: estimated Jaccard similarity from which two prompts are the same.
    overlap: share of a prompt's word 3-grams in one other prompt from which it is contaminated.
    max_model_len: of the engine. max_tokens: longest response. A prompt is dropped where a response to it,
        or the judge's question about that response, would not fit the engine.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.duplicates import OverlapIndex, bare_words, first_of_near_duplicates, folded_words
from alma.errors import InputError
from alma.fewshot import has_marker
from alma.ids import hashed_int
from alma.lengths import prompt_lengths
from alma.prompt_filters import (
    blocked_words,
    ends_like_a_request,
    fits_the_seeds,
    function_word_share,
    in_band,
    seed_languages,
)
from alma.stated import STATED_KINDS, stated_checks
from alma.tables import read_table, read_tables, user_text, write_table
from alma.tokenizer import load_tokenizer

Row = dict[str, Any]


def distinct(rows: list[Row]) -> list[Row]:
    """The first of the rows whose prompts are equal but for case, space and punctuation."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(bare_words(row["prompt"]), row)
    return list(first.values())


def without_near_duplicates(rows: list[Row], threshold: float) -> list[Row]:
    """The first of the rows whose prompts are nearly equal."""
    flags = first_of_near_duplicates([row["prompt"] for row in rows], threshold)
    return [row for row, kept in zip(rows, flags, strict=True) if kept]


def without_overlap(rows: list[Row], texts: list[str], threshold: float) -> list[Row]:
    """Rows whose prompts overlap none of `texts`."""
    index = OverlapIndex(texts)
    return [row for row in rows if not index.overlapping(row["prompt"], threshold)]


def without_own_overlap(rows: list[Row], sft: list[Row], threshold: float) -> list[Row]:
    """Rows whose prompts overlap none of the few-shot examples that they were written from."""
    texts = [(row["prompt_id"], text) for row in sft for text in user_texts(row)]
    index = OverlapIndex([text for _, text in texts])

    def copied(row: Row) -> bool:
        found = {texts[number][0] for number in index.overlapping(row["prompt"], threshold)}
        return not found.isdisjoint(row["examples"])

    return [row for row in rows if not copied(row)]


def user_texts(row: Row) -> list[str]:
    """All user messages of an sft row: an earlier turn contaminates as the last one does."""
    return [message["content"] for message in row["prompt"] if message["role"] == "user"]


def quality_rows(raw: list[set[str]], kept: list[set[str]]) -> list[Row]:
    """Rows of the `prompt_quality` table from the kinds of checks that each prompt states."""

    def share(found: list[set[str]], kind: str) -> tuple[int, float | None]:
        count = sum(bool(kinds) if kind == "any" else kind in kinds for kinds in found)
        return count, count / len(found) if found else None

    rows = []
    for kind in ("any", *STATED_KINDS):
        row: Row = {"kind": kind}
        for name, found in (("raw", raw), ("kept", kept)):
            row[name], row[f"{name}_share"] = share(found, kind)
        rows.append(row)
    return rows


def main(
    raw: list[str],
    sft: str | Path,
    judge_prompts: str | Path,
    judge_benchmark: str | Path,
    evaluation: str | Path,
    tokenizer: str | Path,
    prompts: str | Path,
    filters: str | Path,
    quality: str | Path,
    *,
    seed: int,
    min_words: int,
    require_end: bool,
    min_function_words: float,
    blocked: list[str],
    perplexity_band: list[float],
    require_constraint: bool,
    near_duplicate: float,
    overlap: float,
    max_model_len: int,
    max_tokens: int,
) -> None:
    """Filter the raw prompts; see the module's docstring."""
    rows = read_tables(raw, "raw_prompt")
    # The examples break ties between equal texts: the order must not hang on the order of shards.
    rows.sort(
        key=lambda row: (hashed_int("unique", seed, row["prompt_id"]), row["prompt_id"], row["examples"])
    )
    if perplexity_band[0] >= perplexity_band[1]:
        raise InputError(
            f"prompts.perplexity_band: found {perplexity_band}, expected the lower quantile first"
        )
    sft_rows = read_table(sft, "sft")
    prompts_of_seeds = [user_text(row["prompt"]) for row in sft_rows]
    seeds = [text for row in sft_rows for text in user_texts(row)]
    seeds += [row["prompt"] for row in read_table(judge_prompts, "seed_prompt")]
    seeds += [row["prompt"] for row in read_table(judge_benchmark, "judge_pair")]
    stated = {row["prompt"]: stated_checks(row["prompt"]) for row in rows}
    written = [{check["kind"] for check in stated[row["prompt"]]} for row in rows]
    benchmark_prompts = [row["prompt"] for row in read_table(evaluation, "eval")]

    loaded = load_tokenizer(Path(tokenizer).parent)

    def fits(rows: list[Row]) -> list[Row]:
        lengths = prompt_lengths(loaded, [row["prompt"] for row in rows], max_tokens)
        return [row for row, length in zip(rows, lengths, strict=True) if length <= max_model_len]

    languages, holds_blocked = seed_languages(prompts_of_seeds), blocked_words(blocked)
    tests: dict[str, Callable[[str], bool]] = {
        "no_end": lambda text: not require_end or ends_like_a_request(text),
        "other_language": lambda text: function_word_share(text, languages) >= min_function_words,
        "blocked_word": lambda text: not holds_blocked(text),
    }
    used = {name for name, keeps in tests.items() if fits_the_seeds(name, keeps, prompts_of_seeds)}

    def by_text(name: str) -> Callable[[list[Row]], list[Row]]:
        return lambda rows: [row for row in rows if name not in used or tests[name](row["prompt"])]

    def probable(rows: list[Row]) -> list[Row]:
        flags = in_band([row["logprob"] for row in rows], (perplexity_band[0], perplexity_band[1]))
        return [row for row, kept in zip(rows, flags, strict=True) if kept]

    steps: list[tuple[str, Callable[[list[Row]], list[Row]]]] = [
        ("unfinished", lambda rows: [r for r in rows if r["finish_reason"] == "stop"]),
        ("too_short", lambda rows: [r for r in rows if len(folded_words(r["prompt"])) >= min_words]),
        ("marker_or_answer", lambda rows: [r for r in rows if not has_marker(r["prompt"])]),
        *((name, by_text(name)) for name in tests),
        ("perplexity", probable),
        ("no_constraint", lambda rows: [r for r in rows if stated[r["prompt"]] or not require_constraint]),
        ("exact_duplicate", distinct),
        ("near_duplicate", lambda rows: without_near_duplicates(rows, near_duplicate)),
        ("few_shot_overlap", lambda rows: without_own_overlap(rows, sft_rows, overlap)),
        ("seed_overlap", lambda rows: without_overlap(rows, list(dict.fromkeys(seeds)), overlap)),
        ("evaluation_overlap", lambda rows: without_overlap(rows, benchmark_prompts, overlap)),
        ("too_long", fits),
    ]
    counts = []
    total = len(rows)
    for name, step in steps:
        before = len(rows)
        rows = step(rows)
        counts.append({"filter": name, "removed": before - len(rows), "kept": len(rows)})
        print(f"{name}: removed {before - len(rows)}, kept {len(rows)}", flush=True)
    if not rows:
        table = "\n".join(f"  {c['filter']}: removed {c['removed']}" for c in counts)
        raise InputError(
            f"prompts: none of the {total} prompts that the base model wrote passed the filters.\n{table}\n"
            "  Raise prompts.max_tokens where they are unfinished, prompts.raw_per_shard where they are few, "
            "engine.max_model_len where they are too long."
        )
    rows.sort(key=lambda row: row["prompt_id"])
    kept = [
        {name: row[name] for name in ("prompt_id", "prompt", "source", "examples")}
        | {"checks": json.dumps(stated[row["prompt"]], sort_keys=True, ensure_ascii=False)}
        for row in rows
    ]
    write_table(prompts, "prompt", kept)
    left = [{check["kind"] for check in stated[row["prompt"]]} for row in rows]
    write_csv_table(quality, "prompt_quality", quality_rows(written, left))
    write_csv_table(filters, "prompt_filters", counts)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.raw),
            snakemake.input.sft,
            snakemake.input.judge_prompts,
            snakemake.input.judge_benchmark,
            snakemake.input.eval,
            snakemake.input.tokenizer[0],
            snakemake.output.prompts,
            snakemake.output.filters,
            snakemake.output.quality,
            **config,
        )
