"""Read RewardBench, 1 or 2, with the subset of each item, to measure the judge by section.

Reads:
    source (JSONL, JSON, CSV, Parquet or `hub:OWNER/NAME@REVISION[:SPLIT]`): prompt, chosen and rejected (a
    text or a list of texts), subset, id.
    seeds/judge.parquet, seeds/judge_heldout.parquet: prompt (the judge's labels).
Writes:
    seeds/reward_bench.parquet: one row per answer (`reward_bench` of `alma.reward_bench`), sorted by item.
    Items whose prompt is in the judge's labels, and rows that cannot be used, are left out and counted.
Params: name (rewardbench or rewardbench2), source.
"""

from collections import Counter
from pathlib import Path

from alma.duplicates import folded
from alma.errors import fail_with
from alma.label_summary import SourceCount, source_lines
from alma.reward_bench import read_items
from alma.seed_formats import read_rows
from alma.tables import read_table, write_table

COLUMNS = {"prompt", "chosen", "rejected", "subset", "id"}


def main(judge: str | Path, heldout: str | Path, items: str | Path, *, name: str, source: str) -> None:
    """Write the items that measure something.

    Raises:
        InputError: the source cannot be read, or is of another shape.
    """
    problems: list[str] = []
    rows = read_rows(source, COLUMNS, problems, [("prompt", "chosen", "rejected")])
    fail_with(problems, "judge.benchmark cannot be used; nothing was written:")
    found, left_out = read_items(name, rows)
    labels = [*read_table(judge, "judge"), *read_table(heldout, "judge")]
    trained_on = {folded(row["prompt"]) for row in labels}
    kept = [answer for answer in found if folded(answer["prompt"]) not in trained_on]
    several = len({answer["item"] for answer in found}) - len({answer["item"] for answer in kept})
    count = SourceCount("judge.benchmark", f"{name}:{source}", len(rows), Counter(left_out))
    count.left_out.update({"the prompt is in labels.judge": several} if several else {})
    by_subset = Counter(subset for _, subset in {(answer["item"], answer["subset"]) for answer in kept})
    print("\n".join(source_lines([count])))
    print("items: " + (", ".join(f"{name} {n:,}" for name, n in sorted(by_subset.items())) or "none"))
    write_table(items, "reward_bench", kept)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.judge, snakemake.input.heldout, snakemake.output.answers, **config)
