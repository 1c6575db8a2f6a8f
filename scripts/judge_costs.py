"""Count what the endpoints of a run were asked, and what it costs.

Reads:
    evaluation/judges/api/{judge}/{writer}/{benchmark}.parquet: `judged` tables (`alma.outside_judges`).
Writes:
    tables/judge_costs.csv (columns in `alma.csv_schemas`). A question that an earlier job or run has paid for
    and that came from the cache counts too: it is what these answers cost, not what this run added to a bill.
Params: prices ({judge: {input, output}}, per million tokens; null where none is named).
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.outside_judges import read_judged

Row = dict[str, Any]


def total(rows: list[Row], column: str) -> int | None:
    """Sum of a column; None where the endpoint counted none of an answer that it gave."""
    values = [row[column] for row in rows if row["answer"] is not None]
    return None if None in values else sum(values)


def cost(tokens: tuple[int | None, int | None], price: dict[str, float | None]) -> float | None:
    """Cost of input and output tokens; None where a count or a price is not known."""
    parts = list(zip(tokens, (price["input"], price["output"]), strict=True))
    if any(count is None or each is None for count, each in parts):
        return None
    return sum((count or 0) * (each or 0.0) / 1e6 for count, each in parts)


def cost_row(judge: str, checkpoint: str, benchmark: str, rows: list[Row], price: dict[str, Any]) -> Row:
    """One row of the table, over the questions `rows` of a judge."""
    tokens = total(rows, "input_tokens"), total(rows, "output_tokens")
    return {
        "judge": judge,
        "checkpoint": checkpoint,
        "benchmark": benchmark,
        "questions": sum(row["answer"] is not None for row in rows),
        "unreadable": sum(row["value"] is None for row in rows),
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "cost": cost(tokens, price),
    }


def main(judged: list[str], table: str | Path, *, prices: dict[str, dict[str, Any]]) -> None:
    """Write the table; see the module's docstring."""
    groups: dict[str, dict[tuple[str, str], list[Row]]] = {}
    for row in read_judged(judged):
        of_judge = groups.setdefault(row["judge"], {})
        of_judge.setdefault((row["checkpoint"], row["benchmark"]), []).append(row)
    found: list[Row] = []
    for judge, tables in sorted(groups.items()):
        found += [cost_row(judge, *key, rows, prices[judge]) for key, rows in tables.items()]
        every = [row for rows in tables.values() for row in rows]
        found.append(cost_row(judge, "all", "all", every, prices[judge]))
        last = found[-1]
        print(f"{judge}: {last['questions']} questions, cost {last['cost']}")
    write_csv_table(table, "judge_costs", found)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.judged), snakemake.output.table, **config)
