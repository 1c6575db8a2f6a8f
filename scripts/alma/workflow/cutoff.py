"""Early cut-off: a job whose inputs turn out to be unchanged is taken off the plan while the run goes on.

Snakemake plans a job as soon as a job before it has to run, and then runs it whatever comes out.
`install` adds one step to the end of every job: those that wait for it alone are looked at again, by
Snakemake's own rules (time stamps, checksums, params, set of inputs). One that needs no run any more
is dropped, and so are those behind it that wait for nothing else. A dry run cannot know and lists
them; so does the count of jobs at the start.

Snakemake has no hook for this, so a method of its DAG is wrapped. Where a version of Snakemake lacks
what the wrapper needs, the wrapper is left out: then more is rebuilt than needed, never less.
"""

from typing import Any

_NEEDED = ("finish", "needrun", "finished", "reason", "update_ready", "needrun_jobs")


def install() -> bool:
    """Wrap `snakemake.dag.DAG.finish`, once a process; False where this Snakemake does not fit."""
    from snakemake.dag import DAG

    if getattr(DAG, "alma_cutoff", False):
        return True
    if not all(hasattr(DAG, name) for name in _NEEDED):
        return False
    original = DAG.finish

    async def finish(self: Any, job: Any, update_checkpoint_dependencies: bool = True) -> Any:
        ready = await original(self, job, update_checkpoint_dependencies)
        if not self.workflow.dryrun:
            ready = await _drop_unneeded(self, job) or ready
        return ready

    DAG.finish = finish
    DAG.alma_cutoff = True
    return True


async def _drop_unneeded(dag: Any, job: Any) -> bool:
    """Drop what needs no run after `job`; whether other jobs became ready by that."""
    todo, new_ready = [job], False
    while todo:
        done = todo.pop()
        for dependent in list(dag.depending[done]):
            if not _waits_no_more(dag, dependent) or await _is_needed(dag, dependent):
                continue
            _drop(dag, dependent)
            print_dropped(dependent)
            behind = [other for other in dag.depending[dependent] if dag.needrun(other)]
            for other in behind:
                dag._n_until_ready[other] -= 1
            new_ready = dag.update_ready(behind) or new_ready
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


def _drop(dag: Any, job: Any) -> None:
    dag._needrun.discard(job)
    dag._ready_jobs.discard(job)
    dag._n_until_ready.pop(job, None)
    dag.reason(job).clear()
    dag._len = len(dag._finished | dag._needrun)


async def _is_needed(dag: Any, job: Any) -> bool:
    """Whether a job has to run by what its inputs are now.

    The conditions are those of Snakemake's `DAG.update_needrun`, which skips them for jobs behind
    one that runs.
    """
    from snakemake.settings.enums import RerunTrigger

    if job.is_norun or job.is_group() or not job.output or job.rule in dag.forcerules:
        return True
    reason, persistence = dag.reason(job), dag.workflow.persistence
    if set(reason.get_names()) - {"input files updated by another job"}:
        return True
    if not dag.forcefiles.isdisjoint(job.output) or not persistence.has_metadata(job):
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
