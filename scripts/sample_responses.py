"""Sample responses to the prompts of one shard, from one checkpoint, for one block of samples.

Reads:
    models/{checkpoint}/: the checkpoint to sample.
    rounds/{round}/prompts/{shard}.parquet: prompt_id, prompt.
Writes:
    rounds/{round}/samples/{checkpoint}/{shard}-{block}.parquet: prompt_id, response_id,
    checkpoint, sample (index 0..N-1 of the prompt), seed, response, finish_reason, tokens (int).
Params:
    seed, engine, round_, checkpoint, samples (the sample indices of this file), temperature,
    top_p, max_tokens.
"""

from pathlib import Path
from typing import Any

from alma.ids import content_id, request_seed


def plan_requests(
    prompts: list[dict[str, Any]], samples: list[int], seed: int, round_: int, checkpoint: str
) -> list[dict[str, Any]]:
    """One row a (prompt, sample) with its seed, prompt by prompt, so that a prefix is cached."""
    return [
        {
            "prompt_id": prompt["prompt_id"],
            "checkpoint": checkpoint,
            "sample": sample,
            "seed": request_seed(seed, round_, checkpoint, prompt["prompt_id"], sample),
        }
        for prompt in prompts
        for sample in samples
    ]


def main(
    model: str | Path,
    prompts: str | Path,
    responses: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    round_: int,
    checkpoint: str,
    samples: list[int],
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> None:
    """Sample `len(samples)` responses per prompt and write them in the order of the prompts."""
    from alma.chat_template import prompt_ids
    from alma.engine import Request, open_engine
    from alma.tables import read_table, user, write_table

    prompt_rows = read_table(prompts, "round_prompt")
    plan = plan_requests(prompt_rows, samples, seed, round_, checkpoint)
    rows: list[dict[str, Any]] = []
    if plan:
        llm = open_engine(model, engine)
        ids = {r["prompt_id"]: prompt_ids(llm.tokenizer, user(r["prompt"])) for r in prompt_rows}
        requests = [
            Request(ids[row["prompt_id"]], row["seed"], temperature, top_p, max_tokens) for row in plan
        ]
        for row, done in zip(plan, llm.generate(requests, f"sampling {checkpoint}"), strict=True):
            response_id = content_id("sample", round_, checkpoint, row["prompt_id"], row["sample"])
            rows.append(
                row
                | {
                    "response_id": response_id,
                    "response": done.text.strip(),
                    "finish_reason": done.finish_reason,
                    "tokens": done.tokens,
                }
            )
    write_table(responses, "response", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.output.responses,
            **config,
        )
