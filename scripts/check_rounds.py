"""Tabulate the clusters that each round draws from; a run that would run out of prompts is refused.

Reads:
    clusters: `cluster` table.

Writes:
    table: tables/round_clusters.csv, one row per round from 2 on (`alma.csv_schemas`).

Params:
    seed: seed of the run. rounds: R. prompts_per_round: K.
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.dealing import FIRST_ROUND, Deal, check_lasting, deal_clusters


def table_rows(deal: Deal, rounds: int, prompts_per_round: int) -> list[dict[str, Any]]:
    """Sizes and uses of the clusters of each round, in the order of the rounds.

    Raises:
        ValueError: a prompt is dealt to two rounds (an error in the program).
    """
    import numpy as np

    used = np.zeros(len(deal.sizes), dtype=np.int64)
    seen: set[str] = set()
    rows = []
    for round_ in range(FIRST_ROUND, rounds + 1):
        numbers, _, ids = (part[:prompts_per_round] for part in deal.rounds[round_ - FIRST_ROUND])
        before = len(seen)
        seen.update(ids.tolist())
        if len(seen) < before + len(ids):
            raise ValueError(f"round {round_} has a prompt that this or an earlier round has")
        new = int((used[numbers] == 0).sum())
        used[numbers] += 1
        sizes = deal.sizes[numbers]
        rows.append(
            {
                "round": round_,
                "prompts": len(ids),
                "smallest": int(sizes.min()),
                "median_size": float(np.median(sizes)),
                "mean_size": float(sizes.mean()),
                "largest": int(sizes.max()),
                "new_clusters": new,
                "most_uses": int(used.max()),
            }
        )
    return rows


def main(clusters: str | Path, table: str | Path, *, seed: int, rounds: int, prompts_per_round: int) -> None:
    """Check the rounds and write their table; see the module's docstring."""
    deal = deal_clusters(clusters, seed)
    check_lasting(deal.lengths, int(deal.sizes.sum()), rounds, prompts_per_round)
    rows = table_rows(deal, rounds, prompts_per_round)
    for row in rows:
        print(
            f"round {row['round']}: {row['prompts']} prompts, one per cluster; clusters of {row['smallest']} "
            f"to {row['largest']} prompts, {row['mean_size']:.1f} in the mean; {row['new_clusters']} used "
            f"for the first time, none more than {row['most_uses']} times"
        )
    write_csv_table(table, "round_clusters", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.clusters, snakemake.output.table, **config)
