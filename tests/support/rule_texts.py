"""The rules as they are written, for the tests that look at all of them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RuleText:
    """One rule of rules/*.smk.

    Args:
        stage: name of its file.
        directives: {name of a directive: its text, as snakefmt writes it}.
    """

    name: str
    stage: str
    directives: dict[str, str]


def written_rules() -> list[RuleText]:
    """All rules with a script, file by file in the order of the Snakefile's includes."""
    found = []
    for stage in re.findall(r'^include: "rules/(\w+)\.smk"', (ROOT / "Snakefile").read_text(), re.M):
        text = (ROOT / "rules" / f"{stage}.smk").read_text()
        for name, body in re.findall(r"^rule (\w+):\n((?:(?: {4}.*)?\n)+)", text, re.M):
            parts = re.split(r"^ {4}(\w+):", body, flags=re.M)
            directives = dict(zip(parts[1::2], parts[2::2], strict=True))
            if "script" in directives:
                found.append(RuleText(name, stage, directives))
    return found
