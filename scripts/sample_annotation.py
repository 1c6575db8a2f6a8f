"""Sample the responses among which those to be rated are chosen.

Reads:
    models/{checkpoint}/: an SFT checkpoint, or the model of a round.
    annotation/prompts.parquet: prompt_id, prompt.
Writes:
    annotation/samples/{checkpoint}.parquet: prompt_id, response_id, checkpoint, sample (index 0..N-1 of the
    prompt), seed, response, finish_reason, tokens (int).
Params:
    seed, engine, checkpoint, samples (N), temperature, top_p, max_tokens: as the rounds sample.
"""

from pathlib import Path
from typing import Any

from alma.ids import content_id, request_seed

DOMAIN = "annotation"  # in the place of the round, in seeds and ids


def main(
    model: str | Path,
    prompts: str | Path,
    responses: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    checkpoint: str,
    samples: int,
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> None:
    """Sample and write `samples` responses per prompt, prompt by prompt, so that a prefix is cached."""
    from alma.chat_template import prompt_ids
    from alma.engine import Request, open_engine
    from alma.tables import read_table, user, write_table

    texts = {row["prompt_id"]: row["prompt"] for row in read_table(prompts, "seed_prompt")}
    plan = [
        {
            "prompt_id": prompt_id,
            "response_id": content_id(DOMAIN, checkpoint, prompt_id, sample),
            "checkpoint": checkpoint,
            "sample": sample,
            "seed": request_seed(seed, DOMAIN, checkpoint, prompt_id, sample),
        }
        for prompt_id in texts
        for sample in range(samples)
    ]
    llm = open_engine(model, engine)
    ids = {prompt_id: prompt_ids(llm.tokenizer, user(text)) for prompt_id, text in texts.items()}
    requests = [Request(ids[row["prompt_id"]], row["seed"], temperature, top_p, max_tokens) for row in plan]
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
