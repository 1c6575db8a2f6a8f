"""Resume state of a training job: which trainer checkpoints are whole, and whose they are.

It lies in `models/.resume/{checkpoint}/`, beside the declared outputs, because Snakemake deletes
the outputs of a killed job. A trainer writes its checkpoints file by file; a kill in between leaves
a part of one. So a checkpoint counts only once it holds a list of its files, written last.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from alma.files import write_json
from alma.ids import content_id

_FILES = "complete.json"  # in a trainer checkpoint: {file: size in bytes}
_FINGERPRINT = "fingerprint.json"


def resume_folder(checkpoint: str | Path) -> Path:
    """Folder of the resume state of the checkpoint that is written to `checkpoint`."""
    checkpoint = Path(checkpoint)
    return checkpoint.parent / ".resume" / checkpoint.name


def data_folder(checkpoint: str | Path, anew: bool = False) -> Path:
    """Folder beside `resume_folder` for what a training reads as it runs; `anew` empties it."""
    folder = resume_folder(checkpoint)
    folder = folder.with_name(f"{folder.name}.data")
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != _FILES)
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(files)}


def mark_complete(folder: str | Path) -> None:
    """Note that a trainer checkpoint is whole; call it after its last file."""
    write_json(Path(folder) / _FILES, _sizes(Path(folder)))


def is_complete(folder: Path) -> bool:
    """Whether a trainer checkpoint was marked, and still has the files that it had then."""
    try:
        return json.loads((folder / _FILES).read_text(encoding="utf-8")) == _sizes(folder)
    except (OSError, ValueError):
        return False


def last_checkpoint(folder: Path, facts: dict[str, Any]) -> Path | None:
    """Newest whole trainer checkpoint in `folder`, if the state was made by a job with these facts.

    State of another job (other data, code, config, weights) and parts of checkpoints are deleted,
    and the facts are noted for the next start.

    Args:
        folder: `resume_folder` of the checkpoint; made if it does not exist.
        facts: everything that decides the result, as JSON values.
    """
    mine = {"fingerprint": content_id(facts), "facts": facts}
    try:
        known = json.loads((folder / _FINGERPRINT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if folder.exists() and known.get("fingerprint") != mine["fingerprint"]:
        print("resume: the saved state belongs to another job; starting anew", flush=True)
        shutil.rmtree(folder)
    write_json(folder / _FINGERPRINT, mine)
    whole = []
    for path in folder.glob("checkpoint-*"):
        if is_complete(path):
            whole.append(path)
        else:
            print(f"resume: {path.name} is not whole and is not used", flush=True)
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def forget(checkpoint: str | Path) -> None:
    """Delete the resume state of a job that has ended well."""
    folder = resume_folder(checkpoint)
    for own in (folder, data_folder(checkpoint)):
        shutil.rmtree(own, ignore_errors=True)
    if folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()
