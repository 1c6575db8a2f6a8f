"""A checkpoint, or the data of the rounds, as a repository of the Hugging Face hub: files and upload.

The weights are safetensors and nothing else; a card must be there, and of these very bytes.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from alma.checkpoints import MODEL_FILES
from alma.errors import InputError, fail_with
from alma.files import sha256_of

CARD = "README.md"
# Folder of the published data set: table of a round that it is made of.
DATA = {"chosen": "dataset.parquet", "preferences": "preferences.parquet"}
MAKE_CARDS = "make them with: snakemake --cores all cards (and the --configfile of this run, if it has one)"


def last_checkpoint(run: Path) -> str:
    """The model that a run has a card of; of several rounds the last one.

    Raises:
        InputError: there is no such card.
    """
    names = [path.stem for path in (run / "cards").glob("*-*.md") if not path.stem.startswith("judge")]
    if not names:
        raise InputError(f"{run}/cards: found no model card; {MAKE_CARDS}")
    return max(names, key=lambda name: (name.startswith("round-"), int(name.rsplit("-", 1)[1])))


def _card(run: Path, name: str, hashes: dict[str, str]) -> Path:
    """The card of a repository, which must name the hash of each of its main files."""
    card = run / "cards" / f"{name}.md"
    if not card.is_file():
        raise InputError(f"{card}: there is no card of {name}; {MAKE_CARDS}")
    text = card.read_text(encoding="utf-8")
    other = [path for path, found in hashes.items() if found not in text]
    fail_with([f"{path}: the card is of other bytes" for path in other], f"{card}: {MAKE_CARDS}")
    return card


def model_repository(run: Path, checkpoint: str) -> dict[str, Path]:
    """Files of a model repository: {path in it: path of the file}.

    Args:
        run: results/{run}. checkpoint: round-3, sft-0, judge, ...

    Raises:
        InputError: a file is missing or damaged, or there is no card of these weights.
    """
    folder = run / "models" / checkpoint
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: not a complete checkpoint, {', '.join(missing)} missing")
    hashes = {name: sha256_of(folder / name) for name in MODEL_FILES if name != "SHA256SUMS"}
    written = (folder / "SHA256SUMS").read_text().splitlines()
    damaged = [name for name, found in hashes.items() if f"{found}  {name}" not in written]
    fail_with([f"{folder / name}: has other bytes than SHA256SUMS says" for name in damaged], "damaged files")
    card = _card(run, checkpoint, {"model.safetensors": hashes["model.safetensors"]})
    files = {CARD: card} | {name: folder / name for name in MODEL_FILES}
    record = folder / "provenance.json"
    return files | ({record.name: record} if record.is_file() else {})


def data_repository(run: Path) -> dict[str, Path]:
    """Files of a data set repository, of the rounds after the first: {path in it: path of the file}.

    The labels (round 1) are not the run's to give away.

    Raises:
        InputError: there is no round, or no card of these tables.
    """
    rounds = sorted(int(path.name) for path in (run / "rounds").glob("*") if path.name.isdecimal())
    files = {
        f"{folder}/round-{r}.parquet": run / "rounds" / str(r) / table
        for folder, table in DATA.items()
        for r in rounds
        if r > 1
    }
    missing = [str(path) for path in files.values() if not path.is_file()]
    if not files or missing:
        raise InputError(f"{run}/rounds: {', '.join(missing) or 'no round after the first'} missing")
    card = _card(run, "data", {name: sha256_of(path) for name, path in files.items()})
    return {CARD: card} | files


def size_text(size: int) -> str:
    """A size for people: 538 MB."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def tree(files: dict[str, Path]) -> list[str]:
    """Lines that show a repository: path, size, and the file that it is made of."""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    wide = max(map(len, files))
    lines = [f"  {name.ljust(wide)}  {size_text(sizes[name]):>8}  {path}" for name, path in files.items()]
    return [*lines, f"  {len(files)} files, {size_text(sum(sizes.values()))}"]


def write_folder(files: dict[str, Path], folder: Path) -> None:
    """Copy the files of a repository into a new folder, all or none.

    Raises:
        InputError: the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--folder: found {folder}, which is not empty; expected a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        for name, path in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, temporary / name)
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def upload(files: dict[str, Path], repository: str, kind: str, public: bool) -> str:
    """Commit the files to a repository of the hub, which is made if it is not there; returns its address.

    Args:
        repository: OWNER/NAME. kind: "model" or "dataset".
        public: whether a new repository can be seen by all; one that is there stays as it is.

    Raises:
        InputError: there is no token, or the hub refuses.
    """
    from httpx2 import HTTPError  # huggingface_hub's own library: refusals of the hub, and no way to it
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = HfApi()
    operations: list[Any] = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(path)) for name, path in files.items()
    ]
    try:
        api.whoami()
        made = api.create_repo(repository, repo_type=kind, private=not public, exist_ok=True)
        api.create_commit(repository, operations, commit_message="Upload by alma", repo_type=kind)
    except LocalTokenNotFoundError as error:
        raise InputError(
            "--repo: the hub needs a token; log in (.venv/bin/hf auth login) or set HF_TOKEN"
        ) from error
    except HFValidationError as error:
        raise InputError(f"--repo: found {repository!r}, expected OWNER/NAME ({error})") from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise InputError(f"--repo: {repository} was not uploaded ({error})") from error
    return str(made)
