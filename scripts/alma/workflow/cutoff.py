"""Early cut-off: a job whose inputs turn out to be unchanged is taken off the plan while the run goes on.

Snakemake plans a job as soon as a job before it has to run, and then runs it whatever comes out.
`install` adds one step to the end of every job: those that wait for it alone are looked at again, by
Snakemake's own rules (time stamps, checksums, params, set of inputs). One that needs no run any more
is dropped, and so are those behind it that wait for nothing else. A dry run cannot know and lists
them; so does the count of jobs at the start.

Snakemake has no hook for this, so a method of its DAG is wrapped, and parts of the DAG are used that
may change in any version. `probe` looks for each of them before the first job. Where one is missing,
or after an error in here, Snakemake goes on by itself: more is made again than needed, never less.
"""

import inspect
from collections.abc import MutableMapping, MutableSet
from typing import Any

# What is used of each of Snakemake's objects: attributes of a kind, or methods.
Names = dict[str, type | None]
_METHOD = None
_DAG: Names = {
    "_finished": MutableSet,
    "_len": int,
    "_n_until_ready": MutableMapping,
    "_needrun": MutableSet,
    "_ready_jobs": MutableSet,
    "_running": MutableSet,
    "dependencies": MutableMapping,
    "depending": MutableMapping,
    "finish": _METHOD,
    "finished": _METHOD,
    "forcefiles": object,
    "forcerules": object,
    "max_checksum_file_size": object,
    "needrun": _METHOD,
    "reason": _METHOD,
    "update_ready": _METHOD,
    "workflow": object,
}
_WORKFLOW: Names = {"dryrun": bool, "persistence": object, "rerun_triggers": object}
_PERSISTENCE: Names = dict.fromkeys(
    (
        "code_changed",
        "has_metadata",
        "has_outdated_metadata",
        "input_changed",
        "input_checksums",
        "params_changed",
        "software_stack_changed",
    ),
    _METHOD,
)
_JOB: Names = {
    "group": object,
    "input": object,
    "is_group": _METHOD,
    "is_norun": object,
    "output": object,
    "output_mintime": object,
    "rule": object,
    "wildcards_dict": object,
}
_FILE: Names = dict.fromkeys(("exists", "is_newer", "is_same_checksum"), _METHOD)
_REASON: Names = dict.fromkeys(("clear", "get_names"), _METHOD)
_TRIGGERS = ("CODE", "INPUT", "PARAMS", "SOFTWARE_ENV")
_BEHIND = "input files updated by another job"  # the one reason that may turn out to be none

_OFF = "unchanged results may be made again in this run, and nothing else is different."


def install() -> bool:
    """Wrap `snakemake.dag.DAG.finish`, once per process; False where this Snakemake has none that fits."""
    try:
        from snakemake.dag import DAG
    except ImportError:
        return False
    if getattr(DAG, "alma_cutoff", False):
        return True
    original = getattr(DAG, "finish", None)
    if not inspect.iscoroutinefunction(original):
        return False

    async def finish(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
        ready = await original(self, job, *args, **kwargs)
        if not probe(self):
            return ready
        try:
            return await _drop_unneeded(self, job) or ready
        except Exception as error:
            _turn_off(self, f"it met an error ({type(error).__name__}: {error})")
            return ready

    DAG.finish = finish
    DAG.alma_cutoff = True
    return True


def probe(dag: Any) -> bool:
    """Whether the cut-off works in this run; looked up once per DAG, and told where it does not.

    Args:
        dag: Snakemake's DAG, before its first job (the Snakefile's `onstart`) or, where hooks are
            switched off, at the end of that; None where this Snakemake has none.
    """
    if dag is None:
        return False
    if not hasattr(dag, "alma_cutoff_on"):
        try:
            missing = _missing(dag)
        except Exception as error:
            missing = [f"{type(error).__name__}: {error}"]
        dag.alma_cutoff_on = True
        if missing:
            _turn_off(dag, f"this Snakemake does not fit it ({'; '.join(missing)})")
    return dag.alma_cutoff_on


def _missing(dag: Any) -> list[str]:
    """What the cut-off uses and this DAG, its jobs or its records do not have, in words."""
    found = _lacks(dag, "DAG", _DAG)
    if found:
        return found
    found = _lacks(dag.workflow, "Workflow", _WORKFLOW)
    if found:
        return found
    found = _lacks(dag.workflow.persistence, "Persistence", _PERSISTENCE)
    planned = [job for job in dag._needrun if job.output and job.input]
    if planned:
        job = planned[0]
        lacks = _lacks(job, "Job", _JOB)
        found += lacks or _lacks(next(iter(job.output)), "output file", _FILE)
        found += _lacks(dag.reason(job), "Reason", _REASON)
    if (
        not dag._finished and not dag._running
    ):  # nothing has run: the numbers must mean what they are used for
        if dag._len != len(dag._needrun):
            found.append(f"DAG._len is {dag._len} and not the number of planned jobs, {len(dag._needrun)}")
        for job in dag._needrun:
            waits = sum(other in dag._needrun for other in dag.dependencies[job])
            if dag._n_until_ready[job] != waits:
                found.append("DAG._n_until_ready is not the number of jobs that a job waits for")
                break
    from snakemake.settings.enums import RerunTrigger

    return found + [
        f"RerunTrigger.{name} is missing" for name in _TRIGGERS if not hasattr(RerunTrigger, name)
    ]


def _lacks(thing: Any, name: str, wanted: Names) -> list[str]:
    found = []
    for key, kind in wanted.items():
        if inspect.getattr_static(thing, key, None) is None and not hasattr(thing, key):
            found.append(f"{name}.{key} is missing")
        elif kind is _METHOD and not callable(getattr(thing, key)):
            found.append(f"{name}.{key} is not a method")
        elif kind not in (_METHOD, object) and not isinstance(getattr(thing, key), kind):
            found.append(f"{name}.{key} is a {type(getattr(thing, key)).__name__}")
    return found


def _turn_off(dag: Any, why: str) -> None:
    from snakemake.logging import logger

    dag.alma_cutoff_on = False
    logger.warning(f"alma: the early cut-off is off: {why}; {_OFF}")


async def _drop_unneeded(dag: Any, job: Any) -> bool:
    """Drop what needs no run after `job`; whether other jobs became ready by that."""
    if dag.workflow.dryrun:
        return False
    todo, new_ready = list(job) if job.is_group() else [job], False
    while todo:
        for dependent in list(dag.depending.get(todo.pop(), ())):
            if not _waits_no_more(dag, dependent) or await _is_needed(dag, dependent):
                continue
            new_ready = _drop(dag, dependent) or new_ready
            print_dropped(dependent)
            todo.append(dependent)
    return new_ready


def print_dropped(job: Any) -> None:
    """Say in Snakemake's log that a job was taken off the plan."""
    from snakemake.logging import logger

    names = ", ".join(f"{key}={value}" for key, value in job.wildcards_dict.items() if key != "run")
    logger.info(
        f"Not needed any more: {job.rule.name}{f' ({names})' if names else ''}; same inputs as before."
    )


def _waits_no_more(dag: Any, job: Any) -> bool:
    """Whether a planned job has not started and all jobs that it waits for have ended."""
    planned = dag.needrun(job) and not dag.finished(job) and job not in dag._running
    return planned and all(dag.finished(other) or not dag.needrun(other) for other in dag.dependencies[job])


def _drop(dag: Any, job: Any) -> bool:
    """Take one job off the plan, wholly or not at all; whether others became ready by that."""
    needrun, ready, waits = dag._needrun, dag._ready_jobs, dag._n_until_ready
    behind = [other for other in dag.depending.get(job, ()) if dag.needrun(other)]
    before = set(ready), {other: waits[other] for other in [job, *behind] if other in waits}, dag._len
    try:
        needrun.discard(job)
        ready.discard(job)
        waits.pop(job, None)
        dag._len = len(dag._finished | needrun)
        for other in behind:
            waits[other] -= 1
        new_ready = dag.update_ready(behind)
        dag.reason(job).clear()
        return bool(new_ready)
    except Exception:
        needrun.add(job)
        ready.clear()
        ready.update(before[0])
        waits.update(before[1])
        dag._len = before[2]
        raise


async def _is_needed(dag: Any, job: Any) -> bool:
    """Whether a job has to run by what its inputs are now.

    The conditions are those of Snakemake's `DAG.update_needrun`, which skips them for jobs behind
    one that runs.
    """
    from snakemake.settings.enums import RerunTrigger

    if job.is_norun or job.is_group() or job.group or not job.output or job.rule in dag.forcerules:
        return True
    reason, persistence = dag.reason(job), dag.workflow.persistence
    if set(reason.get_names()) - {_BEHIND}:
        return True
    if not dag.forcefiles.isdisjoint(job.output) or not persistence.has_metadata(job):
        return True
    if persistence.has_outdated_metadata(job):
        return True
    for path in job.output:
        if not await path.exists():
            return True
    triggers = dag.workflow.rerun_triggers
    changes = {
        RerunTrigger.PARAMS: lambda: bool(persistence.params_changed(job)),
        RerunTrigger.INPUT: lambda: any(persistence.input_changed(job)),
        RerunTrigger.CODE: lambda: any(persistence.code_changed(job)),
        RerunTrigger.SOFTWARE_ENV: lambda: any(persistence.software_stack_changed(job)),
    }
    if any(changed() for trigger, changed in changes.items() if trigger in triggers):
        return True
    oldest = await job.output_mintime
    for path in job.input:
        if await path.exists() and await path.is_newer(oldest):
            known = persistence.input_checksums(job, path)
            if len(known) != 1:
                return True
            if not await path.is_same_checksum(known.pop(), dag.max_checksum_file_size):
                return True
    return False
