"""Sample the responses that the judge is then trained on itself: one per prompt, from one SFT checkpoint.

The prompts come from all clusters, as those of a round do, but are chosen without regard to the rounds:
no shard, and no number of prompts per round, changes the judge. The responses are the judge's own too:
no round selects from them.

Reads:
    models/{checkpoint}/: an SFT checkpoint.
    prompts/unique.parquet: prompt_id, prompt. prompts/clusters.parquet: prompt_id, cluster, rank.
Writes:
    judge/samples/{checkpoint}.parquet: prompt_id, response_id, checkpoint, sample (always 0), seed,
    response, finish_reason, tokens (int), prompt.
Params:
    seed, engine, checkpoint, prompts_used (how many prompts), temperature, top_p, max_tokens.
"""

from pathlib import Path
from typing import Any

from alma.ids import content_id, hashed_int, request_seed

DOMAIN = "distillation"  # in the place of the round, in seeds and ids


def choose_prompts(clusters: list[dict[str, Any]], count: int, seed: int) -> list[str]:
    """Ids of `count` prompts (or of all, where there are fewer), a cluster again only after all others.

    Args:
        clusters: `cluster` rows.
        count: prompts wanted.
        seed: of the order of the clusters.
    """

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["rank"], hashed_int(seed, DOMAIN, row["cluster"]), row["prompt_id"]

    return [row["prompt_id"] for row in sorted(clusters, key=place)[:count]]


def main(
    model: str | Path,
    prompts: str | Path,
    clusters: str | Path,
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
    """Sample and write one response per prompt, in the order of `choose_prompts`."""
    from alma.chat_template import prompt_ids
    from alma.engine import Request, open_engine
    from alma.tables import read_table, user, write_table

    chosen = choose_prompts(read_table(clusters, "cluster"), prompts_used, seed)
    wanted = set(chosen)
    texts = {
        row["prompt_id"]: row["prompt"] for row in read_table(prompts, "prompt") if row["prompt_id"] in wanted
    }
    llm = open_engine(model, engine)
    seeds = [request_seed(seed, DOMAIN, checkpoint, prompt_id, 0) for prompt_id in chosen]
    requests = [
        Request(prompt_ids(llm.tokenizer, user(texts[i])), number, temperature, top_p, max_tokens)
        for i, number in zip(chosen, seeds, strict=True)
    ]
    rows = [
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
    write_table(responses, "distillation_response", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.input.clusters,
            snakemake.output.responses,
            **config,
        )
