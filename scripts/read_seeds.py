"""Read, check and sort what humans wrote: the SFT pairs, the judge's labels, the evaluation prompts.

Reads (JSONL, JSON, CSV, Parquet or `hub:OWNER/NAME@REVISION[:SPLIT]`; all text is str). sft, judge,
judge_benchmark and benchmarks may name a public set before their source (`alma.label_sets`):
    sft: `messages`; or `prompt` and `response` or `completion`; or `instruction` (and `input`) and
        `output`. `messages`, and `prompt` and `completion` too, may be lists of {role, content}. Optional:
        category (any other value than a text counts as none).
    judge: prompt or messages (a conversation that ends with the user's), response, score (float on `scale`);
        equal prompt and response: several annotators. The judge reads a conversation as one text
        (`alma.turns.transcript`).
    annotations: the same, scores on 0-10 (tools/import_labels writes such files).
    benchmarks: prompt, or messages (list of {role, content} that ends with the user's; `alma.turns`);
        optional category, reference, checks (list of checks, or its JSON text; not beside several messages).
    judge_benchmark (optional): prompt or messages, chosen, rejected.
Writes (schemas in `alma.tables`; scores float64 on 0-10; rows sorted by id, so that the order of the
seeds changes no byte):
    seeds/sft.parquet, seeds/judge.parquet, seeds/judge_heldout.parquet, seeds/eval.parquet,
    seeds/judge_benchmark.parquet (no rows where there is no judge benchmark),
    seeds/eval_turns.parquet (messages of the evaluation prompts that are conversations, mostly none),
    seeds/judge_prompts.parquet (the prompts of `judge`, which no new prompt may overlap; those of
    `annotations` are not among them: most are new prompts of an earlier run, which would then change).
Params: seed (int), sft, judge, judge_benchmark (sources; the last may be None), annotations (sources),
    scale ([low, high] of the scores of `judge`), heldout_fraction (share of the judged prompts of each
    source), benchmarks ({name: source}), max_bad_rows (share of the rows of a file, 0-1, that may be of no
    use: they are left out and counted, `alma.faulty_rows`).

Nothing is written before everything is checked; every fault of every file is in one message.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alma.agreement import agreement
from alma.duplicates import folded
from alma.errors import fail_with, problem
from alma.faulty_rows import settle
from alma.ids import content_id, hashed_int
from alma.label_sets.purposes import purpose_of
from alma.label_sets.registry import read_set, split_set
from alma.label_summary import (
    SourceCount,
    evaluation_lines,
    judge_lines,
    plan_lines,
    sft_lines,
    source_lines,
)
from alma.seed_formats import Row, read_rows
from alma.seed_rows import (
    Problems,
    prompt_key,
    sft_pair,
    take_asked,
    take_checks,
    take_optional,
    take_score,
    take_text,
)
from alma.tables import write_table
from alma.turns import Messages, transcript

SFT_COLUMNS = {"messages", "prompt", "response", "completion", "instruction", "input", "output", "category"}
JUDGE_COLUMNS = {"prompt", "messages", "response", "score"}
EVAL_COLUMNS = {"prompt", "messages", "category", "reference", "checks"}
PAIR_COLUMNS = {"prompt", "messages", "chosen", "rejected"}
ANNOTATION_SCALE = [0.0, 10.0]  # what annotators are asked for (`alma.judging.RUBRIC`)

JUDGE_NEEDED: list[tuple[str, ...]] = [("prompt", "response", "score"), ("messages", "response", "score")]
EVAL_NEEDED: list[tuple[str, ...]] = [("prompt",), ("messages",)]
PAIR_NEEDED: list[tuple[str, ...]] = [("prompt", "chosen", "rejected"), ("messages", "chosen", "rejected")]
SFT_NEEDED: list[tuple[str, ...]] = [
    ("messages",),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("instruction", "output"),
]


Counts = list[SourceCount]
SAME = "an earlier row is the same"
IN_SEEDS = "the prompt is in the labels"
_MAX_NOTES = 5  # of each kind and file: a real set can have thousands of rows twice
_RESAMPLES = 1000  # of the bootstrap of the annotators' agreement, as in the other tables of intervals


def note_same(count: SourceCount, notes: list[str]) -> None:
    """Count rows that are left out because an earlier one is the same, and name the first of them."""
    if notes:
        count.left_out[SAME] += len(notes)
    for note in notes[:_MAX_NOTES]:
        print(note)


def label_rows(
    key: str,
    source: str,
    columns: set[str],
    needed: list[tuple[str, ...]],
    problems: Problems,
    counts: Counts,
) -> tuple[list[Row], bool, SourceCount]:
    """Rows of a source, whether they are of a public set (`alma.label_sets`), and their count.

    Args:
        key: config key that the source stands in.
        counts: where the count is added.
    """
    count = SourceCount(key, source)
    counts.append(count)
    name, place = split_set(source) if purpose_of(key) else (None, source)
    if name is not None:
        return read_set(name, place, key, problems, count), True, count
    rows = read_rows(source, columns, problems, needed)
    count.rows = len(rows)
    return rows, False, count


def read_sft(
    source: str, problems: Problems, counts: Counts, max_bad: float
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of seeds/sft.parquet, and every user text, folded, with where it stands."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    texts: dict[str, str] = {}
    same: list[str] = []
    faults: Problems = []
    rows, _, count = label_rows("labels.sft", source, SFT_COLUMNS, SFT_NEEDED, faults, counts)
    for row in rows:
        pair = sft_pair(row, faults)
        if pair is None:
            continue
        prompt, completion = pair
        for message in prompt:
            if message["role"] == "user":
                texts.setdefault(folded(message["content"]), row.where)
        prompt_id = content_id("prompt", prompt_key(prompt))
        key = prompt_id, content_id("response", prompt_id, completion[0]["content"])
        if key in table:
            same.append(f"{row.where}: left out, an earlier row is the same")
        # Nothing else needs a category, so a faulty one refuses no file; of two, the order decides nothing.
        found = [take_optional(row, "category", []), table.get(key, {}).get("category")]
        category = min((name for name in found if name), default=None)
        table[key] = {
            "prompt_id": prompt_id,
            "prompt": prompt,
            "completion": completion,
            "category": category,
        }
    settle(faults, count, max_bad, problems)
    note_same(count, same)
    return [table[key] for key in sorted(table)], texts


def first_question(messages: Messages) -> str:
    """The user's first message: what a conversation is about. A later one ("Go on.") says little."""
    return next(message["content"] for message in messages if message["role"] == "user")


class Judged(NamedTuple):
    """The judge's labels: the rows of the `judge` table, and what is known of their prompts by prompt_id.

    Args:
        texts: every prompt and first question, folded, with where it stands. source: number of the first
            source that has the prompt: 0 is `labels.judge`, the others are the annotations in their order.
        question: the first question, folded; of a prompt of one message the prompt.
    """

    rows: list[dict[str, Any]]
    texts: dict[str, str]
    source: dict[str, int]
    question: dict[str, str]


def read_judge(
    source: str,
    scale: list[float],
    problems: Problems,
    counts: Counts,
    max_bad: float,
    annotations: Sequence[str] = (),
) -> Judged:
    """The judge's labels of `source` and of `annotations`."""
    texts: dict[str, str] = {}
    first: dict[str, int] = {}
    question: dict[str, str] = {}
    labels: dict[tuple[str, str], tuple[str, str, list[float]]] = {}
    sources = [(source, scale, "judge.scale"), *((s, ANNOTATION_SCALE, "annotations") for s in annotations)]
    for number, (place, its_scale, key_of_scale) in enumerate(sources):
        before = len(problems)
        name = f"labels.annotations.{number - 1}" if number else "labels.judge"
        faults: Problems = []
        rows, of_set, count = label_rows(name, place, JUDGE_COLUMNS, JUDGE_NEEDED, faults, counts)
        its_scale = [0, 10] if of_set else its_scale  # a reader of a public set maps its scores itself
        for row in rows:
            messages = take_asked(row, faults, rated=True)
            response = take_text(row, "response", faults)
            score = take_score(row, its_scale, faults, key_of_scale)
            if messages is None or response is None or score is None:
                continue
            prompt, opened = transcript(messages), folded(first_question(messages))
            for text in (folded(prompt), opened):
                texts.setdefault(text, row.where)
            prompt_id = content_id("prompt", prompt)
            first.setdefault(prompt_id, number)
            question[prompt_id] = opened
            key = prompt_id, content_id("response", prompt_id, response)
            labels.setdefault(key, (prompt, response, []))[2].append(score)
        settle(faults, count, max_bad, problems)
        different = len(set(question.values()))
        if number == 0 and rows and len(problems) == before and different < 2:
            problems.append(
                f"{place}: found {different} judged prompt, expected at least 2 that begin with different "
                "questions (one is held out)"
            )
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
    return Judged(table, texts, first, question)


def read_benchmark(
    name: str,
    source: str,
    seeds: list[dict[str, str]],
    problems: Problems,
    counts: Counts,
    max_bad: float,
) -> tuple[list[dict[str, Any]], dict[str, Messages]]:
    """Rows of one benchmark, and the messages of those that are conversations, by prompt_id.

    Args:
        seeds: folded texts of the seeds, with their places. Of a conversation the first message of the user
            must be new: a later one, such as "Go on.", says little alone.
    """
    table: dict[str, dict[str, Any]] = {}
    turns: dict[str, Messages] = {}
    places: dict[str, str] = {}
    same: list[str] = []
    faults: Problems = []
    key = f"evaluation.benchmarks.{name}"
    rows, of_set, count = label_rows(key, source, EVAL_COLUMNS, EVAL_NEEDED, faults, counts)
    for row in rows:
        where, before = row.where, len(faults)
        messages = take_asked(row, faults)
        optional = {column: take_optional(row, column, faults) for column in ("category", "reference")}
        checks = take_checks(row, faults)
        if messages is not None:
            first = first_question(messages)
            if of_set and any(folded(first) in texts for texts in seeds):
                count.left_out[IN_SEEDS] += 1
                continue
            _check_leak(where, first, seeds, faults)
            if len(messages) > 1 and checks not in (None, "[]"):
                expected = "none beside several messages, whose answers only judges look at"
                faults.append(problem(where, "checks", row.values["checks"], expected))
        if messages is None or checks is None or len(faults) > before:
            continue
        prompt_id = content_id("prompt", prompt_key(messages))
        prompt = transcript(messages)
        made = {
            "benchmark": name,
            "prompt_id": prompt_id,
            "prompt": prompt,
            "checks": checks,
            **optional,
        }
        if prompt_id in table and table[prompt_id] != made:
            expected = f"prompts that differ ({places[prompt_id]} has it with other values)"
            faults.append(problem(where, "prompt", prompt, expected))
        elif prompt_id in table:
            same.append(f"{where}: left out, {places[prompt_id]} is the same")
        else:
            table[prompt_id], places[prompt_id] = made, where
            if len(messages) > 1:
                turns[prompt_id] = messages
    if rows and not table and not faults:
        faults.append(f"{source}: found no prompt that is not in the labels, expected at least one")
    settle(faults, count, max_bad, problems)
    note_same(count, same)
    return [table[key] for key in sorted(table)], turns


def read_pairs(
    source: str, seeds: list[dict[str, str]], problems: Problems, counts: Counts, max_bad: float
) -> list[dict[str, Any]]:
    """Rows of the judge benchmark: a prompt with a better and a worse response."""
    table: dict[tuple[str, str, str], dict[str, Any]] = {}
    faults: Problems = []
    key = "judge.benchmark"
    rows, of_set, count = label_rows(key, source, PAIR_COLUMNS, PAIR_NEEDED, faults, counts)
    for row in rows:
        before = len(faults)
        messages = take_asked(row, faults, rated=True)
        chosen, rejected = (take_text(row, column, faults) for column in ("chosen", "rejected"))
        if messages is None or chosen is None or rejected is None:
            continue
        if chosen == rejected:
            faults.append(problem(row.where, "rejected", rejected, "another text than chosen"))
        prompt, first = transcript(messages), first_question(messages)
        if of_set and any(folded(first) in texts for texts in seeds):
            count.left_out["the prompt is in labels.judge"] += 1
            continue
        _check_leak(row.where, first, seeds, faults)
        if len(faults) > before:
            continue
        prompt_id = content_id("prompt", prompt)
        made = {"prompt_id": prompt_id, "prompt": prompt, "chosen": chosen, "rejected": rejected}
        if (prompt_id, chosen, rejected) in table:
            count.left_out[SAME] += 1
        table[prompt_id, chosen, rejected] = made
    settle(faults, count, max_bad, problems)
    return [table[key] for key in sorted(table)]


def _check_leak(where: str, prompt: str, seeds: list[dict[str, str]], problems: Problems) -> None:
    """Note a prompt that is there to measure and also stands in the seeds."""
    key = folded(prompt)
    for texts in seeds:
        if key in texts:
            expected = f"a prompt that is not in the seeds (it is in {texts[key]})"
            problems.append(problem(where, "prompt", prompt, expected))


# the split


def heldout_prompts(
    rows: list[dict[str, Any]], question: dict[str, str], fraction: float, seed: int
) -> set[str]:
    """First questions, folded, of the judged prompts that are kept from training.

    Those with the lowest hashes: round(fraction * questions) of them, at least 1 where there are several,
    and at least 1 is left for training. Prompts that differ only in case or white space stay on one side
    and count as one, and so do conversations that begin with the same question.
    """
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(question[row["prompt_id"]], set()).add(row["prompt_id"])
    ordered = sorted(groups, key=lambda text: hashed_int("heldout", seed, min(groups[text])))
    count = min(max(round(fraction * len(ordered)), 1), len(ordered) - 1)
    return set(ordered[:count])


def split_judge(
    judged: Judged, fraction: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The judge's labels to train on and those to measure it on, split by first question.

    Each source is split by itself, so a new file of annotations moves no prompt of the others to the other
    side: the judges before and after it are measured on the same held-out prompts, and on new ones.
    """
    rows, _, source, question = judged
    heldout: set[str] = set()
    seen: set[str] = set()
    for number in sorted(set(source.values())):
        own = [
            row
            for row in rows
            if source[row["prompt_id"]] == number and question[row["prompt_id"]] not in seen
        ]
        heldout |= heldout_prompts(own, question, fraction, seed)
        seen |= {question[row["prompt_id"]] for row in own}
    training = [row for row in rows if question[row["prompt_id"]] not in heldout]
    return training, [row for row in rows if question[row["prompt_id"]] in heldout]


def main(
    sft_table: str | Path,
    judge_table: str | Path,
    heldout_table: str | Path,
    pair_table: str | Path,
    eval_table: str | Path,
    turns_table: str | Path,
    prompt_table: str | Path,
    *,
    seed: int,
    sft: str,
    judge: str,
    scale: list[float],
    heldout_fraction: float,
    judge_benchmark: str | None,
    benchmarks: dict[str, str],
    max_bad_rows: float,
    annotations: Sequence[str] = (),
    plan: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Read every seed file, check all of them, then write the tables.

    Args:
        plan: settings of what the run does with the labels, for the summary (`alma.label_summary`).
        say: prints the summary.

    Raises:
        InputError: lists every fault of every file.
    """
    problems: Problems = []
    counts: Counts = []
    sft_rows, sft_texts = read_sft(sft, problems, counts, max_bad_rows)
    judged = read_judge(judge, scale, problems, counts, max_bad_rows, annotations)
    judge_rows = judged.rows
    seeds = [sft_texts, judged.texts]
    eval_rows: list[dict[str, Any]] = []
    turns: dict[str, Messages] = {}
    for name in sorted(benchmarks):
        of_benchmark = read_benchmark(name, benchmarks[name], seeds, problems, counts, max_bad_rows)
        eval_rows += of_benchmark[0]
        turns |= of_benchmark[1]
    # A judge is trained on its labels' prompts, so a pair with one of them measures nothing.
    pairs = (
        read_pairs(judge_benchmark, [judged.texts], problems, counts, max_bad_rows) if judge_benchmark else []
    )
    fail_with(problems, "the seeds cannot be used; nothing was written:")

    training, heldout = split_judge(judged, heldout_fraction, seed)
    own = {row["prompt_id"]: row["prompt"] for row in judge_rows if judged.source[row["prompt_id"]] == 0}
    write_table(sft_table, "sft", sft_rows)
    write_table(judge_table, "judge", training)
    write_table(heldout_table, "judge", heldout)
    write_table(pair_table, "judge_pair", pairs)
    write_table(eval_table, "eval", eval_rows)
    write_table(turns_table, "turns", [{"prompt_id": i, "messages": turns[i]} for i in sorted(turns)])
    write_table(prompt_table, "seed_prompt", [{"prompt_id": i, "prompt": own[i]} for i in sorted(own)])
    ratings: dict[tuple[str, str], list[float]] = {}
    for row in judge_rows:
        ratings.setdefault((row["prompt_id"], row["response_id"]), []).append(row["score"])
    lines = [
        *source_lines(counts),
        *sft_lines(sft_rows),
        *judge_lines(training, heldout, agreement({**ratings}, _RESAMPLES, seed)),
        *evaluation_lines(eval_rows, pairs, set(turns)),
        *(plan_lines(sft_rows, training, plan) if plan else []),
    ]
    say("\n".join(lines))


if "snakemake" in globals():
    from alma.workflow.job import job, tell

    with job(snakemake) as config:
        main(
            snakemake.output.sft,
            snakemake.output.judge,
            snakemake.output.judge_heldout,
            snakemake.output.judge_benchmark,
            snakemake.output.eval,
            snakemake.output.eval_turns,
            snakemake.output.judge_prompts,
            **config,
            say=tell,
        )
