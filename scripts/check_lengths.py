"""Count the tokens of everything that people wrote, in the requests that the run will make of it.

Long rows are normal: those that do not fit are left out by the jobs that would use them, by the rules of
`alma.fitting`, and are counted here. What cannot work at all, since no row of a set fits, or no example, is
refused here, before anything is trained or sampled, and not by the job that meets it hours later.

Reads:
    tokenizer: a file of models/base/; the folder's tokenizer and chat template are read, no weights.
    sft, judge, heldout, benchmark, evaluation, turns: seed tables (`sft`, `judge`, `judge`, `judge_pair`,
        `eval`, `turns`).

Writes:
    checked: seeds/checked.txt, the word "ok"; what trains or samples waits for it.
    table: tables/lengths.csv, one row per set of requests (`alma.csv_schemas`).

Params:
    seed: seed of the run, which chooses the few-shot examples. max_model_len: of the engine.
    shots, max_tokens: of the evaluation. judge_shots: rated examples in the base model's context as judge.
    few_shot_judge: rated examples in the context of the judge that scores the rounds, 0 for a trained one.
    own_benchmark, own_prompts: which evaluation prompts are answered as in the rounds (evaluation.selection).
    new_prompt_tokens, response_tokens: longest new prompt and response of a round.
    prompt_shots: fewest and most seed prompts in the context that writes a new one.
    sft_max_length, judge_max_length: longest training examples.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthesize_prompts import seed_prompts, short_enough

from alma.asking import TurnLengths
from alma.checked_prompts import checked_prompts
from alma.csv_tables import write_csv_table
from alma.errors import InputError, fail_with, shorten
from alma.files import write_text
from alma.fitting import EvaluationLengths, answer_examples, judge_examples, need_examples, that_fit
from alma.judge_training import human_ratings, judge_conversations
from alma.lengths import JudgeLengths
from alma.tables import read_table
from alma.tokenizer import load_tokenizer
from alma.training_data import completion_ids
from alma.turns import read_turns

Row = dict[str, Any]
SHOWN = 10  # rows of one set that are left out in the log


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
    table: str | Path, rows: list[Row], count: Callable[[Row], int], limit: int, holds: str, advice: str
) -> tuple[list[int], list[str]]:
    """Tokens of a request per row; those that do not fit are printed, and a fault where none is left.

    Args:
        table: the file that the rows were read from.
        count: tokens of a row's request, with as many examples as fit.
        holds, advice: what the request holds, and what to change, for the message.
    """
    lengths = [count(row) for row in rows]
    long = [(number, length) for number, length in enumerate(lengths) if length > limit]
    for number, length in long[:SHOWN]:
        print(
            f"{table}: row {number}, prompt {shorten(rows[number]['prompt'])}: left out, {length} tokens "
            f"({holds}), engine.max_model_len is {limit}"
        )
    if len(long) > SHOWN:
        print(f"{table}: and {len(long) - SHOWN} more rows")
    if not rows or len(long) < len(rows):
        return lengths, []
    return lengths, [
        f"{table}: found {min(lengths)} tokens in the shortest of {len(rows)} rows ({holds}), expected at "
        f"most engine.max_model_len = {limit} in one row at least. {advice}"
    ]


def main(
    tokenizer: str | Path,
    sft: str | Path,
    judge: str | Path,
    heldout: str | Path,
    benchmark: str | Path,
    evaluation: str | Path,
    turns: str | Path,
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
    prompt_shots: list[int],
    sft_max_length: int,
    judge_max_length: int,
) -> None:
    """Check all lengths; see the module's docstring.

    Raises:
        InputError: says of which set no row fits, or why there is no example, with what to change.
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

    rated_examples = judge_examples(loaded, judge_rows, judge_shots, seed, max_model_len)
    need_examples("judge.shots", judge_shots, rated_examples, len(judge_rows), max_model_len)
    few_shot = [JudgeLengths(loaded, rated_examples[:n]) for n in range(len(rated_examples) + 1)]

    def rating_length(prompt: str, response: str) -> int:
        def length(some: list[Row]) -> int:
            return few_shot[len(some)].of(prompt, response)

        return length(that_fit(rated_examples, length, max_model_len) or [])

    heldout_lengths, problems = check_requests(
        heldout,
        read_table(heldout, "judge"),
        lambda row: rating_length(row["prompt"], row["response"]),
        max_model_len,
        "the judge's question, the prompt, the response and a rating",
        "Raise engine.max_model_len, or add shorter rows to labels.judge.",
    )
    pair_lengths, faults = check_requests(
        benchmark,
        read_table(benchmark, "judge_pair"),
        lambda row: max(rating_length(row["prompt"], row[side]) for side in ("chosen", "rejected")),
        max_model_len,
        "the judge's question, the prompt, the longer response and a rating",
        "Raise engine.max_model_len, or add shorter pairs to judge.benchmark.",
    )
    problems += faults

    shown = answer_examples(loaded, sft_rows, shots, seed, max_model_len)
    need_examples("evaluation.shots", shots, shown, len(sft_rows), max_model_len)
    requests = TurnLengths(loaded, max_tokens, read_turns(turns))

    def answer_length(row: Row) -> int:
        def length(some: list[Row]) -> int:
            return requests.of(row, some)

        return length(that_fit(shown, length, max_model_len) or [])

    asked = read_table(evaluation, "eval")
    answers: list[int] = []
    for name in sorted({row["benchmark"] for row in asked}):
        found, faults = check_requests(
            evaluation,
            [row for row in asked if row["benchmark"] == name],
            answer_length,
            max_model_len,
            f"of {name}: the prompt, and an answer of evaluation.max_tokens = {max_tokens} or the judge's "
            f"question on it",
            "Raise engine.max_model_len, lower evaluation.max_tokens, or add shorter prompts.",
        )
        answers += found
        problems += faults
    sampled = EvaluationLengths(loaded, response_tokens)
    checkable = checked_prompts(asked, own_benchmark, len(asked), seed) if own_prompts else []
    own = [sampled.of(row["prompt"]) for row in sampled.fitting(checkable, max_model_len)[:own_prompts]]
    selecting = JudgeLengths(loaded, rated_examples if few_shot_judge else [])
    faults = []
    scored: list[int] = []
    if few_shot_judge:
        length = selecting.of_any_response("", response_tokens) + new_prompt_tokens
        scored.append(length)
        if length > max_model_len:
            faults.append(
                f"judge.checkpoint: found base, whose longest request has {length} tokens ("
                f"{len(rated_examples)} rated examples of judge.shots = {few_shot_judge}, a prompt of "
                f"prompts.max_tokens = {new_prompt_tokens} and a response of "
                f"sampling.max_tokens = {response_tokens}), expected at most "
                f"engine.max_model_len = {max_model_len}. Raise that, lower one of these, or take a trained "
                f"judge."
            )
    bounds = prompt_shots[0], prompt_shots[1]
    short_enough(seed_prompts(sft_rows), loaded, max_model_len - new_prompt_tokens, bounds)
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
            snakemake.input.eval_turns,
            snakemake.output.checked,
            snakemake.output.table,
            **config,
        )
