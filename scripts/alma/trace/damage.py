"""Check the files of a run against their records, byte by byte."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.trace.lineage import natural_key
from alma.trace.provenance import fault_of, load_record, read_record, rebuild_command

Facts = dict[str, Any]


def _records_of(run: Path) -> list[Path]:
    """Paths of all records of a run."""
    found = [*(run / "provenance").rglob("*.json"), *(run / "models").glob("*/provenance.json")]
    shown = [path for path in found if not any(p.startswith(".") for p in path.relative_to(run).parts)]
    return sorted(shown, key=lambda path: natural_key(str(path)))


def _covered(record: Path, run: Path) -> tuple[str, str]:
    """(folder of the artifacts of a record, the artifact that names it) from the home of the run."""
    home = run.parent.parent
    if record.parent.parent.name == "models":
        folder = record.parent.relative_to(home)
        return str(folder), str(folder)
    artifact = run.relative_to(home) / record.relative_to(run / "provenance")
    return str(artifact.parent), str(artifact).removesuffix(".json")


def find_damage(home: Path, path: str) -> Facts:
    """Compare every recorded file of a run, or of a part of it, with its record; all bytes are read.

    Artifacts of other runs that it was made from are checked too.

    Args:
        home: the folder that holds results/. path: a run, a folder or an artifact of it, from there.

    Returns:
        checked (number of files), damaged (path, fault, rule, wildcards, command), accepted (path, entries
        of `tools/accept`), and unrecorded (files in the run that no record covers).

    Raises:
        InputError: nothing there has a record.
    """
    run = home.joinpath(*Path(path).parts[:2])
    damaged: list[Facts] = []
    checked: set[str] = set()
    linked: set[str] = set()
    accepted: list[Facts] = []

    def check(record: Facts, folder: str, names: Iterable[str]) -> None:
        for name in names:
            file = f"{folder}/{name}"
            if file in checked:
                continue
            checked.add(file)
            fault = fault_of(home / file, record["outputs"][name], always_hashed=float("inf"))
            if fault:
                damaged.append(
                    {
                        "path": file,
                        "fault": fault,
                        "rule": record["rule"],
                        "wildcards": record["wildcards"],
                        "command": rebuild_command([file]),
                    }
                )
        linked.update(name for name in record["inputs"] if not os.path.isabs(name))

    wanted = path.rstrip("/")
    for place in _records_of(run):
        folder, artifact = _covered(place, run)
        if not f"{artifact}/".startswith(f"{wanted}/") and not wanted.startswith(f"{artifact}/"):
            continue
        try:
            record = load_record(place)
        except InputError:
            command = rebuild_command([artifact if folder != artifact else f"{artifact}/config.json"])
            shown = str(place.relative_to(home))
            fault = "this record of provenance is damaged"
            damaged.append({"path": shown, "fault": fault, "rule": None, "wildcards": {}, "command": command})
            continue
        if record:
            check(record, folder, record["outputs"])
            if record.get("accepted"):
                accepted.append({"path": artifact, "entries": record["accepted"]})
    if not checked and not damaged:
        raise InputError(f"{path}: nothing there has a record")
    own = set(checked)
    while linked:
        file = linked.pop()
        if file in checked or file.startswith(f"{run.relative_to(home)}/"):
            continue
        try:
            record = read_record(file, home)
        except InputError as error:
            print(f"note: {error}")
            continue
        if record and Path(file).name in record["outputs"]:
            check(record, str(Path(file).parent), [Path(file).name])
    return {
        "checked": len(checked),
        "damaged": damaged,
        "accepted": accepted,
        "unrecorded": _unrecorded(home, run, wanted, own),
    }


def _unrecorded(home: Path, run: Path, wanted: str, own: set[str]) -> list[str]:
    """Files of a run that no record covers; logs, records and states of trainers need none."""
    found = []
    for file in run.rglob("*"):
        inside = file.relative_to(run)
        skipped = inside.parts[0] in ("logs", "benchmarks", "provenance") or file.name == "provenance.json"
        if skipped or any(part.startswith(".") for part in inside.parts) or not file.is_file():
            continue
        path = str(file.relative_to(home))
        if path not in own and f"{path}/".startswith(f"{wanted}/"):
            found.append(path)
    return sorted(found, key=natural_key)
