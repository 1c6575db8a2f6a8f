"""Deal one shard of prompts to a round: the round's next unused prompt of each of its clusters.

The clusters of a round stand in a seeded order that depends on the round alone, and shard s takes
the places s*prompts_per_shard onwards. So raising prompts_per_round or rounds adds shards and
leaves the old ones alone.

Reads:
    prompts: `prompt` table. clusters: `cluster` table.

Writes:
    output: `round_prompt` table in the round's order: prompt_id, prompt, source, examples, cluster.

Params:
    seed: seed of the run. round_: 2 .. R. shard: index. prompts_per_shard: places of a full shard.
    prompts_in_shard: prompts of this shard (the last may be short).
"""

from pathlib import Path
from typing import Any

from alma.clustering import FIRST_ROUND, check_dealing, cluster_order
from alma.errors import InputError
from alma.tables import SCHEMAS, read_table, write_table


def read_rows(path: str | Path, kind: str, column: str, values: list[Any]) -> list[dict[str, Any]]:
    """Rows of a table whose `column` is one of `values`: a round needs few rows of large tables."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, schema=SCHEMAS[kind], filters=[(column, "in", values)]).to_pylist()
    except (OSError, pa.ArrowException):
        read_table(path, kind)  # raises the error with its advice
        raise


def members_of_round(rows: list[dict[str, Any]], seed: int, round_: int) -> list[dict[str, Any]]:
    """All `cluster` rows that round `round_` may use, in the round's order: one a cluster."""
    members = [row for row in rows if row["rank"] == round_ - FIRST_ROUND]
    check_dealing(members)
    by_cluster = {row["cluster"]: row for row in members}
    return [by_cluster[cluster] for cluster in cluster_order(list(by_cluster), seed, round_)]


def main(
    prompts: str | Path,
    clusters: str | Path,
    output: str | Path,
    *,
    seed: int,
    round_: int,
    shard: int,
    prompts_per_shard: int,
    prompts_in_shard: int,
) -> None:
    """Write the prompts of one shard of one round; see the module's docstring."""
    rows = read_rows(clusters, "cluster", "rank", [round_ - FIRST_ROUND])
    members = members_of_round(rows, seed, round_)
    first = shard * prompts_per_shard
    chosen = members[first : first + prompts_in_shard]
    if len(chosen) < prompts_in_shard:
        raise InputError(
            f"prompts_per_round: round {round_} needs {first + prompts_in_shard} clusters that still hold "
            f"an unused prompt, but only {len(members)} do.\n"
            f"  Raise prompts.raw_per_shard, or lower prompts_per_round, rounds or prompts.clusters."
        )
    wanted = [row["prompt_id"] for row in chosen]
    texts = {row["prompt_id"]: row for row in read_rows(prompts, "prompt", "prompt_id", wanted)}
    write_table(
        output, "round_prompt", [texts[row["prompt_id"]] | {"cluster": row["cluster"]} for row in chosen]
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.prompts, snakemake.input.clusters, snakemake.output.prompts, **config)
