"""Read, check and sort what humans wrote: the SFT pairs, the judge's labels, the evaluation prompts.

Reads (JSONL, JSON, CSV, Parquet or `hub:OWNER/NAME@REVISION[:SPLIT]`; all text is str):
    sft: `messages`; or `prompt` and `response` or `completion`; or `instruction` (and `input`) and
        `output`. `messages`, and `prompt` and `completion` too, may be lists of {role, content}.
    judge: prompt, response, score (float on `scale`); equal prompt and response: several annotators.
    benchmarks: prompt; optional category, reference, checks (list of checks, or its JSON text).
    judge_benchmark (optional): prompt, chosen, rejected.
Writes (schemas in `alma.tables`; scores float64 on 0-10; rows sorted by id, so that the order of the
seeds changes no byte):
    seeds/sft.parquet, seeds/judge.parquet, seeds/judge_heldout.parquet, seeds/eval.parquet,
    seeds/judge_benchmark.parquet (no rows where there is no judge benchmark).
Params: seed (int), sft, judge, judge_benchmark (sources; the last may be None), scale ([low, high] of
    the scores), heldout_fraction (share of the judged prompts), benchmarks ({name: source}).

Nothing is written before everything is checked; every fault of every file is in one message.
"""

import contextlib
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

from alma.checks import validate_checks
from alma.duplicates import folded
from alma.errors import fail_with
from alma.ids import content_id, hashed_int
from alma.json_text import parse_json
from alma.seed_formats import NOTHING, Row, problem, read_rows
from alma.tables import assistant, user, user_text, write_table

SFT_COLUMNS = {"messages", "prompt", "response", "completion", "instruction", "input", "output"}
JUDGE_COLUMNS = {"prompt", "response", "score"}
EVAL_COLUMNS = {"prompt", "category", "reference", "checks"}
PAIR_COLUMNS = {"prompt", "chosen", "rejected"}

# More than any context holds: such a text would only be tokenized for long, then left out.
MAX_TEXT = 1_000_000

Problems = list[str]
Messages = list[dict[str, str]]


# values


def text_fault(value: Any) -> str | None:
    """What is expected instead of `value` where a text is wanted; None if it is fine."""
    if not isinstance(value, str):
        return "text"
    if not value.strip():
        return "text that is not blank"
    if len(value) > MAX_TEXT:
        return f"text of at most {MAX_TEXT:,} characters"
    if "\0" in value:
        return "text without NUL characters"
    if any("\ud800" <= char <= "\udfff" for char in value):
        return "text without halves of surrogate pairs (it cannot be written as UTF-8)"
    return None


def take_text(row: Row, column: str, problems: Problems) -> str | None:
    """The text in a column; None, and a problem, where there is none that can be used."""
    where, values = row
    if column not in values:
        problems.append(problem(where, column, NOTHING, "text"))
        return None
    fault = text_fault(values[column])
    if fault:
        problems.append(problem(where, column, values[column], fault))
        return None
    return values[column]


def take_score(row: Row, scale: list[float], problems: Problems) -> float | None:
    """The score of a row on 0-10; `scale` is what the file uses."""
    where, values = row
    low, high = scale
    expected = f"a number from {low:g} to {high:g} (judge.scale)"
    value = values.get("score", NOTHING)
    number = math.nan
    # A CSV file has no numbers but as text; "1_0" is a number to Python alone.
    as_text = isinstance(value, str) and ".csv: row" in where.lower() and "_" not in value
    if as_text or (isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not low <= number <= high:  # false for NaN
        problems.append(problem(where, "score", value, expected))
        return None
    return min((number - low) * 10 / (high - low), 10.0)  # rounding may end a hair above


def check_messages(value: Any) -> str | None:
    """What is expected instead of `value` where a list of messages is wanted; None if it is fine."""
    if not isinstance(value, list) or not value:
        return "a list of messages"
    for i, message in enumerate(value):
        if not isinstance(message, dict) or not {"role", "content"} <= set(message):
            return f"a role and a content in message {i + 1}"
        fault = text_fault(message["content"])
        if fault:
            return f"{fault} in message {i + 1}"
    roles = [message["role"] for message in value]
    turns = roles[1:] if roles[0] == "system" else roles
    if turns != [("user", "assistant")[i % 2] for i in range(len(turns))] or not turns:
        shown = ", ".join(map(str, roles[:8]))
        return f"the roles user, assistant, user, ... after at most one system message, not {shown}"
    return None


def only_text(messages: list[dict[str, Any]]) -> Messages:
    """Messages without any key besides role and content."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def prompt_key(messages: Messages) -> str:
    """The text that a prompt's id is taken over: of a single user turn the text itself."""
    if len(messages) == 1:
        return messages[0]["content"]
    turns = [[message["role"], message["content"]] for message in messages]
    return json.dumps(turns, ensure_ascii=False)


# rows of the seed files


def _loads(value: Any) -> Any:
    """Parsed JSON where a cell holds a list as text (CSV, some Parquet files), else the value."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value


def _conversation(row: Row, problems: Problems) -> tuple[Messages, Messages] | None:
    where, values = row
    messages = _loads(values["messages"])
    fault = check_messages(messages)
    if fault is None and messages[-1]["role"] != "assistant":
        fault = "messages that end with the assistant's"
    if fault:
        problems.append(problem(where, "messages", values["messages"], fault))
        return None
    return only_text(messages[:-1]), only_text(messages[-1:])


def _prompt_completion(row: Row, answer: str, problems: Problems) -> tuple[Messages, Messages] | None:
    """Prompt and completion, each a text or a list of messages."""
    where, values = row
    parts: dict[str, Messages] = {}
    for column, one_turn in (("prompt", user), (answer, assistant)):
        value = values.get(column)
        if isinstance(value, list):
            # Faults of the order are found below, in the whole conversation.
            parts[column] = value
        else:
            text = take_text(row, column, problems)
            if text is not None:
                parts[column] = one_turn(text)
    if len(parts) < 2:
        return None
    whole = parts["prompt"] + parts[answer]
    fault = check_messages(whole)
    if fault is None and whole[-1]["role"] != "assistant":
        fault = "messages that end with the assistant's"
    if fault is None and len(parts[answer]) != 1:
        fault = "a completion of one message"
    if fault:
        problems.append(problem(where, f"prompt and {answer}", whole, fault))
        return None
    return only_text(parts["prompt"]), only_text(parts[answer])


def _instruction(row: Row, problems: Problems) -> tuple[Messages, Messages] | None:
    where, values = row
    instruction = take_text(row, "instruction", problems)
    output = take_text(row, "output", problems)
    extra = values.get("input", "")
    if not isinstance(extra, str):
        problems.append(problem(where, "input", extra, "text"))
        return None
    if extra.strip():
        fault = text_fault(extra)
        if fault:
            problems.append(problem(where, "input", extra, fault))
            return None
    if instruction is None or output is None:
        return None
    return user(f"{instruction}\n\n{extra}" if extra.strip() else instruction), assistant(output)


def sft_pair(row: Row, problems: Problems) -> tuple[Messages, Messages] | None:
    """Prompt and completion of one SFT row, in any of its formats."""
    where, values = row
    if "messages" in values:
        return _conversation(row, problems)
    answers = [column for column in ("response", "completion") if column in values]
    if len(answers) == 2 and values["response"] != values["completion"]:
        expected = "either response or completion, or equal ones"
        problems.append(problem(where, "completion", values["completion"], expected))
        return None
    if "prompt" in values or answers:
        return _prompt_completion(row, answers[0] if answers else "response", problems)
    if "instruction" in values or "output" in values:
        return _instruction(row, problems)
    expected = "messages, or prompt and response or completion, or instruction and output"
    problems.append(problem(where, "columns", sorted(values), expected))
    return None


def has_columns(source: str, rows: list[Row], choices: list[set[str]], problems: Problems) -> bool:
    """Whether a file has one of the sets of columns; if not, one problem for the whole file."""
    names = {name for _, values in rows for name in values}
    if not rows or any(choice <= names for choice in choices):
        return bool(rows)
    wanted = ", or ".join(" and ".join(sorted(choice)) for choice in choices)
    shown = ", ".join(sorted(names)) or "none of them"
    problems.append(f"{source}: missing columns: found {shown}, expected {wanted}")
    return False


def read_sft(source: str, problems: Problems) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of seeds/sft.parquet, and every user text, folded, with where it stands."""
    choices = [
        {"messages"},
        {"prompt", "response"},
        {"prompt", "completion"},
        {"instruction", "output"},
    ]
    table: dict[tuple[str, str], dict[str, Any]] = {}
    texts: dict[str, str] = {}
    rows = read_rows(source, SFT_COLUMNS, problems)
    if not has_columns(source, rows, choices, problems):
        rows = []
    for row in rows:
        pair = sft_pair(row, problems)
        if pair is None:
            continue
        prompt, completion = pair
        for message in prompt:
            if message["role"] == "user":
                texts.setdefault(folded(message["content"]), row[0])
        prompt_id = content_id("prompt", prompt_key(prompt))
        key = prompt_id, content_id("response", prompt_id, completion[0]["content"])
        if key in table:
            print(f"{row[0]}: left out, an earlier row is the same")
        table[key] = {"prompt_id": prompt_id, "prompt": prompt, "completion": completion}
    return [table[key] for key in sorted(table)], texts


def read_judge(
    source: str, scale: list[float], problems: Problems
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of the judge's labels, and every prompt, folded, with where it stands."""
    before = len(problems)
    texts: dict[str, str] = {}
    labels: dict[tuple[str, str], tuple[str, str, list[float]]] = {}
    rows = read_rows(source, JUDGE_COLUMNS, problems)
    if not has_columns(source, rows, [JUDGE_COLUMNS], problems):
        rows = []
    for row in rows:
        prompt = take_text(row, "prompt", problems)
        response = take_text(row, "response", problems)
        score = take_score(row, scale, problems)
        if prompt is None or response is None or score is None:
            continue
        texts.setdefault(folded(prompt), row[0])
        prompt_id = content_id("prompt", prompt)
        key = prompt_id, content_id("response", prompt_id, response)
        labels.setdefault(key, (prompt, response, []))[2].append(score)
    if rows and len(problems) == before and len(texts) < 2:
        problems.append(f"{source}: found {len(texts)} judged prompt, expected at least 2 (one is held out)")
    table = [
        {
            "prompt_id": key[0],
            "response_id": key[1],
            "annotator": annotator,
            "prompt": prompt,
            "response": response,
            "score": score,
        }
        for key, (prompt, response, scores) in sorted(labels.items())
        # Annotators have no names here: the order of their scores does not depend on the file's.
        for annotator, score in enumerate(sorted(scores))
    ]
    return table, texts


def _checks(row: Row, problems: Problems) -> str | None:
    """The checks of an evaluation row as canonical JSON text."""
    where, values = row
    given = values.get("checks", [])
    checks = _loads(given)
    if isinstance(checks, list):
        # A table's column of structs gives every check the keys of all checks, most of them null.
        checks = [
            {k: v for k, v in check.items() if v is not None} if isinstance(check, dict) else check
            for check in checks
        ]
    faults = validate_checks(checks)
    text = json.dumps(checks, sort_keys=True, ensure_ascii=False, default=str)
    if not faults and (text_fault(text) or "\\u0000" in text):
        faults = [f"{text_fault(text) or 'text without NUL characters'}"]
    if faults:
        expected = f"a list of checks ({'; '.join(faults)})"
        problems.append(problem(where, "checks", given, expected))
        return None
    return text


def read_benchmark(
    name: str, source: str, seeds: list[dict[str, str]], problems: Problems
) -> list[dict[str, Any]]:
    """Rows of one benchmark; `seeds` are the folded texts of the seeds, with their places."""
    table: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    rows = read_rows(source, EVAL_COLUMNS, problems)
    if not has_columns(source, rows, [{"prompt"}], problems):
        rows = []
    for row in rows:
        where, values = row
        prompt = take_text(row, "prompt", problems)
        optional: dict[str, str | None] = {}
        for column in ("category", "reference"):
            optional[column] = take_text(row, column, problems) if column in values else None
        checks = _checks(row, problems)
        if prompt is None or checks is None:
            continue
        _check_leak(where, prompt, seeds, problems)
        prompt_id = content_id("prompt", prompt)
        made = {
            "benchmark": name,
            "prompt_id": prompt_id,
            "prompt": prompt,
            "checks": checks,
            **optional,
        }
        if prompt_id in table and table[prompt_id] != made:
            expected = f"prompts that differ ({places[prompt_id]} has it with other values)"
            problems.append(problem(where, "prompt", prompt, expected))
        elif prompt_id in table:
            print(f"{where}: left out, {places[prompt_id]} is the same")
        else:
            table[prompt_id], places[prompt_id] = made, where
    return [table[key] for key in sorted(table)]


def read_pairs(source: str, seeds: list[dict[str, str]], problems: Problems) -> list[dict[str, Any]]:
    """Rows of the judge benchmark: a prompt with a better and a worse response."""
    table: dict[tuple[str, str, str], dict[str, Any]] = {}
    rows = read_rows(source, PAIR_COLUMNS, problems)
    if not has_columns(source, rows, [PAIR_COLUMNS], problems):
        rows = []
    for row in rows:
        prompt, chosen, rejected = (
            take_text(row, column, problems) for column in ("prompt", "chosen", "rejected")
        )
        if prompt is None or chosen is None or rejected is None:
            continue
        if chosen == rejected:
            problems.append(problem(row[0], "rejected", rejected, "another text than chosen"))
        _check_leak(row[0], prompt, seeds, problems)
        prompt_id = content_id("prompt", prompt)
        made = {"prompt_id": prompt_id, "prompt": prompt, "chosen": chosen, "rejected": rejected}
        table[prompt_id, chosen, rejected] = made
    return [table[key] for key in sorted(table)]


def _check_leak(where: str, prompt: str, seeds: list[dict[str, str]], problems: Problems) -> None:
    """Note a prompt that is there to measure and also stands in the seeds."""
    key = folded(prompt)
    for texts in seeds:
        if key in texts:
            expected = f"a prompt that is not in the seeds (it is in {texts[key]})"
            problems.append(problem(where, "prompt", prompt, expected))


# the split


def heldout_prompts(rows: list[dict[str, Any]], fraction: float, seed: int) -> set[str]:
    """Ids of the judged prompts that are kept from training.

    The prompts with the lowest hashes: round(fraction * prompts) of them, at least 1, and at least
    1 is left for training. Prompts that differ only in case or white space stay on one side and
    count as one.
    """
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(folded(row["prompt"]), set()).add(row["prompt_id"])
    ordered = sorted(groups.values(), key=lambda ids: hashed_int("heldout", seed, min(ids)))
    count = min(max(round(fraction * len(ordered)), 1), len(ordered) - 1)
    return {prompt_id for ids in ordered[:count] for prompt_id in ids}


def split_judge(
    rows: list[dict[str, Any]], fraction: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The judge's labels to train on and those to measure it on, split by prompt."""
    heldout = heldout_prompts(rows, fraction, seed)
    training = [row for row in rows if row["prompt_id"] not in heldout]
    return training, [row for row in rows if row["prompt_id"] in heldout]


def main(
    sft_table: str | Path,
    judge_table: str | Path,
    heldout_table: str | Path,
    pair_table: str | Path,
    eval_table: str | Path,
    *,
    seed: int,
    sft: str,
    judge: str,
    scale: list[float],
    heldout_fraction: float,
    judge_benchmark: str | None,
    benchmarks: dict[str, str],
) -> None:
    """Read every seed file, check all of them, then write the tables.

    Raises:
        InputError: lists every fault of every file.
    """
    problems: Problems = []
    sft_rows, sft_texts = read_sft(sft, problems)
    judge_rows, judge_texts = read_judge(judge, scale, problems)
    seeds = [sft_texts, judge_texts]
    eval_rows = [
        row for name in sorted(benchmarks) for row in read_benchmark(name, benchmarks[name], seeds, problems)
    ]
    # A judge is trained on its labels' prompts, so a pair with one of them measures nothing.
    pairs = read_pairs(judge_benchmark, [judge_texts], problems) if judge_benchmark else []
    fail_with(problems, "the seeds cannot be used; nothing was written:")

    training, heldout = split_judge(judge_rows, heldout_fraction, seed)
    write_table(sft_table, "sft", sft_rows)
    write_table(judge_table, "judge", training)
    write_table(heldout_table, "judge", heldout)
    write_table(pair_table, "judge_pair", pairs)
    write_table(eval_table, "eval", eval_rows)
    print(
        f"{len(sft_rows)} SFT pairs ({len({user_text(row['prompt']) for row in sft_rows})} prompts); "
        f"{len(training)} judge labels of {len({row['prompt_id'] for row in training})} prompts, "
        f"{len(heldout)} held out of {len({row['prompt_id'] for row in heldout})}; "
        f"{len(eval_rows)} evaluation prompts, {len(pairs)} judge benchmark pairs"
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.output.sft,
            snakemake.output.judge,
            snakemake.output.judge_heldout,
            snakemake.output.judge_benchmark,
            snakemake.output.eval,
            **config,
        )
