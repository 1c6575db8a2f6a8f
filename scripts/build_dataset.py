"""Make the training data of a later round, in TRL's prompt-completion and preference formats.

Reads:
    rounds/{round}/selected/{shard}.parquet.
Writes:
    rounds/{round}/dataset.parquet: prompt_id, prompt, completion (message lists; role, content).
    rounds/{round}/preferences.parquet: prompt_id, prompt, chosen, rejected (message lists); one row
    per preference pair, none in round 1.
Params:
    round_.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alma.errors import InputError
from alma.tables import collect, count_rows, scan_table, write_frames

if TYPE_CHECKING:
    import polars as pl


def one_turn(role: str, column: str) -> "pl.Expr":
    """Texts of a column as conversations of one turn."""
    import polars as pl

    return pl.concat_list(pl.struct(role=pl.lit(role), content=pl.col(column)))


def examples(selected: list[str], **answers: str) -> Iterator["pl.DataFrame"]:
    """Rows of a data set, one shard at a time, in the order of the selected rows.

    Args:
        answers: column of the data set -> column of the selected rows; a row without one of them is left out.
    """
    import polars as pl

    columns = {"prompt": one_turn("user", "prompt")}
    columns |= {name: one_turn("assistant", column) for name, column in answers.items()}
    for path in selected:
        whole = pl.all_horizontal(pl.col(*answers.values()).is_not_null())
        yield collect(scan_table(path, "selected").filter(whole).select("prompt_id", **columns))


def main(selected: list[str], dataset: str | Path, preferences: str | Path, *, round_: int) -> None:
    """Write both data sets of the round.

    Raises:
        InputError: no prompt of the round has a response that can be chosen.
    """
    if not sum(count_rows(path, "selected") for path in selected):
        raise InputError(
            f"round {round_}: no prompt has a response that can be chosen "
            "(finished, not empty, with a score).\n"
            f"  Look at the samples of the round; sampling.max_tokens may be too low."
        )
    rows = write_frames(dataset, "dataset", examples(selected, completion="chosen"))
    pairs = write_frames(preferences, "preferences", examples(selected, chosen="chosen", rejected="rejected"))
    print(f"round {round_}: {rows} examples, {pairs} preference pairs")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.selected),
            snakemake.output.dataset,
            snakemake.output.preferences,
            **config,
        )
