"""Say that there is nothing to do without a plan, where one found so and what it looked at is as it was.

Snakemake plans every job of a run to find that none is needed, which takes it most of a minute for some
thousand jobs. After a plan without a job `install` has it note what that rests on: settings, config, rules
and code, and size and time stamp of each file that a job reads or writes and of each of Snakemake's records.
Where the next run finds all of it as noted, its plan is left empty. Snakemake itself looks at time stamps,
and at bytes only where those are newer, so what it would notice is noticed. Whatever differs or cannot be
compared leads to a plan as ever, and so does each command but a run and a dry run. Who wants a plan in any
case removes the note. Standard library only: the Snakefile calls this.
"""

import contextlib
import hashlib
import json
import os
import stat
import sys
from enum import Enum
from pathlib import Path
from typing import Any

NOTE = Path(".snakemake") / "alma.unchanged.json"
_RECORDS = Path(".snakemake") / "metadata"
_UNFINISHED = Path(".snakemake") / "incomplete"
_SETTINGS = ("dag_settings", "workflow_settings", "storage_settings", "deployment_settings")
_SOURCES = ("Snakefile", "rules/*.smk", "scripts/**/*.py", "schemas/*")  # what the plan itself is made by
_MARGIN = 2_000_000_000  # nanoseconds by which the clocks of file systems may be behind


class _Other(Exception):
    """What a plan looks at cannot be compared."""


def install(workflow: Any, facts: Any) -> None:
    """Have Snakemake make no plan where nothing has changed, and note what a plan without a job rests on.

    Args:
        workflow: Snakemake's, of the main process.
        facts: what decides the plan beside files and the text of the rules: config, code, devices; as JSON
            can hold it.
    """
    execute, build = getattr(workflow, "execute", None), getattr(workflow, "_build_dag", None)
    if execute is None or build is None:
        return  # another Snakemake, which plans as ever

    def build_dag() -> None:
        before: dict[str, str] = {}
        with contextlib.suppress(_Other, OSError, AttributeError):
            before = {"rest": _rest(workflow, facts), "records": _records()}
            if _is_as_noted(before):
                print("alma: nothing has changed since the last plan, which found nothing to do")
                return
        build()
        with contextlib.suppress(_Other, OSError, AttributeError):
            if before and not len(workflow.dag):
                _note(workflow, before)

    def executed(*args: Any, **kwargs: Any) -> Any:
        workflow._build_dag = build_dag
        return execute(*args, **kwargs)

    workflow.execute = executed


def _is_as_noted(now: dict[str, str]) -> bool:
    """Whether there is a note, and all is as it says."""
    try:
        note = json.loads(NOTE.read_bytes())
        return bool(
            {name: note[name] for name in now} == now
            and all(os.stat(path).st_mtime_ns == known for path, known in note["folders"].items())
            and all(_stamp(path) == known for path, known in note["files"].items())
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _note(workflow: Any, before: dict[str, str]) -> None:
    """Note what a plan without a job rests on.

    Nothing is noted where something was written since the process began, which it may have read before that.

    Raises:
        _Other: the plan cannot be compared with another. OSError: a file is not there.
    """
    dag, made, read = workflow.dag, set[str](), set[str]()
    for job in dag.jobs:
        reason = dag.reason(job)
        if reason.no_metadata or reason.outdated_metadata:
            raise _Other  # a dry run tells of these
        made.update(map(str, job.output))
        read.update(map(str, job.input))
    # Rules list the files of some folders of the user's: a new file changes its folder.
    folders = {os.path.dirname(path) or "." for path in read - made}
    note = before | {
        "folders": {path: os.stat(path).st_mtime_ns for path in sorted(folders)},
        "files": {path: _stamp(path) for path in sorted(made | read)},
    }
    start = workflow.start_time.timestamp() * 1e9 - _MARGIN
    changed = [os.stat(path) for path in (*folders, *made, *read)]
    if (
        any(max(found.st_mtime_ns, found.st_ctime_ns) > start for found in changed)
        or _records() != before["records"]
    ):
        raise _Other
    if any(path.stat().st_mtime_ns > start for path in _sources(workflow)):
        raise _Other
    new = NOTE.with_suffix(".new")
    new.write_text(json.dumps(note))
    new.replace(NOTE)


def _stamp(path: str) -> list[int]:
    """Size and time stamp of a file, and the time stamp of a link to it.

    Raises:
        _Other: it is a folder. OSError: it is not there.
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise _Other
    return [found.st_size, found.st_mtime_ns, os.lstat(path).st_mtime_ns]


def _records() -> str:
    """Hash of the names, sizes and time stamps of Snakemake's records.

    Raises:
        _Other: an output is not finished.
    """
    if any(files for _, _, files in os.walk(_UNFINISHED)):
        raise _Other
    found = []
    for folder, _, files in os.walk(_RECORDS):
        found += [(path, _stamp(path)) for path in (os.path.join(folder, name) for name in files)]
    return hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()


def _sources(workflow: Any) -> list[Path]:
    root = Path(str(workflow.basedir))
    return sorted(path for pattern in _SOURCES for path in root.glob(pattern) if path.is_file())


def _rest(workflow: Any, facts: Any) -> str:
    """Hash of all that a plan rests on beside files and records.

    Raises:
        _Other: files that lie elsewhere, or environments.
    """
    import snakemake

    if workflow.storage_settings.default_storage_provider or workflow.deployment_settings.deployment_method:
        raise _Other
    settings = {name: {k: _plain(v) for k, v in vars(getattr(workflow, name)).items()} for name in _SETTINGS}
    versions = [snakemake.__version__, sys.version]
    known = hashlib.sha256(json.dumps([versions, settings, facts], sort_keys=True).encode())
    for path in _sources(workflow):
        known.update(path.name.encode() + b"\0" + path.read_bytes())
    return known.hexdigest()


def _plain(value: Any) -> Any:
    """A setting as JSON, whatever order its parts come in."""
    if isinstance(value, Enum | Path):
        return str(value)
    if isinstance(value, frozenset | set):
        return sorted(str(_plain(one)) for one in value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
