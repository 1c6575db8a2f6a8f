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
from typing import TYPE_CHECKING, Any

from alma.selection import candidate_keys, distinct_candidates, passed_shares, scored_responses, select
from alma.tables import collect, frame_schema, scan_table, scan_tables, write_frames

if TYPE_CHECKING:
    import polars as pl


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
    """Select for every prompt, in the order of the prompts; prompts without a candidate are left out.

    The texts are read twice, file by file, and kept of what is chosen or rejected alone.
    """
    import polars as pl

    def without_texts(rows: "pl.DataFrame") -> "pl.DataFrame":
        none = pl.lit(None, pl.Float64).alias("share")
        share = passed_shares(rows) if selection == "checks" else none
        rows = rows.with_columns(candidate_keys(rows), share)
        return rows.select("prompt_id", "response_id", "sample", "score", "key", "share")

    asked = collect(scan_table(prompts, "round_prompt").select("prompt_id", "prompt", "checks"))
    rows = pl.concat([without_texts(part) for part in scored_responses(asked, responses, scores)])
    choices = select(distinct_candidates(rows), seed=seed, selection=selection, tie_tolerance=tie_tolerance)
    named = pl.concat([choices["chosen_id"], choices["rejected_id"]]).alias("response_id").to_frame()
    texts = collect(
        scan_tables(responses, "response")
        .select("response_id", "response")
        .join(named.lazy(), on="response_id", how="semi")
    )
    found = asked.join(choices, on="prompt_id", maintain_order="left")
    for verdict in ("chosen", "rejected"):
        said = texts.rename({"response_id": f"{verdict}_id", "response": verdict})
        found = found.join(said, on=f"{verdict}_id", how="left", maintain_order="left")
    found = found.select(frame_schema("selected").names())
    pairs = found["rejected_id"].count()
    print(f"{len(asked)} prompts: {len(found)} with a chosen response, {pairs} with a preference pair")
    if selection == "checks":
        without = (asked["checks"] == "[]").sum()
        print(f"{len(asked) - without} prompts state checks; the choice for the other {without} is random")
    write_frames(selected, "selected", [found])


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
