"""Count the tokens of everything that people wrote, in the requests that the run will make of it.

A row that the engine would refuse is found here, before anything is trained or sampled, and not by the job
that meets it hours later. A training example that is too long is only counted: the training leaves it out.

Reads:
    tokenizer: a file of models/base/; the folder's tokenizer and chat template are read, no weights.
    sft, judge, heldout, benchmark, evaluation: seed tables (`sft`, `judge`, `judge`, `judge_pair`, `eval`).

Writes:
    checked: seeds/checked.txt, the word "ok"; what trains or samples waits for it.
    table: tables/lengths.csv, one row per set of requests (`alma.csv_schemas`).

Params:
    seed: seed of the run, which chooses the few-shot examples. max_model_len: of the engine.
    shots, max_tokens: of the evaluation. judge_shots: rated examples in the base model's context as judge.
    few_shot_judge: rated examples in the context of the judge that scores the rounds, 0 for a trained one.
    own_benchmark, own_prompts: which evaluation prompts are answered as in the rounds (evaluation.selection).
    new_prompt_tokens, response_tokens: longest new prompt and response of a round.
    sft_max_length, judge_max_length: longest training examples.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alma.checked_prompts import checked_prompts
from alma.csv_tables import write_csv_table
from alma.errors import InputError, fail_with, shorten
from alma.fewshot import example_turns
from alma.files import write_text
from alma.judge_training import human_ratings, judge_conversations
from alma.judging import few_shot_examples
from alma.lengths import JudgeLengths, sampling_length
from alma.tables import read_table, user
from alma.tokenizer import load_tokenizer
from alma.training_data import completion_ids

Row = dict[str, Any]
SHOWN = 10  # faults of one set in the message


def table_row(name: str, lengths: list[int], limit: int) -> Row:
    """One row of the table of lengths."""
    return {
        "set": name,
        "rows": len(lengths),
        "mean_tokens": sum(lengths) / len(lengths) if lengths else None,
        "longest": max(lengths, default=None),
        "limit": limit,
        "too_long": sum(length > limit for length in lengths),
    }


def check_training(name: str, lengths: list[int], limit: int, key: str) -> Row:
    """The row of a training set; its longest examples may be left out, but not all of them.

    Raises:
        InputError: no example is short enough.
    """
    if lengths and min(lengths) > limit:
        raise InputError(
            f"{key}.max_length: found {limit}, but the shortest of {len(lengths)} examples of "
            f"seeds/{name}.parquet has {min(lengths)} tokens; no example is left to train on.\n"
            f"  Nothing was trained."
        )
    return table_row(name, lengths, limit)


def check_requests(
    table: str | Path, rows: list[Row], count: Callable[[Row], int | None], limit: int, holds: str
) -> tuple[list[int], list[str]]:
    """Tokens of a request per row, and a line for each row whose request does not fit.

    Args:
        table: the file that the rows were read from.
        count: tokens of a row's request, None where it makes none.
        holds: what the request holds, for the message.
    """
    lengths = {number: length for number, row in enumerate(rows) if (length := count(row)) is not None}
    found = [
        f"{table}: row {number}, prompt {shorten(rows[number]['prompt'])}: found {length} tokens ({holds}), "
        f"expected at most engine.max_model_len = {limit}"
        for number, length in lengths.items()
        if length > limit
    ]
    more = [f"{table}: and {len(found) - SHOWN} more rows"] * (len(found) > SHOWN)
    return list(lengths.values()), found[:SHOWN] + more


def main(
    tokenizer: str | Path,
    sft: str | Path,
    judge: str | Path,
    heldout: str | Path,
    benchmark: str | Path,
    evaluation: str | Path,
    checked: str | Path,
    table: str | Path,
    *,
    seed: int,
    max_model_len: int,
    shots: int,
    max_tokens: int,
    judge_shots: int,
    few_shot_judge: int,
    own_benchmark: str | None,
    own_prompts: int,
    new_prompt_tokens: int,
    response_tokens: int,
    sft_max_length: int,
    judge_max_length: int,
) -> None:
    """Check all lengths; see the module's docstring.

    Raises:
        InputError: lists the rows that are too long, with what to change.
    """
    loaded = load_tokenizer(Path(tokenizer).parent)
    sft_rows, judge_rows = read_table(sft, "sft"), read_table(judge, "judge")

    def training_lengths(rows: list[Row]) -> list[int]:
        ends = [int(loaded.eos_token_id)]
        return [sum(map(len, completion_ids(loaded, r["prompt"], r["completion"], ends))) for r in rows]

    rated = judge_conversations(human_ratings(judge_rows), [seed])
    rows = [
        check_training("sft", training_lengths(sft_rows), sft_max_length, "training.sft"),
        check_training("judge", training_lengths(rated), judge_max_length, "judge.training"),
    ]

    few_shot = JudgeLengths(loaded, few_shot_examples(judge_rows, judge_shots, seed))
    holds = f"judge.shots = {judge_shots} rated examples, the prompt, the response and a rating"
    heldout_lengths, problems = check_requests(
        heldout,
        read_table(heldout, "judge"),
        lambda row: few_shot.of(row["prompt"], row["response"]),
        max_model_len,
        holds,
    )
    pair_lengths, faults = check_requests(
        benchmark,
        read_table(benchmark, "judge_pair"),
        lambda row: max(few_shot.of(row["prompt"], row[side]) for side in ("chosen", "rejected")),
        max_model_len,
        holds,
    )
    problems += faults
    if problems:
        problems.append("Raise engine.max_model_len, lower judge.shots, or remove these rows.")

    turns = example_turns(sft_rows, shots, seed)
    judged = JudgeLengths(loaded)
    asked = read_table(evaluation, "eval")
    answers, faults = check_requests(
        evaluation,
        asked,
        lambda row: max(
            sampling_length(loaded, [*turns, *user(row["prompt"])], max_tokens),
            judged.of_any_response(row["prompt"], max_tokens),
        ),
        max_model_len,
        f"evaluation.shots = {shots} seed pairs or the judge's question, the prompt, and an answer of "
        f"evaluation.max_tokens = {max_tokens}",
    )
    if faults:
        faults.append(
            "Raise engine.max_model_len, lower evaluation.shots or evaluation.max_tokens, or remove them."
        )
    selecting = JudgeLengths(loaded, few_shot_examples(judge_rows, few_shot_judge, seed))
    chosen = checked_prompts(asked, own_benchmark, own_prompts, seed)

    def own_length(row: Row) -> int | None:
        if row not in chosen:
            return None
        sampled = sampling_length(loaded, user(row["prompt"]), response_tokens)
        return max(sampled, selecting.of_any_response(row["prompt"], response_tokens))

    own, own_faults = check_requests(
        evaluation,
        asked,
        own_length,
        max_model_len,
        f"evaluation.selection: the judge's question with {few_shot_judge} rated examples, the prompt, and a "
        f"response of sampling.max_tokens = {response_tokens}",
    )
    if own_faults:
        faults += [*own_faults, "Raise engine.max_model_len, lower sampling.max_tokens, or remove them."]
    scored: list[int] = []
    if few_shot_judge:
        length = selecting.of_any_response("", response_tokens) + new_prompt_tokens
        scored.append(length)
        if length > max_model_len:
            faults.append(
                f"judge.checkpoint: found base, whose longest request has {length} tokens (judge.shots = "
                f"{few_shot_judge} rated examples, a prompt of prompts.max_tokens = {new_prompt_tokens} and "
                f"a response of sampling.max_tokens = {response_tokens}), expected at most "
                f"engine.max_model_len = {max_model_len}. Raise that, lower one of these, or take a trained "
                f"judge."
            )
    fail_with(problems + faults, "what people wrote does not fit the engine; nothing was trained or sampled:")

    rows += [
        table_row("judge_heldout", heldout_lengths, max_model_len),
        table_row("judge_benchmark", pair_lengths, max_model_len),
        table_row("eval", answers, max_model_len),
        table_row("selection", own, max_model_len),
        table_row("few_shot_judge", scored, max_model_len),
    ]
    for row in rows:
        if row["rows"]:
            print(
                f"{row['set']}: {row['rows']} rows, {row['mean_tokens']:.0f} tokens in the mean, "
                f"{row['longest']} at most, limit {row['limit']}; {row['too_long']} too long"
            )
    write_csv_table(table, "lengths", rows)
    write_text(checked, "ok\n")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.tokenizer[0],
            snakemake.input.sft,
            snakemake.input.judge,
            snakemake.input.judge_heldout,
            snakemake.input.judge_benchmark,
            snakemake.input.eval,
            snakemake.output.checked,
            snakemake.output.table,
            **config,
        )
