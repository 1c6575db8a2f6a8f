"""Ask an OpenAI-compatible endpoint about one checkpoint's evaluation responses.

Reads:
    seeds/eval.parquet: benchmark, prompt_id, prompt, reference.
    evaluation/responses/{checkpoint}/{benchmark}.parquet: responses; to conversations the last answer and
    the messages before it (`alma.turns`).
    the same of the checkpoint that responses are compared with, or evaluation/reference/{benchmark}.parquet.
Writes:
    evaluation/judges/api/{judge}/{writer}/{benchmark}.parquet: a `judged` table (`alma.outside_judges`),
    sorted by prompt and question.
    .cache/judges/ (or the folder `judges` of $ALMA_CACHE): answers by the hash of their request, for all
    jobs.
Params:
    seed (of the main run), judge (name), benchmark_name, reference (name of the checkpoint), asks (list of
    pair and score), prompts (most prompts, or null), model, base_url, temperature and max_tokens (null: not
    sent), body (more keys of the request). Not compared: api_key_env, max_retries, concurrency, timeout,
    max_unreadable.

An equal text is a draw and an empty one loses, or is rated 0, without a question.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from alma.api_judge import OPENAI, Answer, AnswerCache, Endpoint, ask_all, cache_path, request_body
from alma.errors import InputError
from alma.outside_judges import (
    FIRST,
    SCORE,
    SECOND,
    asked_prompts,
    judged_row,
    question_text,
    read_value,
    turns_text,
)

Row = dict[str, Any]

UNCLEAR = {
    SCORE: "no rating in the answer",
    FIRST: "no verdict in the answer",
    SECOND: "no verdict in the answer",
}


def without_question(response: Row, other: Row | None) -> float | None:
    """Value of a response that needs no judge, None for any other; `other` is the reference's, None for a
    score.

    An equal text is a draw, unless it ends conversations that went on in different ways.
    """
    blank = not response["response"].strip()
    equal = other is not None and response["response"] == other["response"]
    if other is not None and equal and (blank or response["messages"] == other["messages"]):
        return 0.5
    if blank:
        return 0.0
    return 1.0 if other is not None and not other["response"].strip() else None


def asked_text(asked: Row, response: Row, other: Row | None, question: str) -> str:
    """What the endpoint is asked about a response.

    Args:
        asked: row of the `eval` table.
        other: the reference's response, for a game.
        question: score, first or second.
    """
    if response["messages"]:
        theirs = None if other is None else (other["response"], other["messages"])
        mine = response["response"], response["messages"]
        return turns_text(asked["reference"], *mine, theirs, swap=question == SECOND)
    texts = [response["response"], *([] if other is None else [other["response"]])]
    shown = reversed(texts) if question == SECOND else texts
    return question_text(asked["prompt"], asked["reference"], *shown)


def with_answer(row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """A row with what the endpoint answered, and its value or the name of the problem."""
    value = None if answer.text is None else read_value(answer.text, row["question"])
    problem = None if value is not None else answer.problem or UNCLEAR[row["question"]]
    counts = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
    return row | {"value": value, "problem": problem, "answer": answer.text, **counts}


def check_readable(name: str, rows: list[dict[str, Any]], most: float) -> None:
    """Count what has no value, by problem.

    Raises:
        InputError: it is more than the share `most` of the rows.
    """
    problems = Counter(row["problem"] for row in rows if row["problem"])
    counts = ", ".join(f"{count} x {problem}" for problem, count in problems.most_common())
    print(
        f"{name}: {len(rows)} questions, {problems.total()} without a value{f' ({counts})' if counts else ''}"
    )
    if problems.total() > most * len(rows):
        shown = next((row["answer"] for row in rows if row["problem"] and row["answer"]), None)
        example = f"\n  One such answer ends: {shown[-200:]!r}" if shown else ""
        raise InputError(
            f"{name}: {problems.total()} of {len(rows)} questions have no readable answer ({counts}), "
            f"expected at most {most:.0%} (max_unreadable).{example}"
        )


def main(
    prompts: str | Path,
    responses: str | Path,
    reference_responses: str | Path | None,
    judged: str | Path,
    *,
    seed: int,
    judge: str,
    benchmark_name: str,
    reference: str,
    asks: list[str],
    prompts_asked: int | None,
    model: str,
    base_url: str | None,
    temperature: float | None,
    max_tokens: int | None,
    body: dict[str, Any],
    api_key_env: str | None,
    max_retries: int,
    concurrency: int,
    timeout: float,
    max_unreadable: float,
) -> None:
    """Ask about the responses to the chosen prompts; a checkpoint is not compared with itself.

    Raises:
        InputError: the endpoint cannot be asked, or too many answers cannot be read.
    """
    from alma.tables import read_table, write_table
    from alma.turns import read_responses

    rows = read_responses(responses)
    asked = {
        row["prompt_id"]: row for row in read_table(prompts, "eval") if row["benchmark"] == benchmark_name
    }
    chosen = asked_prompts([row["prompt_id"] for row in rows], prompts_asked, seed)
    others = {}
    if reference_responses is not None:
        others = {row["prompt_id"]: row for row in read_responses(reference_responses)}
    found: list[dict[str, Any]] = []
    texts: dict[int, str] = {}  # the question of a row of `found` that is asked
    for response in sorted(
        (row for row in rows if row["prompt_id"] in chosen), key=lambda row: row["prompt_id"]
    ):
        other = others.get(response["prompt_id"])
        if other is not None and (other["messages"] is None) != (response["messages"] is None):
            other = None  # a file of outputs has an answer to a conversation, and not what stood before it
        games = [FIRST, SECOND] if "pair" in asks and other is not None else []
        for question in [SCORE] * ("score" in asks) + games:
            facts: dict[str, Any] = {}
            against = None if question == SCORE else other
            if against is not None:
                facts = {"reference": reference, "reference_length": len(against["response"])}
            value = without_question(response, against)
            found.append(judged_row(judge, response, question, value=value, **facts))
            if value is None:
                text = asked_text(asked[response["prompt_id"]], response, against, question)
                texts[len(found) - 1] = text
    name = f"evaluation.judges.{judge}"
    endpoint = Endpoint(name, base_url or OPENAI, api_key_env, max_retries, concurrency, timeout)
    bodies = [request_body(text, model, temperature, max_tokens, body) for text in texts.values()]
    answers = ask_all(endpoint, bodies, AnswerCache(cache_path(judge)), max_unreadable, f"asking {judge}")
    for i, answer in zip(texts, answers, strict=True):
        found[i] = with_answer(found[i], answer)
    check_readable(name, found, max_unreadable)
    write_table(judged, "judged", found)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.prompts,
            snakemake.input.responses,
            next(iter(snakemake.input.reference), None),
            snakemake.output.judged,
            **config,
        )
