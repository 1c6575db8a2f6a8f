"""Say before the rounds whether the judge can tell good responses from bad ones.

Reads:
    evaluation/judge.csv, evaluation/selection.csv (columns in `alma.csv_schemas`).
Writes:
    evaluation/gate.csv: the links of the verdict that are about the judge (`alma.verdict.judge_links`).
    `gate_rounds` stops at them under `judge.gate: stop`; the verdict shows them.
Params:
    checkpoint, score (judge.checkpoint and judge.score of the run), samples_per_prompt.
"""

from pathlib import Path

from alma.csv_tables import read_csv_table, write_csv_table
from alma.verdict import gate_problems, judge_links, title

WARNING = "WARNING: the judge that chooses the rounds' training data is not fit for it:"


def main(
    judge: str | Path,
    selection: str | Path,
    gate: str | Path,
    *,
    checkpoint: str,
    score: str,
    samples_per_prompt: int,
) -> str:
    """Write the links; see the module's docstring.

    Returns:
        The warning for people, empty where the judge may choose.
    """
    links = judge_links(
        read_csv_table(judge, "judge"),
        read_csv_table(selection, "selection"),
        checkpoint,
        score,
        samples_per_prompt,
    )
    for row in links:
        print(f"{title(row)}: {row['holds']}. {row['says']}")
    write_csv_table(gate, "verdict", links)
    problems = gate_problems(links)
    return "\n".join([WARNING, *(f"  {line}" for line in problems)]) if problems else ""


if "snakemake" in globals():
    from alma.workflow.job import job, tell

    with job(snakemake) as config:
        warning = main(snakemake.input.judge, snakemake.input.selection, snakemake.output.gate, **config)
        if warning:
            tell(warning)
