"""Finished parts of what a job asks of its engine: a killed job goes on after the last one.

They lie in `.parts/{output}/` beside the job's first output, since Snakemake deletes the outputs of a
killed job, and are removed when the job has ended well. Each says which job it belongs to: spec (with the
hash of the code), contents of the inputs, package versions. One of another job, or one that was damaged, is
not used.

How the work is cut depends on the number of items and on `engine.save_responses`, never on time. So the parts
that a resumed job works on hold the same requests side by side as those of a job that was not stopped.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from alma.files import write_text
from alma.ids import content_id
from alma.trace.provenance import package_versions


@dataclass
class _Job:
    folder: Path
    size: int  # most items in a part
    facts: dict[str, Any]
    calls: int = 0  # of `run` so far: the calls of a job are the same each time


_job: _Job | None = None


def parts_folder(output: str | Path) -> Path:
    """Folder of the parts of the job that writes `output`."""
    output = Path(output)
    return output.parent / ".parts" / output.name


def begin(output: str | Path, size: int | None, facts: dict[str, Any]) -> None:
    """From now on `run` saves parts for the job that writes `output`.

    Args:
        size: most items in a part; None saves nothing.
        facts: what decides the job's result, as JSON values.
    """
    global _job
    _job = None if size is None else _Job(parts_folder(output), size, facts)


def forget(output: str | Path) -> None:
    """Delete the parts of a job that has ended well."""
    global _job
    _job = None
    folder = parts_folder(output)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def _save(path: Path, owner: str, answers: list[Any]) -> None:
    """A head with the owner and a digest of the body, and the body, each as a line of JSON."""
    body = json.dumps(answers)
    head = {"job": owner, "sha256": hashlib.sha256(body.encode()).hexdigest()}
    write_text(path, f"{json.dumps(head)}\n{body}\n")


def _saved(path: Path, owner: str) -> list[Any] | None:
    """Answers of a part; None where there is none, or a damaged one, or one of another job."""
    try:
        head, body = path.read_text(encoding="utf-8").splitlines()
        known = json.loads(head)
    except FileNotFoundError:
        return None
    except ValueError:
        known, body = None, ""
    if known == {"job": owner, "sha256": hashlib.sha256(body.encode()).hexdigest()}:
        return json.loads(body)
    whose = "is damaged" if not isinstance(known, dict) or known.get("job") == owner else "is another job's"
    print(f"parts: {path.name} {whose} and is not used", flush=True)
    return None


def run(items: list[Any], work: Callable[[list[Any], str], list[Any]], what: str) -> list[Any]:
    """`work` on all items, part by part, without the parts that a killed job has saved.

    Outside a job, and where one part holds all items, nothing is saved.

    Args:
        items: in an order that is the same each time.
        work: gets some items and a name; gives one answer per item, JSON values, in their order. An answer
            must not depend on which other items there are.
        what: name in the progress lines.

    Returns:
        One answer per item, in their order.
    """
    job = _job
    if job is None or len(items) <= job.size:
        return work(items, what)
    job.calls += 1
    count = -(-len(items) // job.size)
    bounds = [part * len(items) // count for part in range(count + 1)]  # as even as can be
    owner = content_id(job.facts, package_versions())
    answers: list[Any] = []
    used = 0
    for part, (start, end) in enumerate(pairwise(bounds), 1):
        path = job.folder / f"{job.calls}-{start}-{end}.json"
        found = _saved(path, owner)
        if found is None:
            found = work(items[start:end], f"{what}, part {part} of {count}")
            _save(path, owner, found)
        else:
            used += 1
        answers += found
    if used:
        print(f"parts: {used} of {count} were there from a job that was stopped", flush=True)
    return answers
