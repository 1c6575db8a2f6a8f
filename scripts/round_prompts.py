"""Take one shard of a round's prompts from the deal: shard s has the places s*prompts_per_shard onwards.

Reads:
    prompts: `prompt` tables of all shards of the synthesis. deal: `deal` table.

Writes:
    output: `round_prompt` table in the order of the places: prompt_id, prompt, source, examples,
        checks (JSON), cluster.

Params:
    round_: 2 .. R. shard: index. prompts_per_shard: places of a full shard.
    prompts_in_shard: prompts of this shard (the last may be short).
    rounds, prompts_per_round: R and K, for the check alone: a run that would run out of prompts is refused
        before anything is sampled for what was added to it.
"""

from pathlib import Path

from alma.dealing import check_lasting, read_lengths
from alma.tables import count_rows, read_matching, write_table


def main(
    prompts: list[str],
    deal: str | Path,
    output: str | Path,
    *,
    round_: int,
    shard: int,
    prompts_per_shard: int,
    prompts_in_shard: int,
    rounds: int,
    prompts_per_round: int,
) -> None:
    """Write the prompts of one shard of one round; see the module's docstring.

    Raises:
        InputError: the run would run out of prompts.
    """
    check_lasting(
        read_lengths(deal), sum(count_rows(path, "prompt") for path in prompts), rounds, prompts_per_round
    )
    first = shard * prompts_per_shard
    end = first + prompts_in_shard
    chosen = read_matching(deal, "deal", [("round", "==", round_), ("place", "<", end)])
    chosen = sorted(chosen, key=lambda row: row["place"])[first:]
    wanted = [row["prompt_id"] for row in chosen]
    texts = {
        row["prompt_id"]: row
        for path in prompts
        for row in read_matching(path, "prompt", [("prompt_id", "in", wanted)])
    }
    write_table(
        output, "round_prompt", [texts[row["prompt_id"]] | {"cluster": row["cluster"]} for row in chosen]
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.prompts),
            snakemake.input.deal,
            snakemake.output.prompts,
            **config,
        )
