"""What an artifact was made from, back to the seed files and the base model, by the jobs' records.

Only recorded paths are followed: an artifact of one run may have been made from those of another.
"""

import os
import re
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.files import sha256_of
from alma.trace.provenance import ALWAYS_HASHED, read_record, record_path
from alma.workflow.config import ROOT

Facts = dict[str, Any]


def natural_key(path: str) -> list[tuple[int, str]]:
    """Sort key in which round 10 comes after round 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


# where things lie


def split(path: Path) -> tuple[Path, str] | None:
    """(folder that holds results/, path from there) of an absolute path; None outside of a run."""
    places = [i for i, part in enumerate(path.parts[:-1]) if part == "results"]
    cuts = [(Path(*path.parts[:i]), "/".join(path.parts[i:])) for i in reversed(places)]
    for home, inside in cuts:
        run = home.joinpath(*Path(inside).parts[:2])
        if (run / "provenance").is_dir() or (run / "models").is_dir():
            return home, inside
    return cuts[0] if cuts else None


def locate(given: str) -> tuple[Path, str]:
    """(folder that holds results/, path from there) of what a user asks for.

    A relative path is looked for in the working directory, in the folders above it, and beside the
    workflow. A deleted artifact is found by its record.

    Raises:
        InputError: there is no such file, or it is not part of a run.
    """
    if os.path.isabs(given):
        places = [Path(given)]
    else:
        places = [folder / given for folder in (Path.cwd(), *Path.cwd().parents, ROOT)]
    places = [Path(os.path.abspath(place)) for place in places]
    for place in places:
        found = split(place)
        if found and (place.exists() or (found[0] / record_path(node_of(found[1], "x"))).exists()):
            return found
    if places[0].exists():
        raise InputError(f"{given}: not part of a run (no folder `results` is above it)")
    raise InputError(f"{given}: no such file or folder (looked in {Path.cwd()})")


def node_of(path: str, file: str = "") -> str:
    """The artifact that a file belongs to: its checkpoint's folder, or the file itself.

    Args:
        path: as a record names it. file: name to add to a checkpoint's folder.
    """
    parts = Path(path).parts
    if len(parts) > 3 and parts[0] == "results" and parts[2] == "models":
        path = "/".join(parts[:4])
        return f"{path}/{file}" if file else path
    return path


def _home_of(home: Path, path: str) -> tuple[Path, str]:
    """Home and path of a recorded path; an absolute one may lead into another working directory."""
    found = split(Path(path)) if os.path.isabs(path) else None
    return found or (home, path)


def record_of(home: Path, path: str) -> Facts | None:
    """The record of a file or of a checkpoint's folder; None where there is none."""
    home, path = _home_of(home, path)
    return read_record(node_of(path, "x"), home)


def content_of(record: Facts, path: str) -> str:
    """SHA-256 that stands for an artifact: that of its file, or of a checkpoint's weights."""
    outputs = record["outputs"]
    name = "model.safetensors" if "model.safetensors" in outputs else Path(path).name
    return outputs.get(name, next(iter(outputs.values())))["sha256"]


# lineage of an artifact


def changed_inputs(home: Path, inputs: dict[str, str]) -> list[str]:
    """Inputs that are no longer what the artifact was made from."""
    notes: dict[str, str] = {}
    for path, used in inputs.items():
        try:
            record = record_of(home, path)
        except InputError:
            continue  # told where that artifact is described
        now = record["outputs"].get(Path(path).name, {}).get("sha256") if record else None
        if record is None and (home / path).is_file() and (home / path).stat().st_size <= ALWAYS_HASHED:
            now = sha256_of(home / path)
        if now and now != used:
            change = "made again" if record else "edited"
            notes.setdefault(node_of(path), f"{path} was {change} since: used {used[:12]}, now {now[:12]}")
    return list(notes.values())


def describe(home: Path, path: str) -> Facts:
    """What made an artifact: `kind` is "made", "given" (a file of the user's) or "unknown" (no record)."""
    facts: Facts = {"path": path}
    try:
        record = record_of(home, path)
    except InputError as error:
        return facts | {"kind": "unknown", "notes": [str(error)]}
    if record is None:
        inside = _home_of(home, path)[1].startswith("results/")
        missing = [] if (home / path).exists() else ["no longer there"]
        return facts | {"kind": "unknown" if inside else "given", "notes": missing}
    spec = record["spec"]
    parents = sorted({node_of(source) for source in record["inputs"]}, key=natural_key)
    return facts | {
        "kind": "made",
        "rule": record["rule"],
        "wildcards": record["wildcards"],
        "seed": spec["config"].get("seed"),
        "params": {key: value for key, value in spec["config"].items() if key != "seed"},
        "script": spec["script"],
        "threads": spec["threads"],
        "code": spec["code"],
        "content": content_of(record, path),
        "outputs": {name: known["sha256"] for name, known in record["outputs"].items()},
        "commit": record["commit"],
        "time": record["time"],
        "accepted": record.get("accepted", []),
        "packages": record["packages"],
        "python": record.get("python"),
        "inputs": record["inputs"],
        "from": parents,
        "notes": changed_inputs(home, record["inputs"]),
    }


def lineage(home: Path, path: str) -> dict[str, Facts]:
    """Facts of an artifact and of everything that it was made from, by path; itself comes first.

    Raises:
        InputError: the artifact itself has no record.
    """
    root = node_of(path)
    found = {root: describe(home, root)}
    if found[root]["kind"] != "made":
        if (home / root).is_dir():
            raise InputError(f"{root}: not a checkpoint; name one of its files, or use --check")
        reason = "; ".join(found[root]["notes"]) or f"no record ({record_path(root)})"
        raise InputError(f"{root}: {reason}")
    todo = [root]
    while todo:
        facts = found[todo.pop()]
        for parent in facts.get("from", []):
            if parent not in found:
                found[parent] = describe(home, parent)
                # Of a file that no rule made, the bytes that were used are known here alone.
                found[parent].setdefault("content", facts["inputs"].get(parent))
                todo.append(parent)
    return found
