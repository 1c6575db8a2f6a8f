"""The command `tools/replay`: one job's script alone, outside Snakemake, under a debugger if wanted.

The job is planned as Snakemake would plan it today (inputs, params, threads, code), and its script runs
in a process of its own with a `snakemake` object of the same content. The outputs go to a scratch folder,
no record is written, and what the script prints goes to the terminal.
"""

import argparse
import bdb
import filecmp
import os
import pdb
import pickle
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from alma.errors import InputError
from alma.workflow.config import ROOT
from alma.workflow.plan import differences, makes, place_in_run, plan, recorded_spec, spec_of, title

PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    "from alma.workflow.replay import play;"
    "play(sys.argv[2], sys.argv[3], sys.argv[4] == 'pdb')"
)


def job_of(dag: Any, path: str) -> Any:
    """The one job that makes (or logs to) a path.

    Raises:
        InputError: no job or several do, its rule runs no script, or an input is missing.
    """
    found = [job for job in dag.jobs if makes(job, path)]
    if not found:
        raise InputError(f"{path}: no job of this config makes it (add the --configfile of its run)")
    if len(found) > 1:
        shown = "".join(f"\n  {job.output[0] if job.output else title(job)}" for job in found[:5])
        raise InputError(f"{path}: {len(found)} jobs make files in it; name one file, such as{shown}")
    job = found[0]
    if spec_of(job) is None:
        raise InputError(f"{path}: rule {job.rule.name} runs no script of its own")
    missing = [str(name) for name in job.input if not Path(str(name)).exists()]
    if missing:
        shown = "".join(f"\n  {name}" for name in missing[:20])
        raise InputError(
            f"{path}: {len(missing)} inputs of {title(job)} are missing; make them first:{shown}"
        )
    return job


def scratch_folder(job: Any, run: str) -> Path:
    """Where the outputs of a replay lie: one hidden folder per job in the run's folder."""
    names = [value for key, value in job.wildcards_dict.items() if key != "run"]
    return Path("results", run, ".replay", "-".join([job.rule.name, *names]))


def inside(path: str, folder: Path) -> str:
    """results/RUN/x/y as folder/x/y."""
    return str(folder.joinpath(*Path(path).parts[2:]))


def snakemake_object(job: Any, folder: Path) -> Any:
    """What Snakemake gives to the job's script, with its outputs and log in another folder."""
    from snakemake.iocontainers import Snakemake

    def moved(files: Any) -> Any:
        return type(files)(toclone=files, custom_map=lambda name: inside(str(name), folder))

    script = ROOT / "scripts" / spec_of(job)["script"]  # type: ignore[index]
    return Snakemake(
        input_=job.input,
        output=moved(job.output),
        params=job.params,
        wildcards=job.wildcards,
        threads=job.threads,
        resources=job.resources,
        log=moved(job.log),
        config={},  # no script reads it
        rulename=job.rule.name,
        bench_iteration=None,
        scriptdir=str(script.parent),
    )


def play(script: str, pickled: str, debug: bool) -> None:
    """Run a script with a pickled `snakemake` object; the process that does it does nothing else.

    Args:
        script: path. pickled: file that holds the object. debug: stop at the script's first line, and
            where it fails.
    """
    from alma.workflow import job

    with open(pickled, "rb") as handle:
        snakemake = pickle.load(handle)  # written by `main` a moment ago
    job._log_to = lambda path: os.dup(2)  # to the terminal
    job.write_records = lambda *facts: None  # a replay is no result
    module = ModuleType("__main__")
    module.__dict__.update({"__file__": script, "snakemake": snakemake})
    sys.modules["__main__"] = module
    code = compile(Path(script).read_text(encoding="utf-8"), script, "exec")
    if not debug:
        exec(code, module.__dict__)
        return
    debugger = pdb.Pdb()
    try:
        debugger.run(code, module.__dict__)
    except bdb.BdbQuit:
        sys.exit(1)
    except BaseException as error:
        # An InputError has become an exit by now; where it was raised is of interest.
        cause = error.__context__ if isinstance(error, SystemExit) and error.__context__ else error
        traceback.print_exception(cause)
        pdb.post_mortem(cause.__traceback__)
        sys.exit(1)


def changed_since(dag: Any, job: Any) -> list[str]:
    """Keys of the spec that are not what the finished outputs were made with."""
    recorded = [recorded_spec(dag.workflow.persistence, output) for output in job.output]
    return sorted({key for old in recorded if old for key in differences(old, spec_of(job))})


def compared(job: Any, folder: Path) -> list[str]:
    """One line per output of a replay: whether its bytes are those of the finished one."""
    lines = []
    for name in map(str, job.output):
        made = Path(inside(name, folder))
        if Path(name).name == "provenance.json":
            continue
        if not made.exists():
            verdict = "not made"
        elif not Path(name).exists():
            verdict = "made; there is no finished one"
        else:
            same = filecmp.cmp(made, name, shallow=False)
            verdict = "the same bytes as the finished one" if same else "other bytes than the finished one"
        lines.append(f"  {made}: {verdict}")
    return lines


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="replay", description="Run the script of one job alone; its finished results are left alone."
    )
    parser.add_argument("path", help="an output of the job, a checkpoint's folder, or the job's log")
    parser.add_argument("--configfile", nargs="+", default=[], help="as given to snakemake for this run")
    parser.add_argument("--pdb", action="store_true", help="stop at the first line, and where it fails")
    parser.add_argument("--into", metavar="FOLDER", help="a new or empty folder for the outputs")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit status of the script, 1 where it cannot be run."""
    options = arguments(given)
    try:
        home, path = place_in_run(options.path)
        target = Path(options.into).absolute() if options.into else None
        if target is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"--into {options.into}: found files there, expected a new or empty folder")
        with plan(home, path, options.configfile) as dag:
            job = job_of(dag, path)
            folder = target or scratch_folder(job, Path(path).parts[1])
            if target is None:
                shutil.rmtree(folder, ignore_errors=True)
            snakemake = snakemake_object(job, folder)
            for name in snakemake.output:  # as Snakemake does before a job
                Path(name).parent.mkdir(parents=True, exist_ok=True)
            script = ROOT / "scripts" / spec_of(job)["script"]  # type: ignore[index]
            print(f"{title(job)}: scripts/{script.name}", flush=True)
            changed = changed_since(dag, job)
            if changed:
                print(f"note: {', '.join(changed)} changed since the finished one was made", flush=True)
            with tempfile.NamedTemporaryFile(suffix=".pickle") as handle:
                pickle.dump(snakemake, handle)
                handle.flush()
                mode = "pdb" if options.pdb else "run"
                command = [sys.executable, "-c", PROGRAM, str(ROOT / "scripts"), str(script), handle.name]
                status = subprocess.run([*command, mode]).returncode
            print(*compared(job, folder), sep="\n")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status
