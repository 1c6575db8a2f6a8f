"""A page on which people read prompts, all their candidates, and what was chosen.

Reads:
    tables/rounds/{round}/candidates.csv of every round.
Writes:
    tables/candidates.csv: all rows. tables/candidates.html: one file that needs no network.
"""

from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from alma.csv_tables import read_csv_table, write_csv_table

Row = dict[str, Any]

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Candidates</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
body { max-width: 1100px; margin: 0 auto; padding: 1rem; }
header { position: sticky; top: 0; background: #fff; padding: .5rem 0; border-bottom: 1px solid #ccc; }
input, select, button { font: inherit; padding: .25rem .5rem; }
input { width: 22rem; max-width: 100%; }
details { border-bottom: 1px solid #e3e3e3; padding: .4rem 0; }
summary { cursor: pointer; white-space: pre-wrap; }
summary small, td small { color: #555; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-top: 1px solid #e3e3e3; }
th { white-space: nowrap; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.text { white-space: pre-wrap; overflow-wrap: anywhere; width: 70%; }
tr.chosen { background: #e2f3ec; }
tr.rejected { background: #fdeadf; }
tr.cut td.text { color: #6a6a6a; }
</style>
</head>
<body>
<h1>Candidates of each round</h1>
<p>__COUNT__ Open a prompt to see all its responses, best judge score first. Green was chosen for the
next training, orange is the rejected one of the preference pair. A gray response was cut off by the token
limit and cannot be chosen.</p>
<header>
<input id="text" type="search" placeholder="text in a prompt or response" aria-label="text to look for">
<select id="round" aria-label="round"><option value="">all rounds</option>__ROUNDS__</select>
<button id="all" type="button">open all</button> <span id="shown"></span>
</header>
<main>
__PROMPTS__
</main>
<script>
const items = [...document.querySelectorAll("details")];
const texts = items.map((item) => item.textContent.toLowerCase());
const text = document.getElementById("text"), round = document.getElementById("round");
function filter() {
  const wanted = text.value.toLowerCase();
  let count = 0;
  items.forEach((item, i) => {
    const show = texts[i].includes(wanted) && (!round.value || item.dataset.round === round.value);
    item.hidden = !show;
    count += show;
  });
  document.getElementById("shown").textContent = count + " of " + items.length + " prompts";
}
text.addEventListener("input", filter);
round.addEventListener("change", filter);
document.getElementById("all").addEventListener("click", (event) => {
  const open = event.target.textContent === "open all";
  items.forEach((item) => { if (!item.hidden) item.open = open; });
  event.target.textContent = open ? "close all" : "open all";
});
filter();
</script>
</body>
</html>
"""


def candidate_html(row: Row) -> str:
    """One table row; all text is escaped."""
    shown = "no score" if row["score"] is None else f"{row['score']:.2f}"
    cut = row["finish_reason"] == "length"
    kind = " ".join(filter(None, [row["verdict"], "cut" if cut else ""]))
    tokens = f"{row['tokens']} tokens" + (", cut off" if cut else "")
    return (
        f'<tr class="{escape(kind)}"><td class="n">{shown}</td>'
        f"<td>{escape(row['verdict'])}</td>"
        f"<td>{escape(row['checkpoint'])}<br><small>{escape(tokens)}</small></td>"
        f'<td class="text">{escape(row["response"])}</td></tr>'
    )


def prompt_html(rows: list[Row]) -> str:
    """One prompt with all its candidates."""
    first = rows[0]
    scores = [row["score"] for row in rows if row["score"] is not None]
    span = f", scores {min(scores):.1f} to {max(scores):.1f}" if scores else ""
    note = "" if any(row["verdict"] == "chosen" for row in rows) else ", none chosen"
    return (
        f'<details data-round="{first["round"]}"><summary>{escape(first["prompt"])} '
        f"<small>(round {first['round']}, {len(rows)} responses{span}{note})</small></summary>\n"
        "<table><thead><tr><th>score</th><th>verdict</th><th>checkpoint</th><th>response</th></tr></thead>"
        "<tbody>\n" + "\n".join(map(candidate_html, rows)) + "\n</tbody></table></details>"
    )


def page(rows: list[Row]) -> str:
    """The whole page, prompts in the order of the rows."""
    groups = [list(group) for _, group in groupby(rows, key=lambda r: (r["round"], r["prompt_id"]))]
    rounds = list(dict.fromkeys(row["round"] for row in rows))
    options = "".join(f'<option value="{r}">round {r}</option>' for r in rounds)
    # The texts go in last: what stands for them in the page may also stand in a text.
    head, tail = PAGE.split("__PROMPTS__")
    head = head.replace("__COUNT__", f"{len(groups)} prompts, {len(rows)} responses.")
    return head.replace("__ROUNDS__", options) + "\n".join(map(prompt_html, groups)) + tail


def main(per_round: list[str], candidates: str | Path, html: str | Path) -> None:
    """Join the tables of the rounds and write the page."""
    from alma.files import write_text

    rows = [row for path in per_round for row in read_csv_table(path, "candidates")]
    write_csv_table(candidates, "candidates", rows)
    write_text(html, page(rows))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.per_round),
            snakemake.output.table,
            snakemake.output.html,
            **config,
        )
