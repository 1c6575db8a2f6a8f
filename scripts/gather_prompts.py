"""Gather the prompts of one block of a round's places, in their order, in one pass over all prompts.

Each of the round's shards then reads this file instead of all prompts. Blocks are cut from the round's list
in the deal, and not by prompts_per_round: a larger number adds blocks and leaves those that are there alone.

Reads:
    prompts: `prompt` tables of all shards of the synthesis. deal: `deal` table.

Writes:
    gathered: `round_prompt` table: row i is the prompt at the place block * places + i of the round.

Params:
    round_: 2 .. R. block: index. places: of a full block; the last may be short.
"""

from pathlib import Path

from alma.errors import InputError
from alma.tables import SCHEMAS, iter_columns, read_matching, write_columns


def main(
    prompts: list[str], deal: str | Path, gathered: str | Path, *, round_: int, block: int, places: int
) -> None:
    """Write one block; see the module's docstring.

    Raises:
        InputError: a prompt that was dealt is in none of the tables.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    first = block * places
    own = [("round", "==", round_), ("place", ">=", first), ("place", "<", first + places)]
    dealt = sorted(read_matching(deal, "deal", own), key=lambda row: row["place"])
    wanted = pa.array([row["prompt_id"] for row in dealt], pa.string())
    found = [SCHEMAS["prompt"].empty_table()]
    for path in prompts:
        for part in iter_columns(path, "prompt"):
            found.append(part.filter(pc.is_in(part["prompt_id"], wanted)))
    texts = pa.concat_tables(found)
    rows = pc.index_in(wanted, texts["prompt_id"].combine_chunks())
    if rows.null_count:
        missing = wanted.filter(pc.is_null(rows))[0].as_py()
        raise InputError(
            f"{deal}: the prompt {missing} of round {round_} is in no table of prompts.\n"
            f"  Delete it and run the same command again."
        )
    cluster = pa.array([row["cluster"] for row in dealt], pa.int32())
    table = texts.take(rows).append_column(SCHEMAS["round_prompt"].field("cluster"), cluster)
    write_columns(gathered, "round_prompt", table)
    print(f"{len(table)} places of round {round_} from {first} on, found in {len(prompts)} tables")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.prompts), snakemake.input.deal, snakemake.output.gathered, **config)
