"""Sample several responses to evaluation prompts with checks, to see what the judge's choice is worth.

Reads:
    models/{evaluation.selection.checkpoint}/: an SFT checkpoint.
    seeds/eval.parquet: benchmark, prompt_id, prompt, checks (JSON).
Writes:
    evaluation/selection/responses.parquet: prompt_id, response_id, checkpoint, sample (index 0..N-1 of the
    prompt), seed, response, finish_reason, tokens (int), prompt, benchmark. Empty where no prompt has checks.
    Prompts that are too long for engine.max_model_len are none of them (`alma.fitting`).
Params:
    seed, engine, checkpoint, benchmark_name (null for all), prompts_used (how many prompts, at most),
    samples (N), temperature, top_p, max_tokens: as the rounds sample.
"""

from pathlib import Path
from typing import Any

from alma.checked_prompts import checked_prompts
from alma.ids import content_id, request_seed

DOMAIN = "selection"  # in the place of the round, in seeds and ids


def main(
    model: str | Path,
    prompts: str | Path,
    responses: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    checkpoint: str,
    benchmark_name: str | None,
    prompts_used: int,
    samples: int,
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> None:
    """Sample and write `samples` responses per prompt, prompt by prompt, so that a prefix is cached."""
    from alma.chat_template import prompt_ids
    from alma.engine import Request, open_engine
    from alma.fitting import EvaluationLengths
    from alma.tables import read_table, user, write_table
    from alma.tokenizer import load_tokenizer

    asked = read_table(prompts, "eval")
    chosen = checked_prompts(asked, benchmark_name, len(asked), seed) if prompts_used else []
    if chosen:
        lengths = EvaluationLengths(load_tokenizer(Path(model)), max_tokens)
        chosen = lengths.fitting(chosen, engine["max_model_len"])[:prompts_used]
    plan = [
        {
            **{key: row[key] for key in ("prompt_id", "prompt", "benchmark")},
            "response_id": content_id(DOMAIN, checkpoint, row["prompt_id"], sample),
            "checkpoint": checkpoint,
            "sample": sample,
            "seed": request_seed(seed, DOMAIN, checkpoint, row["prompt_id"], sample),
        }
        for row in chosen
        for sample in range(samples)
    ]
    print(f"{len(chosen)} prompts with checks, {samples} responses to each")
    rows: list[dict[str, Any]] = []
    if plan:
        llm = open_engine(model, engine)
        ids = {row["prompt_id"]: prompt_ids(llm.tokenizer, user(row["prompt"])) for row in chosen}
        requests = [
            Request(ids[row["prompt_id"]], row["seed"], temperature, top_p, max_tokens) for row in plan
        ]
        done = llm.generate(requests, f"sampling {checkpoint}")
        rows = [
            row
            | {
                "response": completion.text.strip(),
                "finish_reason": completion.finish_reason,
                "tokens": completion.tokens,
            }
            for row, completion in zip(plan, done, strict=True)
        ]
    write_table(responses, "selection_response", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.output.responses,
            **config,
        )
