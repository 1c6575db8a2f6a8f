"""Render Snakemake's own report of a run: one HTML file that needs no network.

Reads:
    every figure and table that a rule marks with report(); Snakemake's records of their jobs.
Writes:
    report.html
Params:
    settings (the whole config, with which Snakemake is called again for the report; it runs no job),
    storage (the options of a storage that holds the results; empty without one).
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alma.files import atomic_path, write_json
from alma.workflow.config import ROOT


def command(
    config_file: str | Path, html: str | Path, targets: list[str], storage: Sequence[str] = ()
) -> list[str]:
    """The call that renders the report of `targets`.

    A report takes no lock and starts no job. Targets are the finished inputs of this job, and not the
    report itself, which Snakemake would find unfinished. No profile: what it sets (executor, limits)
    concerns jobs.
    """
    options = ["--snakefile", str(ROOT / "Snakefile"), "--directory", os.getcwd(), "--nolock"]
    options += ["--workflow-profile", "none", "--configfile", str(config_file), *storage]
    return [sys.executable, "-m", "snakemake", *options, "--report", str(html), "--", *targets]


def main(
    contents: list[str], html: str | Path, *, settings: dict[str, Any], storage: Sequence[str] = ()
) -> None:
    """Render the report.

    Args:
        contents: what it shows, as paths from `results/` on.

    Raises:
        subprocess.CalledProcessError: Snakemake failed; its message is in the log.
    """
    # SNAKEMAKE_PROFILE and the like are meant for the run around this job; keys of a storage stay.
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SNAKEMAKE_") or key.startswith("SNAKEMAKE_STORAGE_")
    }
    with tempfile.TemporaryDirectory() as folder:
        # JSON: YAML would read 1e-05, which is how Python writes a small number, as text.
        config_file = Path(folder) / "config.json"
        write_json(config_file, settings)
        made = Path(folder) / "report.html"
        subprocess.run(command(config_file, made, contents, storage), check=True, env=environment)
        with atomic_path(html) as temporary:
            temporary.write_bytes(made.read_bytes())


if "snakemake" in globals():
    from alma.workflow.job import job
    from alma.workflow.storage import folder_of_job, split_inputs

    with job(snakemake) as config:
        folder = folder_of_job(snakemake.log[0], snakemake.wildcards.run)
        contents, _ = split_inputs(list(snakemake.input.contents), folder)
        main(contents, snakemake.output.html, **config)
