"""`tools/alma run`: a run with a config of one's own, in an order of arguments that Snakemake cannot misread.

Snakemake's --configfile takes several files, and so takes a target that follows it for one more.
"""

import os
import sys
from pathlib import Path

from alma.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
USAGE = "tools/alma run my.yaml [more.yaml] [TARGET ...] [-- options of snakemake]"
CONFIGS = (".yaml", ".yml", ".json")
CORES = (
    "--cores",
    "-c",
    "--jobs",
    "-j",
    "--profile",
    "--executor",
    "-e",
)  # one of them says how many at once


def snakemake_arguments(arguments: list[str]) -> list[str]:
    """Arguments of `snakemake` for those of `tools/alma run`.

    The first files that end like a config are laid over each other, the later ones win. What follows them
    is targets, up to `--` or the first option; the rest goes to Snakemake as it is.

    Raises:
        InputError: there is no config, or it is no file.
    """
    start = next((i for i, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    words, options = arguments[:start], arguments[start:]
    if options[:1] == ["--"]:
        options = options[1:]
    last = next((i for i, word in enumerate(words) if not word.endswith(CONFIGS)), len(words))
    configs, targets = words[:last], words[last:]
    if not configs:
        found = f"found {words[0]!r}" if words else "found none"
        raise InputError(f"config: {found}, expected a file that ends in {', '.join(CONFIGS)}\n  {USAGE}")
    for path in configs:
        if not Path(path).is_file():
            raise InputError(f"config: found {path!r}, expected a file (looked in {Path.cwd()})\n  {USAGE}")
    if not any(word.split("=")[0] in CORES or word.startswith(("-c", "-j")) for word in options):
        options = ["--cores", "all", *options]
    # The config files come last but one: "--" ends their list.
    return ["--snakefile", str(ROOT / "Snakefile"), *options, "--configfile", *configs, "--", *targets]


def main() -> int:
    """Become Snakemake; an exit status where that cannot be."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]) or not arguments:
        print(f"usage: {USAGE}\n  for example: tools/alma run my.yaml judge -- -n")
        return 0 if arguments else 2
    try:
        if arguments[0] != "run":
            raise InputError(f"command: found {arguments[0]!r}, expected run\n  {USAGE}")
        command = [sys.executable, "-m", "snakemake", *snakemake_arguments(arguments[1:])]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    os.execv(command[0], command)
