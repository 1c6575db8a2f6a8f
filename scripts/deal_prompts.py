"""Deal the clusters of prompts to the rounds, whatever prompts_per_round and rounds are.

Reads:
    clusters: `cluster` table.

Writes:
    deal: `deal` table, one row per place of a round: round (2 ..), place (0 ..), cluster, prompt_id. Round r
        of a run uses the first prompts_per_round places of its rounds (`alma.dealing`).

Params:
    seed: seed of the run; it orders the clusters.
    rounds, prompts_per_round: R and K, for the check alone: a run that would run out of prompts is refused
        here, before anything is sampled.
"""

from pathlib import Path

from alma.dealing import check_lasting, deal_clusters, write_deal


def main(
    clusters: str | Path, deal_path: str | Path, *, seed: int, rounds: int, prompts_per_round: int
) -> None:
    """Deal all clusters; see the module's docstring."""
    deal = deal_clusters(clusters, seed)
    shown = ", ".join(f"{length} with rounds: {r}" for r, length in enumerate(deal.lengths[:12], start=2))
    prompts = int(deal.sizes.sum())
    print(f"{prompts} prompts in {len(deal.sizes)} clusters; most prompts per round: {shown}")
    check_lasting(deal.lengths, prompts, rounds, prompts_per_round)
    write_deal(deal_path, deal)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.clusters, snakemake.output.deal, **config)
