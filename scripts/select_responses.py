"""Choose the best response and a preference pair for every prompt of one shard.

Reads:
    rounds/{round}/prompts/{shard}.parquet: prompt_id, prompt, checks.
    rounds/{round}/samples/{checkpoint}/{shard}-{block}.parquet: all responses of the shard.
    rounds/{round}/scores/{checkpoint}/{shard}-{block}.parquet: their scores.
Writes:
    rounds/{round}/selected/{shard}.parquet: prompt_id, prompt, chosen, chosen_score, chosen_id,
    rejected, rejected_score, rejected_id (null without a pair), candidates (int).
Params:
    seed, selection (best, random or checks), tie_tolerance.
"""

from pathlib import Path
from typing import Any

from alma.selection import select


def join_scores(
    responses: list[dict[str, Any]], scores: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Responses with their scores by prompt_id; joined by response_id, never by position.

    Raises:
        KeyError: a response was not scored (an error in the program).
    """
    by_id = {row["response_id"]: row["score"] for row in scores}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in responses:
        found.setdefault(row["prompt_id"], []).append(row | {"score": by_id[row["response_id"]]})
    return found


def main(
    prompts: str | Path,
    responses: list[str],
    scores: list[str],
    selected: str | Path,
    *,
    seed: list[Any],
    selection: str,
    tie_tolerance: float,
) -> None:
    """Select for every prompt, in the order of the prompts; prompts without a candidate are left out."""
    from alma.tables import read_table, read_tables, write_table

    joined = join_scores(read_tables(responses, "response"), read_tables(scores, "score"))
    prompt_rows = read_table(prompts, "round_prompt")
    chosen = [
        select(
            row,
            joined.get(row["prompt_id"], []),
            seed=seed,
            selection=selection,
            tie_tolerance=tie_tolerance,
        )
        for row in prompt_rows
    ]
    rows = [row for row in chosen if row is not None]
    pairs = sum(row["rejected"] is not None for row in rows)
    print(f"{len(prompt_rows)} prompts: {len(rows)} with a chosen response, {pairs} with a preference pair")
    if selection == "checks":
        stated = sum(row["checks"] != "[]" for row in prompt_rows)
        print(
            f"{stated} prompts state checks; the choice for the other {len(prompt_rows) - stated} is random"
        )
    write_table(selected, "selected", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.prompts,
            list(snakemake.input.responses),
            list(snakemake.input.scores),
            snakemake.output.selected,
            **config,
        )
