"""What a run was planned with, for its jobs on other machines, and which of them are of this run.

A job of a cluster reads the Snakefile again, minutes or hours after the run was planned. It takes the config
and the code hashes from the plan of its run, so that an edit of the config meanwhile changes no job, and an
edit of the code is noticed, as on one machine. And a job of a run that is gone ends before it writes
anything, once another run has begun in its folder. Standard library only.
"""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.workflow import leftovers

_FILE = Path(".snakemake") / "alma.plan.json"
_VARIABLE = "ALMA_RUN"  # the scheduler hands it on to the jobs, with the rest of the environment


def write(config: dict[str, Any], code: dict[str, str]) -> None:
    """Write the plan of the run that begins now; jobs that are submitted from here on belong to it.

    Args:
        config: the whole config. code: {name of a script: hash of its code}.
    """
    name = str(uuid.uuid4())
    new = _FILE.with_suffix(".new")
    new.write_text(json.dumps({"run": name, "config": config, "code": code}))
    new.replace(_FILE)
    os.environ[_VARIABLE] = name


def begin(workflow: Any, config: dict[str, Any], code: dict[str, str]) -> None:
    """Before the first job, behind Snakemake's lock: tell jobs on other machines of this run from older ones.

    Nothing is done where the jobs run on this machine.

    Args:
        workflow: Snakemake's, with its executor.

    Raises:
        InputError: jobs of the last run are still there, or Slurm cannot be asked.
    """
    if not workflow.non_local_exec:
        return
    write(config, code)
    if workflow.executor_plugin.name == "slurm":
        leftovers.cancel(workflow.executor_settings.jobname_prefix or "", Path.cwd())


def read(patience: float = 60.0) -> dict[str, Any] | None:
    """The plan of the run that submitted this job: {"run": ..., "config": ..., "code": ...}.

    Args:
        patience: seconds to wait for a plan of this run, since a network file system may show an old one.

    Returns:
        None where this process is no job of such a run (an executor that hands on no environment).

    Raises:
        InputError: the folder has the plan of another run.
    """
    name = os.environ.get(_VARIABLE)
    if name is None:
        return None
    end = time.monotonic() + patience
    while True:
        try:
            plan: dict[str, Any] = json.loads(_FILE.read_text())
        except FileNotFoundError:
            plan = {}
        if plan.get("run") == name:
            return plan
        if time.monotonic() > end:
            raise InputError(
                "the run that submitted this job has ended and another has begun in its folder: "
                "the job does not run"
            )
        time.sleep(1)
