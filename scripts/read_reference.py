"""Read the responses that the run's own are compared with, from a file, for one benchmark.

Reads:
    source (JSONL, JSON, CSV, Parquet or `hub:OWNER/NAME@REVISION[:SPLIT]`): prompt and response; or
    instruction and output, as AlpacaEval's files have them.
    seeds/eval.parquet: benchmark, prompt_id, prompt, checks.
Writes:
    evaluation/reference/{benchmark}.parquet: an `evaluation_response` table, with the checkpoint
    `reference`, of the prompts that the file has; sorted by prompt. `tokens` is null.
Params: source, benchmark_name.
"""

import json
from pathlib import Path

from alma.checks import run_checks
from alma.errors import InputError, fail_with, problem
from alma.ids import content_id
from alma.outside_judges import REFERENCE
from alma.seed_formats import read_rows
from alma.seed_rows import Problems, take_text
from alma.tables import read_table, write_table

FORMS: list[tuple[str, ...]] = [("prompt", "response"), ("instruction", "output")]


def read_outputs(source: str) -> dict[str, str]:
    """Response of each prompt of a file; blank ones, with which nothing can be compared, are left out.

    Raises:
        InputError: lists every fault of the file; a prompt with two responses is one.
    """
    problems: Problems = []
    found: dict[str, str] = {}
    blank = 0
    rows = read_rows(source, {name for form in FORMS for name in form}, problems, FORMS)
    for row in rows:
        form = next((form for form in FORMS if form[0] in row.values), FORMS[0])
        if isinstance(text := row.values.get(form[1]), str) and not text.strip():
            blank += 1  # AlpacaEval's outputs of text_davinci_003 have two
            continue
        prompt, response = (take_text(row, name, problems) for name in form)
        if prompt is None or response is None:
            continue
        if found.setdefault(prompt, response) != response:
            problems.append(problem(row.where, form[0], prompt, "a prompt with one response"))
    if blank:
        print(f"{source}: left out {blank} of {len(rows)} rows without a response")
    fail_with(problems, "evaluation.reference cannot be used; nothing was written:")
    return found


def main(prompts: str | Path, responses: str | Path, *, source: str, benchmark_name: str) -> None:
    """Write the file's responses to the prompts of one benchmark.

    Raises:
        InputError: the file has faults, or none of the prompts.
    """
    outputs = read_outputs(source)
    asked = [row for row in read_table(prompts, "eval") if row["benchmark"] == benchmark_name]
    found = [
        {
            "prompt_id": row["prompt_id"],
            "response_id": content_id("evaluation", benchmark_name, REFERENCE, row["prompt_id"]),
            "checkpoint": REFERENCE,
            "sample": 0,
            "seed": 0,
            "response": text,
            "finish_reason": "stop",
            "tokens": None,
            "benchmark": benchmark_name,
            "passed": run_checks(json.loads(row["checks"]), text),
        }
        for row in sorted(asked, key=lambda row: row["prompt_id"])
        if (text := outputs.get(row["prompt"], "").strip())
    ]
    if not found:
        raise InputError(
            f"evaluation.reference: found {len(outputs)} prompts in {source} and none of the {len(asked)} "
            f"of the benchmark {benchmark_name}, expected its prompts, letter by letter"
        )
    print(f"{source} has responses to {len(found)} of the {len(asked)} prompts of {benchmark_name}")
    write_table(responses, "evaluation_response", found)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.prompts, snakemake.output.responses, **config)
