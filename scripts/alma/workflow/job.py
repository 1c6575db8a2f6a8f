"""What every script does around its `main`: log, threads, checks of code and inputs, errors, provenance."""

import atexit
import errno
import gc
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.library_variables import for_every_job
from alma.trace.provenance import check_inputs, write_records
from alma.workflow import parts
from alma.workflow.codehash import code_hash
from alma.workflow.leases import lease
from alma.workflow.orphan import watch
from alma.workflow.storage import folder_of_job, split_inputs


def _log_to(path: str) -> int:
    """Send this process's output, that of C libraries included, to the job's log.

    Returns:
        Descriptor of what standard error was before: Snakemake's own.
    """
    before = os.dup(2)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", force=True)
    return before


_terminal: int | None = None  # `job` sets it: standard error of the process as it was started


def tell(text: str) -> None:
    """Print to the job's log, and to the run's own output, where it is seen while the run goes on."""
    print(text, flush=True)
    if _terminal is not None:
        os.write(_terminal, f"{text}\n".encode())


def limit_threads(threads: int) -> None:
    """Fix the number of compute threads before numpy, polars or torch is imported."""
    os.environ.update(for_every_job(threads))


def _script(spec: dict[str, Any]) -> Path:
    return Path(__file__).resolve().parents[2] / spec["script"]


def prepare_gpus(script: Path, count: int) -> None:
    """Make ready for processes that a library starts, one per GPU; a job with no GPU is left as it is.

    A process forked after CUDA was initialized cannot use it. So PyTorch looks for GPUs through NVML,
    which initializes nothing, and several workers are spawned, not forked. A spawned worker imports the
    main module again, by its file: that must be the script as it lies in the repository, which does
    nothing, and not Snakemake's copy of it with the `snakemake` object, which would run the job again.

    Args:
        script: the rule's. count: GPUs of the job.
    """
    if count:
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    if count > 1:
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    sys.modules["__main__"].__file__ = str(script)


def check_code(spec: dict[str, Any]) -> None:
    """Stop if the script on disk is no longer the one that the run was planned with."""
    if code_hash(_script(spec)) != spec["code"]:
        raise InputError(
            f"scripts/{spec['script']} or a module that it imports was edited after this run started.\n"
            f"  To keep code versions from mixing, this job did not run. Start the run again."
        )


def _start_and_end_quickly(snakemake: Any) -> bool:
    """Save seconds of each job that loads a model: some million objects come with the libraries.

    Python's cyclic garbage collector walks them again and again while they are imported, so it runs
    less often. At the end Python would take them apart one by one; the process leaves before that,
    when the exit handlers of all libraries have run (the first one registered is the last to run).

    Returns:
        Whether it does so, which it does in a process of its own alone.
    """
    gc.set_threshold(50_000, 50, 50)
    alone = getattr(sys.modules["__main__"], "snakemake", None) is snakemake
    if alone:
        atexit.register(_leave)
    return alone


_ended_well = False  # `job` sets it
_last_words = ""  # the message of a job that `job` ends


def _leave() -> None:
    if _ended_well or _last_words:
        # After what the exit handlers of libraries print: a reader looks at the end of a log.
        print(_last_words, end="")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(not _ended_well))


def whole_config(spec: dict[str, Any], uncompared: dict[str, Any]) -> dict[str, Any]:
    """The config of a spec with what its job needs beside it, which changes no result.

    Args:
        uncompared: values by name; a dict is laid into the part of that name.
    """
    config = dict(spec["config"])
    for name, value in uncompared.items():
        config[name] = config[name] | value if isinstance(config.get(name), dict) else value
    return config


@contextmanager
def job(snakemake: Any) -> Iterator[dict[str, Any]]:
    """Run the body of a rule's script; yields the rule's config (that of its spec, and what is not compared).

    An `InputError` ends the job with its message alone; any other error keeps its traceback.
    The body runs only where every input is as its record says; the records of the outputs are written
    after it has ended well.
    """
    global _ended_well, _last_words, _terminal
    terminal = _terminal = _log_to(snakemake.log[0])
    spec = json.loads(snakemake.params.spec)
    uncompared = getattr(snakemake.params, "uncompared", {})
    limit_threads(spec["threads"])
    gpus = int(getattr(getattr(snakemake, "resources", None), "gpu", 0))
    leaves = _start_and_end_quickly(snakemake)
    if leaves:
        prepare_gpus(_script(spec), gpus)
    watch()
    outputs = [str(path) for path in snakemake.output]
    wildcards = dict(snakemake.wildcards.items())
    folder = folder_of_job(str(snakemake.log[0]), wildcards.get("run"))  # of a storage's local copies
    try:
        check_code(spec)
        stored, others = split_inputs([str(path) for path in snakemake.input], folder)
        inputs = check_inputs(stored, Path(folder)) | check_inputs(others)
        lease(gpus, tell)
        config = whole_config(spec, uncompared)
        size = config.get("engine", {}).get("save_responses")
        if outputs:
            parts.begin(outputs[0], size, {"spec": spec, "inputs": inputs})
        yield config
    except InputError as error:
        _last_words = f"error: {error}\n"
        if not leaves:
            print(_last_words, end="", flush=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # The log lies on the disk that is full.
        message = (
            f"error: no space left for {error.filename or 'the results'} (rule {snakemake.rule}). What is "
            f"finished is kept: free some space and run the same command again.\n"
        )
        os.write(terminal, message.encode())
        os._exit(1)
    made = [path.removeprefix(folder) for path in outputs]
    write_records(snakemake.rule, spec, wildcards, inputs, made, uncompared, Path(folder))
    if outputs:
        parts.forget(outputs[0])
    _ended_well = True
