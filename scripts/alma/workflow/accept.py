"""The command `tools/accept`: keep finished results after a change that a person knows to be harmless.

Snakemake runs a job again when its `spec` (config and code hash) is not the one that it recorded with the
outputs. This command writes today's spec into that record, and what was accepted, by whom and why into the
record of provenance, where `tools/trace` shows it. The results themselves are left as they are.
"""

import argparse
import getpass
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.files import write_json
from alma.trace.lineage import changed_inputs
from alma.trace.provenance import ALWAYS_HASHED, fault_of, read_record, record_path
from alma.workflow.plan import differences, makes, place_in_run, plan, recorded_spec, spec_of, title
from alma.workflow.run_lock import another_run_is_alive

ALWAYS = ("code",)  # what is accepted without being named
INPUTS = "inputs"
_USED = ("metadata", "_get_key", "_input", "_params", "_write_record")  # of Snakemake's records


@dataclass
class Stale:
    """A finished job that Snakemake would run again.

    Args:
        job: Snakemake's. outputs: the finished files, provenance.json included.
        changes: {key: (value that was recorded, value today)}; `inputs` for another set of inputs or
            other bytes in them.
    """

    job: Any
    outputs: list[Any]
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def stale_jobs(dag: Any, path: str) -> tuple[list[Stale], int]:
    """Finished jobs with outputs at or under a path that differ from today's workflow.

    Returns:
        The jobs that differ, and the number of finished jobs that were looked at.

    Raises:
        InputError: no job makes anything there.
    """
    persistence = dag.workflow.persistence
    jobs = [job for job in dag.jobs if spec_of(job) is not None and makes(job, path)]
    if not jobs:
        raise InputError(f"{path}: no job of this config makes it (add the --configfile of its run)")
    found, finished = [], 0
    for job in sorted(jobs, key=lambda job: str(job.output[0])):
        outputs = list(job.output)
        if not all(Path(str(output)).exists() for output in outputs):
            continue  # not finished: there is nothing to keep
        finished += 1
        stale = Stale(job, outputs)
        for output in outputs:
            old = recorded_spec(persistence, output)
            if old is not None:
                stale.changes |= differences(old, spec_of(job))
        before, now = persistence.input(outputs[0]), list(map(str, persistence._input(job)))
        record = read_record(str(outputs[0]))
        if before is not None and before != now:
            stale.changes[INPUTS] = sorted({*before} - {*now}), sorted({*now} - {*before})
        elif record and (notes := changed_inputs(Path(), record["inputs"])):
            stale.changes[INPUTS] = [], notes
        if stale.changes:
            found.append(stale)
    return found, finished


def refusals(stale: Sequence[Stale], named: Sequence[str]) -> list[str]:
    """Why some jobs cannot be accepted, in words; `named`: keys to accept beside the code."""
    problems = []
    for one in stale:
        others = [key for key in one.changes if key not in ALWAYS and not _is_named(key, named)]
        if others:
            options = " ".join(f"--also {key}" for key in others)
            problems.append(
                f"{one.outputs[0]}: more than the code changed: {', '.join(others)}\n"
                f"    if this cannot change the result either, add: {options}"
            )
        for output in map(str, one.outputs):
            if Path(output).name == "provenance.json":
                continue
            record = read_record(output)
            if record is None or Path(output).name not in record["outputs"]:
                place = record_path(output)
                problems.append(f"{output}: it has no record of provenance ({place}) to write this into")
            elif fault := fault_of(Path(output), record["outputs"][Path(output).name], ALWAYS_HASHED):
                problems.append(f"{output}: {fault}")
    return problems


def _is_named(key: str, named: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in named)


def describe(one: Stale) -> list[str]:
    """What differs for one job, in lines."""
    lines = [title(one.job), *(f"  {output}" for output in one.outputs[:3])]
    lines += [f"  and {len(one.outputs) - 3} more files"] * (len(one.outputs) > 3)
    for key, (old, new) in one.changes.items():
        if key == INPUTS:
            lines += [f"    inputs: no longer {name}" for name in old] + [
                f"    inputs: {name}" for name in new
            ]
        else:
            lines.append(f"    {key}: {json.dumps(old)} -> {json.dumps(new)}")
    return lines


def accept(dag: Any, stale: Sequence[Stale], reason: str, who: str) -> None:
    """Write the acceptance into the records, and then today's spec into Snakemake's.

    The order matters: if the process ends in between, the jobs run again.

    Raises:
        InputError: Snakemake's records are not as they are written here.
    """
    persistence = dag.workflow.persistence
    gone = [name for name in _USED if not callable(getattr(persistence, name, None))]
    if gone:
        raise InputError(
            f"this Snakemake does not fit this command (no {', '.join(gone)}); nothing was accepted"
        )
    time = datetime.now(UTC).isoformat(timespec="seconds")
    for one in stale:
        changes = {key: {"old": old, "new": new} for key, (old, new) in one.changes.items()}
        entry = {"time": time, "who": who, "reason": reason, "changes": changes}
        for place in {record_path(str(output)): str(output) for output in one.outputs}.values():
            record = read_record(place)
            if record is not None:
                record["accepted"] = [*record.get("accepted", []), entry]
                write_json(record_path(place), record)
    for one in stale:
        checksums = None
        if INPUTS in one.changes:
            checksums = dag.workflow.async_run(_checksums(one.job, persistence.max_checksum_file_size))
        for output in one.outputs:
            known = persistence.metadata(output)
            if known is None:
                continue
            known.params = persistence._params(one.job)
            if checksums is not None:
                known.input, known.input_checksums = persistence._input(one.job), checksums
            persistence._write_record(persistence._get_key(output), known)


@contextmanager
def locked(dag: Any) -> Iterator[None]:
    """Hold Snakemake's own lock of these files.

    Raises:
        InputError: another run holds it.
    """
    from snakemake.exceptions import LockException

    try:
        with dag.workflow.persistence.lock():
            yield
    except LockException as error:
        raise InputError(
            f"{Path.cwd()}: Snakemake's lock is held by a run that goes on, or that was killed on another "
            "machine; nothing was accepted"
        ) from error


async def _checksums(job: Any, limit: int) -> dict[str, str]:
    found = {str(path): await path.checksum(limit) for path in job.input}
    return {path: checksum for path, checksum in found.items() if checksum is not None}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="accept", description="Keep finished results after a change that you know to be harmless."
    )
    parser.add_argument("path", help="a run's folder, a folder or an artifact of it, a checkpoint's folder")
    parser.add_argument("--reason", help="why the results are still right; without it nothing is written")
    parser.add_argument(
        "--also",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY",
        help="accept a change of this key too (as shown), or of `inputs`; by default only the code's",
    )
    parser.add_argument("--who", help="who says so (default: the name of the user)")
    parser.add_argument("--configfile", nargs="+", default=[], help="as given to snakemake for this run")
    return parser.parse_args(given)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container without a user
        raise InputError("--who: this machine knows no user name; say who accepts this") from error


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 where all that differed was accepted, or nothing did."""
    options = arguments(given)
    try:
        home, path = place_in_run(options.path)
        if options.reason is not None and not options.reason.strip():
            raise InputError("--reason: found nothing, expected why the results are still right")
        if another_run_is_alive(home / ".snakemake"):
            raise InputError(f"{home}: a run is going on here; nothing is accepted while it does")
        with plan(home, path, options.configfile) as dag:
            stale, finished = stale_jobs(dag, path)
            if not stale:
                print(f"{path}: {finished} finished jobs, none of which differs from today's workflow")
                return 0
            for one in stale:
                print(*describe(one), sep="\n")
            problems = refusals(stale, options.also)
            if problems:
                shown = "".join(f"\n  {problem}" for problem in problems[:20])
                raise InputError(f"nothing was accepted:{shown}")
            if options.reason is None:
                raise InputError('nothing was accepted yet: say why with --reason "..."')
            who = options.who or _user()
            with locked(dag):
                accept(dag, stale, options.reason.strip(), who)
    except InputError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(stale)} jobs accepted by {who}; tools/trace shows it")
    return 0
