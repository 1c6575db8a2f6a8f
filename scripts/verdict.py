"""Say whether the rounds made the model better, and which link of the recipe holds.

Reads:
    evaluation/summary.csv, evaluation/gate.csv (the links of the judge), tables/rounds/{round}/length.csv of
    every round, tables/prompt_filters.csv, tables/prompt_quality.csv (columns in `alma.csv_schemas`): all
    figures are taken from these.
    seeds/sft.parquet: how many of its prompts state a constraint that a program can read.
Writes:
    evaluation/verdict.csv: the overall row, then one row per link (`alma.verdict`; docs/verdict.md).
    evaluation/verdict.html: the same for the first screen of the report, a part of a page.
"""

from html import escape
from pathlib import Path
from typing import Any

from alma.csv_tables import read_csv_table, write_csv_table
from alma.stated import stated_checks
from alma.summary_rows import of_own_judge
from alma.verdict import NO, NOT_MEASURED, UNCLEAR, YES, expected, figure, title, verdict

Row = dict[str, Any]

# Sign, color of the sign and background: the sign and the word tell the states apart without color.
LOOKS = {
    YES: ("\u2713", "#00614a", "#e2f3ec"),
    NO: ("\u2717", "#8f3a00", "#fdeadf"),
    UNCLEAR: ("?", "#4a4a4a", "#f1f1f1"),
    NOT_MEASURED: ("\u2013", "#4a4a4a", "#ffffff"),
}


def state(row: Row) -> str:
    """Sign and word of a row's state, as HTML."""
    sign, color, background = LOOKS[row["holds"]]
    return (
        f'<td style="color:{color};background:{background};white-space:nowrap;padding:.25rem .4rem">'
        f"<b>{sign} {escape(row['holds'])}</b></td>"
    )


def link_html(row: Row) -> str:
    """One table row; all text is escaped."""
    asked = f"<br/><small>expected {escape(expected(row))}</small>" if row["value"] is not None else ""
    todo = f"<details><summary>What to do</summary>{escape(row['advice'])}</details>" if row["advice"] else ""
    return (
        f"<tr>{state(row)}<td><b>{escape(title(row))}</b><br/>{escape(row['says'])}{todo}</td>"
        f"<td>{escape(figure(row))}{asked}</td></tr>"
    )


def fragment(rows: list[Row]) -> str:
    """The verdict as a part of a page: the overall sentence, then a table of the links.

    Styles stand at the elements, since the page around it is Snakemake's.
    """
    first, *links = rows
    sign, color, background = LOOKS[first["holds"]]
    todo = f"<p><b>What to do:</b> {escape(first['advice'])}</p>\n" if first["advice"] else ""
    return (
        '<div id="verdict">\n'
        f'<p style="border-left:.4rem solid {color};background:{background};padding:.6rem">'
        f"<b>{sign}</b> {escape(first['says'])}</p>\n{todo}<table>\n"
        "<thead><tr><th>holds</th><th>link</th><th>figure, 95% interval</th></tr></thead>\n<tbody>\n"
        + "\n".join(map(link_html, links))
        + "\n</tbody></table>\n</div>\n"
    )


def stating(pairs: list[Row]) -> tuple[int, int]:
    """How many prompts of SFT pairs state a constraint that a program can read, and how many there are.

    As for the synthesis, the prompt is the last user message, and counts once.
    """
    prompts = {[m["content"] for m in row["prompt"] if m["role"] == "user"][-1] for row in pairs}
    return sum(bool(stated_checks(prompt)) for prompt in prompts), len(prompts)


def main(
    summary: str | Path,
    gate: str | Path,
    lengths: list[str],
    filters: str | Path,
    quality: str | Path,
    sft: str | Path,
    table: str | Path,
    html: str | Path,
) -> None:
    """Write the verdict; see the module's docstring."""
    from alma.files import write_text
    from alma.tables import read_table

    rows = verdict(
        of_own_judge(read_csv_table(summary, "summary")),
        read_csv_table(gate, "verdict"),
        [row for path in lengths for row in read_csv_table(path, "length")],
        read_csv_table(filters, "prompt_filters"),
        read_csv_table(quality, "prompt_quality"),
        stating(read_table(sft, "sft")),
    )
    for row in rows:
        print(f"{title(row)}: {row['holds']}. {row['says']}")
    write_csv_table(table, "verdict", rows)
    write_text(html, fragment(rows))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.summary,
            snakemake.input.gate,
            list(snakemake.input.lengths),
            snakemake.input.filters,
            snakemake.input.quality,
            snakemake.input.sft,
            snakemake.output.table,
            snakemake.output.html,
            **config,
        )
