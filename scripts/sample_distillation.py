"""Sample the responses that the judge is then trained on itself: one per prompt, from one SFT checkpoint.

The prompts are the first that the deal has for round 2, however many of them the round takes: no shard, and
no number of prompts per round, changes the judge. The responses are the judge's own: no round selects from
them.

Reads:
    models/{checkpoint}/: an SFT checkpoint.
    prompts/unique/{shard}.parquet: prompt_id, prompt. prompts/deal.parquet: round, place, prompt_id.
Writes:
    judge/samples/{checkpoint}.parquet: prompt_id, response_id, checkpoint, sample (always 0), seed,
    response, finish_reason, tokens (int), prompt.
Params:
    seed, engine, checkpoint, prompts_used (how many prompts, at most), temperature, top_p, max_tokens.
"""

from pathlib import Path
from typing import Any

from alma.ids import content_id, request_seed

DOMAIN = "distillation"  # in the place of the round, in seeds and ids


def main(
    model: str | Path,
    prompts: list[str],
    deal: str | Path,
    responses: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    checkpoint: str,
    prompts_used: int,
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> None:
    """Sample and write one response per prompt, in the order of the deal."""
    from alma.chat_template import prompt_ids
    from alma.dealing import FIRST_ROUND
    from alma.engine import Request, open_engine
    from alma.tables import read_matching, user, write_table

    first = read_matching(deal, "deal", [("round", "==", FIRST_ROUND), ("place", "<", prompts_used)])
    chosen = [row["prompt_id"] for row in sorted(first, key=lambda row: row["place"])]
    texts = {
        row["prompt_id"]: row["prompt"]
        for path in prompts
        for row in read_matching(path, "prompt", [("prompt_id", "in", chosen)])
    }
    llm = open_engine(model, engine)
    seeds = [request_seed(seed, DOMAIN, checkpoint, prompt_id, 0) for prompt_id in chosen]
    requests = [
        Request(prompt_ids(llm.tokenizer, user(texts[i])), number, temperature, top_p, max_tokens)
        for i, number in zip(chosen, seeds, strict=True)
    ]
    sampled = [
        {
            "prompt_id": i,
            "response_id": content_id(DOMAIN, checkpoint, i),
            "checkpoint": checkpoint,
            "sample": 0,
            "seed": number,
            "response": done.text.strip(),
            "finish_reason": done.finish_reason,
            "tokens": done.tokens,
            "prompt": texts[i],
        }
        for i, number, done in zip(
            chosen, seeds, llm.generate(requests, f"sampling {checkpoint}"), strict=True
        )
    ]
    write_table(responses, "distillation_response", sampled)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            list(snakemake.input.prompts),
            snakemake.input.deal,
            snakemake.output.responses,
            **config,
        )
