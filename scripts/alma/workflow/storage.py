"""Paths of a run whose results lie in a storage (`--default-storage-provider`), S3 for example.

Snakemake then gives jobs, and all who ask a rule, the path of a local copy of each file: the path as the rule
says it, behind a folder (`.snakemake/storage/s3/BUCKET/`). Everything here that goes by paths goes by the
part from `results/` on. Standard library only.
"""

from collections.abc import Mapping
from typing import Any

_TOP = "results/"


def folder_of_rule(output: Any) -> str:
    """What Snakemake puts before the path of an output, which holds wildcards; empty without a storage."""
    return str(output).rpartition(_TOP + "{run")[0]


def output_path(output: Any, wildcards: Mapping[str, str]) -> str:
    """The path of an output as its rule says it, from `results/` on.

    Args:
        output: one of a rule's outputs in Snakemake, whose path holds wildcards.
    """
    return str(output.apply_wildcards(wildcards)).removeprefix(folder_of_rule(output))


def folder_of_job(log: str, run: str | None) -> str:
    """What Snakemake puts before the paths of a job's files; empty without a storage.

    Args:
        log: the job's log. run: the run that the job belongs to; None: of none.
    """
    return log.rpartition(f"{_TOP}{run}/")[0]


def split_inputs(paths: list[str], folder: str) -> tuple[list[str], list[str]]:
    """Inputs of a job from the storage, as paths below `folder`, and those of this machine."""
    stored = [path.removeprefix(folder) for path in paths if path.startswith(folder)]
    return stored, [path for path in paths if not path.startswith(folder)]
