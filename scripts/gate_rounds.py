"""Let the rounds begin, or stop the run before them where the judge is not fit (`judge.gate: stop`).

Reads:
    evaluation/gate.csv, under stop alone: under warn nothing is waited for.
Writes:
    judge/gate.txt: the word "ok"; the rounds' sampling waits for it. It is the same under warn and stop, so
    that a change of the key makes no finished round again.
"""

from pathlib import Path

from alma.csv_tables import read_csv_table
from alma.errors import fail_with
from alma.verdict import gate_problems


def main(gate: str | Path | None, passed: str | Path) -> None:
    """Write the file; see the module's docstring.

    Args:
        gate: None under warn.

    Raises:
        InputError: the judge does not pass; the message says why and what to do.
    """
    from alma.files import write_text

    problems = [] if gate is None else gate_problems(read_csv_table(gate, "verdict"))
    if problems:
        problems.append(
            "Mend the judge and run the same command again, or set judge.gate: warn to go on all the same. "
            "What is finished is kept."
        )
    fail_with(
        problems,
        f"{gate}: the judge is not fit to choose the rounds' training data, and judge.gate is stop:",
    )
    write_text(passed, "ok\n")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.get("gate") or None, snakemake.output.passed, **config)
