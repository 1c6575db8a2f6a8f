"""Keep the prompts of a raw shard that passed all filters: finished, new and uncontaminated ones.

Reads:
    filtered: `filtered_prompt` table of the shard.
    kept: `kept` table, of all shards.

Writes:
    prompts: `prompt` table, sorted by prompt_id, with the checks that each prompt states.

Params:
    shard: index.
"""

from pathlib import Path

from alma.tables import SCHEMAS, iter_columns, write_columns


def main(filtered: str | Path, kept: str | Path, prompts: str | Path, *, shard: int) -> None:
    """Write the kept prompts of one shard; see the module's docstring."""
    import pyarrow as pa
    import pyarrow.compute as pc

    schema = SCHEMAS["prompt"]
    parts = [pa.array([], pa.int32())]
    for table in iter_columns(kept, "kept"):
        parts += table["row"].filter(pc.equal(table["shard"], shard)).chunks
    rows = pa.chunked_array(parts).combine_chunks()
    found, count = [schema.empty_table()], 0
    for table in iter_columns(filtered, "filtered_prompt", schema.names):
        numbers = pa.array(range(count, count + len(table)), pa.int32())
        found.append(table.filter(pc.is_in(numbers, rows)))
        count += len(table)
    write_columns(prompts, "prompt", pa.concat_tables(found).sort_by("prompt_id").combine_chunks())
    print(f"{len(rows)} of {count} prompts are kept")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.filtered, snakemake.input.kept, snakemake.output.prompts, **config)
