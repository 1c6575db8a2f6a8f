"""Say of each raw prompt of a shard which filter it fails by itself, and sign those that are then compared.

Which prompts are too improbable, and which repeat another, shows in comparison with all shards alone:
`compare_prompts` and `drop_duplicates` see to these.

Reads:
    raw: `raw_prompt` table of the shard.
    sft, judge_prompts, judge_benchmark: the seed tables (`sft`, `seed_prompt`, `judge_pair`).
    evaluation: `eval` table.
    tokenizer: a file of models/base/; the folder's tokenizer and chat template are read, no weights.

Writes:
    filtered: `filtered_prompt` table, one row per raw prompt in its order, with the checks that it states.
    signatures: `signature` table of the prompts that are left where duplicates are looked for, in the same
        order. Memory does not grow with the prompts of the shard, which are read some thousand at a time.

Params:
    seed: seed of the run. min_words: a prompt of fewer words is dropped.
    require_end: whether a prompt must end as a request does. min_function_words: smallest share of function
        words of the seeds' languages. blocked: words that no prompt may hold.
    require_constraint: whether a prompt must state a constraint that `alma.stated` reads.
    overlap: share of a prompt's word 3-grams in one other prompt from which it is contaminated.
    max_model_len: of the engine. max_tokens: longest response. A prompt is dropped where a response to it,
        or the judge's question about that response, would not fit the engine.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alma.duplicates import OverlapIndex, bare_words, folded_words
from alma.fewshot import has_marker
from alma.ids import hashed_int
from alma.lengths import too_long
from alma.prompt_filters import (
    FILTERS,
    blocked_words,
    counts_before,
    ends_like_a_request,
    fits_the_seeds,
    function_word_share,
    seed_languages,
)
from alma.stated import stated_checks
from alma.tables import SCHEMAS, iter_columns, read_table, table_writer, user_text
from alma.tokenizer import load_tokenizer

Row = dict[str, Any]
AT_ONCE = 8192  # prompts that are in memory


def user_texts(row: Row) -> list[str]:
    """All user messages of an sft row: an earlier turn contaminates as the last one does."""
    return [message["content"] for message in row["prompt"] if message["role"] == "user"]


def overlaps_any(texts: list[str], threshold: float) -> Callable[[Row], bool]:
    """A test whether a row's prompt overlaps one of `texts`."""
    index = OverlapIndex(list(dict.fromkeys(texts)))
    return lambda row: bool(index.overlapping(row["prompt"], threshold))


def overlaps_its_examples(sft: list[Row], threshold: float) -> Callable[[Row], bool]:
    """A test whether a row's prompt overlaps one of the few-shot examples that it was written from."""
    texts = [(row["prompt_id"], text) for row in sft for text in user_texts(row)]
    index = OverlapIndex([text for _, text in texts])

    def copied(row: Row) -> bool:
        found = {texts[number][0] for number in index.overlapping(row["prompt"], threshold)}
        return not found.isdisjoint(row["examples"])

    return copied


def signature_rows(rows: list[tuple[int, Row]], seed: int) -> Any:
    """A part of the `signature` table. Args: rows: number in the shard, and the raw prompt."""
    import pyarrow as pa

    from alma.minhash import signatures

    found = signatures([row["prompt"] for _, row in rows])
    columns = [
        [number for number, _ in rows],
        [row["prompt_id"] for _, row in rows],
        [row["examples"] for _, row in rows],
        [hashed_int("unique", seed, row["prompt_id"]) for _, row in rows],
        [hashed_int("text", bare_words(row["prompt"])) for _, row in rows],
        [row["logprob"] for _, row in rows],
        [signature.astype("<u4").tobytes() for signature in found],
    ]
    schema = SCHEMAS["signature"]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def main(
    raw: str | Path,
    sft: str | Path,
    judge_prompts: str | Path,
    judge_benchmark: str | Path,
    evaluation: str | Path,
    tokenizer: str | Path,
    filtered: str | Path,
    signatures: str | Path,
    *,
    seed: int,
    min_words: int,
    require_end: bool,
    min_function_words: float,
    blocked: list[str],
    require_constraint: bool,
    overlap: float,
    max_model_len: int,
    max_tokens: int,
) -> None:
    """Filter and sign the prompts of one shard; see the module's docstring."""
    import pyarrow as pa

    sft_rows = read_table(sft, "sft")
    prompts_of_seeds = [user_text(row["prompt"]) for row in sft_rows]
    seeds = [text for row in sft_rows for text in user_texts(row)]
    seeds += [row["prompt"] for row in read_table(judge_prompts, "seed_prompt")]
    seeds += [row["prompt"] for row in read_table(judge_benchmark, "judge_pair")]
    benchmark_prompts = [row["prompt"] for row in read_table(evaluation, "eval")]

    loaded = load_tokenizer(Path(tokenizer).parent)
    languages, holds_blocked = seed_languages(prompts_of_seeds), blocked_words(blocked)
    keeps: dict[str, Callable[[str], bool]] = {
        "no_end": lambda text: not require_end or ends_like_a_request(text),
        "other_language": lambda text: function_word_share(text, languages) >= min_function_words,
        "blocked_word": lambda text: not holds_blocked(text),
    }
    drops: dict[str, Callable[[Row], bool]] = {
        "unfinished": lambda row: row["finish_reason"] != "stop",
        "too_short": lambda row: len(folded_words(row["prompt"])) < min_words,
        "marker_or_answer": lambda row: has_marker(row["prompt"]),
        **{
            name: lambda row, keeps=test: not keeps(row["prompt"])  # type: ignore[misc]
            for name, test in keeps.items()
            if fits_the_seeds(name, test, prompts_of_seeds)
        },
        "no_constraint": lambda row: require_constraint and not row["stated"],
        "few_shot_overlap": overlaps_its_examples(sft_rows, overlap),
        "seed_overlap": overlaps_any(seeds, overlap),
        "evaluation_overlap": overlaps_any(benchmark_prompts, overlap),
    }
    in_order = [(name, drops[name]) for name in FILTERS if name in drops]
    names = SCHEMAS["filtered_prompt"].names
    count = 0
    with (
        table_writer(filtered, "filtered_prompt") as filtered_file,
        table_writer(signatures, "signature") as signature_file,
    ):
        for part in iter_columns(raw, "raw_prompt", rows=AT_ONCE):
            rows = part.to_pylist()
            for row in rows:
                row["stated"] = stated_checks(row["prompt"])
                row["checks"] = json.dumps(row["stated"], sort_keys=True, ensure_ascii=False)
                row["fails"] = next((name for name, test in in_order if test(row)), None)
            asked = [row for row in rows if row["fails"] is None]
            long = too_long(loaded, [row["prompt"] for row in asked], max_tokens, max_model_len)
            for row, found in zip(asked, long, strict=True):
                row["fails"] = "too_long" if found else None
            written = [{name: row[name] for name in names} for row in rows]
            filtered_file.write_table(pa.Table.from_pylist(written, schema=SCHEMAS["filtered_prompt"]))
            left = [
                (count + number, row)
                for number, row in enumerate(rows)
                if counts_before("exact_duplicate", row["fails"])
            ]
            signature_file.write_table(signature_rows(left, seed))
            count += len(rows)
            print(f"{count} prompts, {len(left)} of the last {len(rows)} are compared", flush=True)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.raw,
            snakemake.input.sft,
            snakemake.input.judge_prompts,
            snakemake.input.judge_benchmark,
            snakemake.input.eval,
            snakemake.input.tokenizer[0],
            snakemake.output.filtered,
            snakemake.output.signatures,
            **config,
        )
