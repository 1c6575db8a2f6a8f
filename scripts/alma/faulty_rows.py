"""Rows that nobody can use: a few are left out and counted, many refuse their file.

Every real set of labels has some: a line that was cut off, an answer that is blank, a score that is a word. A
file of which more than a small share is such rows is read in a wrong way (another scale, another column), and
is refused with all its faults. So is one with a fault that is not of a row.
"""

import re

from alma.label_summary import SourceCount

SHOWN = 5  # faults of one file in the log
# How `alma.errors.problem` and the readers of `alma.seed_formats` write a fault of one row.
_ROW = re.compile(
    r"(?P<where>.+?: (?:line|row) \d+)(?:, (?P<column>[^:]+))?: found .*?, expected (?P<expected>.*)",
    re.DOTALL,
)
_LINES = re.compile(r".+: (\d+) more lines that are not UTF-8 text")


def settle(faults: list[str], count: SourceCount, share: float, problems: list[str]) -> None:
    """Count the faults of one file among the rows left out, or add them to the problems of the run.

    Args:
        faults: lines, of rows that are left out already.
        count: of the file; the rows that could be read.
        share: of the rows of a file that may have a fault (`labels.max_bad_rows`).
    """
    reasons: dict[str, str] = {}  # {row: reason}
    unread = more = 0
    for line in faults:
        if found := _LINES.fullmatch(line):
            more += int(found[1])
        elif found := _ROW.fullmatch(line):
            what = re.sub(r" \(.*", "", found["expected"].splitlines()[0])
            unread += found["column"] is None
            reasons.setdefault(found["where"], f"{found['column'] or 'the row'}: expected {what}")
        else:
            problems += faults
            return
    bad, total = len(reasons) + more, count.rows + unread + more
    if bad > share * total or (bad and bad == total):
        problems += faults
        return
    count.rows = total
    for reason in [*reasons.values(), *["the row: expected UTF-8 text"] * more]:
        count.left_out[reason] += 1
    for line in faults[:SHOWN]:
        print(f"left out: {line}")
