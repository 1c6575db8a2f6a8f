"""Answer the prompts of one benchmark with one checkpoint and run the programmatic checks.

Reads:
    models/{checkpoint}/: the checkpoint.
    seeds/eval.parquet: benchmark, prompt_id, prompt, checks (JSON).
    seeds/sft.parquet: seed pairs that the base model is shown as earlier turns.
Writes:
    evaluation/responses/{checkpoint}/{benchmark}.parquet: the response columns, benchmark, and
    passed (one bool per check of the prompt, in its order). A prompt that is too long for
    engine.max_model_len is left out, for every checkpoint (`alma.fitting`).
Params:
    seed, engine, checkpoint, benchmark_name, shots (seed pairs in context), temperature,
    max_tokens.
"""

import json
from pathlib import Path
from typing import Any

from alma.checks import run_checks
from alma.fewshot import as_turns
from alma.ids import content_id, request_seed


def passed_checks(checks: str, response: str) -> list[bool]:
    """Result of each check; an empty response passes none."""
    wanted = json.loads(checks)
    return run_checks(wanted, response) if response else [False] * len(wanted)


def main(
    model: str | Path,
    seeds: str | Path,
    prompts: str | Path,
    responses: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    checkpoint: str,
    benchmark_name: str,
    shots: int,
    temperature: float,
    max_tokens: int,
) -> None:
    """Sample one response per prompt of the benchmark and check it."""
    from alma.chat_template import prompt_ids
    from alma.engine import Request, open_engine
    from alma.fitting import EvaluationLengths, answer_examples, that_fit
    from alma.tables import read_table, user, write_table

    llm = open_engine(model, engine)
    limit = llm.max_model_len
    lengths = EvaluationLengths(llm.tokenizer, max_tokens)
    rows = [row for row in read_table(prompts, "eval") if row["benchmark"] == benchmark_name]
    rows = lengths.fitting(rows, limit)
    examples = answer_examples(llm.tokenizer, read_table(seeds, "sft"), shots, seed, limit)

    def turns(prompt: str) -> list[dict[str, str]]:
        """Examples and prompt: as many of the examples as fit before it."""
        shown = that_fit(examples, lambda some: lengths.of(prompt, some), limit)
        return [*as_turns(shown or []), *user(prompt)]

    seeds_of = [request_seed(seed, "evaluation", checkpoint, row["prompt_id"], 0) for row in rows]
    requests = [
        Request(
            prompt_ids(llm.tokenizer, turns(row["prompt"])),
            s,
            temperature,
            1.0,
            max_tokens,
        )
        for row, s in zip(rows, seeds_of, strict=True)
    ]
    done = llm.generate(requests, f"answering {benchmark_name} with {checkpoint}")
    found = []
    for row, request, completion in zip(rows, requests, done, strict=True):
        text = completion.text.strip()
        found.append(
            {
                "prompt_id": row["prompt_id"],
                "response_id": content_id("evaluation", benchmark_name, checkpoint, row["prompt_id"]),
                "checkpoint": checkpoint,
                "sample": 0,
                "seed": request.seed,
                "response": text,
                "finish_reason": completion.finish_reason,
                "tokens": completion.tokens,
                "benchmark": benchmark_name,
                "passed": passed_checks(row["checks"], text),
            }
        )
    write_table(responses, "evaluation_response", found)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.seeds,
            snakemake.input.prompts,
            snakemake.output.responses,
            **config,
        )
