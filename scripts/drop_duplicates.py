"""Decide which raw prompts stay, and count what each filter removes.

Of equal prompts the first in a seeded order stays, and a prompt is dropped where it is like an earlier one
that stays. That needs the pairs of all parts at once, and nothing else of the prompts: memory grows with the
duplicates (8 bytes for an equal text, some 70 for a pair that is alike), and time with the raw prompts, whose
small columns are read shard by shard.

Reads:
    filtered: `filtered_prompt` tables of all shards, in their order.
    duplicates, pairs: `duplicate` and `near_pair` tables of all parts.

Writes:
    kept: `kept` table, sorted: the prompts that passed all filters.
    filters: CSV, one row per filter in order (`prompt_filters` of `alma.csv_schemas`).
    quality: CSV, share of prompts that state a constraint, by kind (`prompt_quality`).

Params:
    perplexity_band: quantiles of the perplexity, of all prompts that the filters before left.
"""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alma.csv_tables import write_csv_table
from alma.errors import InputError
from alma.prompt_filters import FILTERS, PerplexityBand
from alma.stated import STATED_KINDS
from alma.tables import SCHEMAS, iter_columns, read_columns, table_writer

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Row = dict[str, Any]


def quality_rows(raw: Counter[str], kept: Counter[str]) -> list[Row]:
    """Rows of the `prompt_quality` table from the checks that prompts state: {JSON: number of prompts}."""
    kinds = {checks: {check["kind"] for check in json.loads(checks)} for checks in raw}
    kinds = {checks: found | {"any"} if found else found for checks, found in kinds.items()}

    def share(found: Counter[str], kind: str) -> tuple[int, float | None]:
        count = sum(n for checks, n in found.items() if kind in kinds[checks])
        return count, count / found.total() if found else None

    rows = []
    for kind in ("any", *STATED_KINDS):
        row: Row = {"kind": kind}
        for name, found in (("raw", raw), ("kept", kept)):
            row[name], row[f"{name}_share"] = share(found, kind)
        rows.append(row)
    return rows


def near_duplicates(paths: list[str]) -> "pa.Array":
    """Ids of the prompts that are like one with precedence which stays."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from alma.minhash import dropped_of_pairs

    table = pa.concat_tables([read_columns(path, "near_pair") for path in paths])
    ids = pa.chunked_array([*table["prompt_id"].chunks, *table["earlier_id"].chunks], pa.string())
    orders = pa.chunked_array([*table["precedence"].chunks, *table["earlier_precedence"].chunks], pa.int64())
    codes = pc.dictionary_encode(ids).combine_chunks()
    code = codes.indices.to_numpy()
    order = np.empty(len(codes.dictionary), dtype=np.int64)
    order[code] = orders.to_numpy()
    prompts = pa.table({"precedence": order, "prompt_id": codes.dictionary})
    sorted_ = pc.sort_indices(prompts, [("precedence", "ascending"), ("prompt_id", "ascending")]).to_numpy()
    rank = np.empty(len(sorted_), dtype=np.int64)
    rank[sorted_] = np.arange(len(sorted_))
    later, earlier = rank[code[: len(table)]], rank[code[len(table) :]]
    dropped = dropped_of_pairs(later, earlier, len(sorted_))
    return codes.dictionary.take(pa.array(sorted_[dropped]))


def removed_by(fails: "pa.ChunkedArray") -> "np.ndarray":
    """int8 [prompts]: number in FILTERS of the first filter that a prompt fails by itself, or their count."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.index_in(fails, pa.array(FILTERS, pa.string()))
    return pc.fill_null(numbers, len(FILTERS)).to_numpy().astype(np.int8)


def main(
    filtered: list[str],
    duplicates: list[str],
    pairs: list[str],
    kept: str | Path,
    filters: str | Path,
    quality: str | Path,
    *,
    perplexity_band: list[float],
) -> None:
    """Decide and count; see the module's docstring.

    Raises:
        InputError: no prompt passes.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    band = PerplexityBand(filtered, perplexity_band)
    again = pa.concat_tables([read_columns(path, "duplicate") for path in duplicates])
    near = near_duplicates(pairs)
    removed = np.zeros(len(FILTERS) + 1, dtype=np.int64)
    stated: dict[str, Counter[str]] = {"raw": Counter(), "kept": Counter()}
    columns = ["prompt_id", "checks", "logprob", "fails"]
    with table_writer(kept, "kept") as file:
        for shard, path in enumerate(filtered):
            repeated = again["row"].filter(pc.equal(again["shard"], shard)).to_numpy()
            count = 0
            for table in iter_columns(path, "filtered_prompt", columns):
                by = removed_by(table["fails"])
                numbers = np.arange(count, count + len(table), dtype=np.int32)
                for name, fails in (
                    ("perplexity", ~band.holds(table["logprob"])),
                    ("exact_duplicate", np.isin(numbers, repeated)),
                    ("near_duplicate", pc.is_in(table["prompt_id"], near).to_numpy()),
                ):
                    by[fails] = np.minimum(by[fails], FILTERS.index(name))
                stays = by == len(FILTERS)
                removed += np.bincount(by, minlength=len(removed))
                for name, checks in (("raw", table["checks"]), ("kept", table["checks"].filter(stays))):
                    for entry in checks.value_counts().to_pylist():
                        stated[name][entry["values"]] += entry["counts"]
                numbers = numbers[stays]
                arrays = [pa.array(np.full(len(numbers), shard, dtype=np.int32)), pa.array(numbers)]
                file.write_table(pa.Table.from_arrays(arrays, schema=SCHEMAS["kept"]))
                count += len(table)
        counts = []
        total = left = int(removed.sum())
        for name, number in zip(FILTERS, removed.tolist(), strict=False):
            left -= number
            counts.append({"filter": name, "removed": number, "kept": left})
            print(f"{name}: removed {number}, kept {left}", flush=True)
        if not left:
            listed = "\n".join(f"  {c['filter']}: removed {c['removed']}" for c in counts)
            raise InputError(
                f"prompts: none of the {total} prompts that the base model wrote passed the filters.\n"
                f"{listed}\n"
                "  Raise prompts.max_tokens where they are unfinished, prompts.raw_per_shard where they are "
                "few, engine.max_model_len where they are too long."
            )
    write_csv_table(quality, "prompt_quality", quality_rows(stated["raw"], stated["kept"]))
    write_csv_table(filters, "prompt_filters", counts)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.filtered),
            list(snakemake.input.duplicates),
            list(snakemake.input.pairs),
            snakemake.output.kept,
            snakemake.output.filters,
            snakemake.output.quality,
            **config,
        )
