"""Take one shard of a round's prompts: shard s has the places s*prompts_per_shard onwards of the deal.

Reads:
    gathered: `round_prompt` tables of the blocks that hold these places, as gather_prompts writes them.
    deal: `deal` table, for the check alone. clusters: `cluster` table; its number of rows.

Writes:
    output: `round_prompt` table in the order of the places: prompt_id, prompt, source, examples,
        checks (JSON), cluster.

Params:
    round_: 2 .. R. shard: index. prompts_per_shard: places of a full shard.
    prompts_in_shard: prompts of this shard (the last may be short). places: of a full block.
    rounds, prompts_per_round: R and K, for the check alone: a run that would run out of prompts is refused
        before anything is sampled for what was added to it.
"""

from pathlib import Path

from alma.dealing import check_lasting, read_lengths
from alma.tables import SCHEMAS, count_rows, read_columns, write_columns


def main(
    gathered: list[str],
    deal: str | Path,
    clusters: str | Path,
    output: str | Path,
    *,
    round_: int,
    shard: int,
    prompts_per_shard: int,
    prompts_in_shard: int,
    places: int,
    rounds: int,
    prompts_per_round: int,
) -> None:
    """Write the prompts of one shard of one round; see the module's docstring.

    Raises:
        InputError: the run would run out of prompts.
    """
    import pyarrow as pa

    check_lasting(read_lengths(deal), count_rows(clusters, "cluster"), rounds, prompts_per_round)
    first = shard * prompts_per_shard % places  # in the first of these blocks
    blocks = pa.concat_tables([read_columns(path, "round_prompt") for path in gathered])
    # A list read from a file names its items otherwise than the schema, which would show in the bytes.
    own = blocks.slice(first, prompts_in_shard).cast(SCHEMAS["round_prompt"])
    write_columns(output, "round_prompt", own)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.gathered),
            snakemake.input.deal,
            snakemake.input.clusters,
            snakemake.output.prompts,
            **config,
        )
