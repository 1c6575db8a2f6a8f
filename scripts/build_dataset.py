"""Make the training data of a later round, in TRL's prompt-completion and preference formats.

Reads:
    rounds/{round}/selected/{shard}.parquet.
Writes:
    rounds/{round}/dataset.parquet: prompt_id, prompt, completion (message lists; role, content).
    rounds/{round}/preferences.parquet: prompt_id, prompt, chosen, rejected (message lists); a row
    a preference pair, none in round 1.
Params:
    round_.
"""

from pathlib import Path
from typing import Any


def to_datasets(
    selected: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the data set and of the preferences from selected rows, in the same order."""
    from alma.tables import assistant, user

    dataset = [
        {
            "prompt_id": r["prompt_id"],
            "prompt": user(r["prompt"]),
            "completion": assistant(r["chosen"]),
        }
        for r in selected
    ]
    preferences = [
        {
            "prompt_id": r["prompt_id"],
            "prompt": user(r["prompt"]),
            "chosen": assistant(r["chosen"]),
            "rejected": assistant(r["rejected"]),
        }
        for r in selected
        if r["rejected"] is not None
    ]
    return dataset, preferences


def main(selected: list[str], dataset: str | Path, preferences: str | Path, *, round_: int) -> None:
    """Write both data sets of the round.

    Raises:
        InputError: no prompt of the round has a response that can be chosen.
    """
    from alma.errors import InputError
    from alma.tables import read_tables, write_table

    rows, pairs = to_datasets(read_tables(selected, "selected"))
    if not rows:
        raise InputError(
            f"round {round_}: no prompt has a response that can be chosen "
            "(finished, not empty, with a score).\n"
            f"  Look at the samples of the round; sampling.max_tokens may be too low."
        )
    print(f"round {round_}: {len(rows)} examples, {len(pairs)} preference pairs")
    write_table(dataset, "dataset", rows)
    write_table(preferences, "preferences", pairs)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.selected),
            snakemake.output.dataset,
            snakemake.output.preferences,
            **config,
        )
