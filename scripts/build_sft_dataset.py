"""Make the data set of round 1 from the seed pairs, in TRL's prompt-completion format.

Reads:
    seeds/sft.parquet: prompt_id, prompt, completion (message lists; role, content).
Writes:
    rounds/1/dataset.parquet: the same columns and rows.
Params:
    none.
"""

from pathlib import Path


def main(seeds: str | Path, dataset: str | Path) -> None:
    """Write the data set."""
    from alma.tables import read_table, write_table

    rows = [
        {name: row[name] for name in ("prompt_id", "prompt", "completion")}
        for row in read_table(seeds, "sft")
    ]
    print(f"round 1: {len(rows)} examples")
    write_table(dataset, "dataset", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake):
        main(snakemake.input.seeds, snakemake.output.dataset)
