"""The command tools/push; what it sends is in `alma.hub_repository`."""

import argparse
import sys
from pathlib import Path

from alma import hub_repository
from alma.errors import InputError


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="push",
        description="Put a model of a run, or the data of its rounds, into a hub repository or a folder laid "
        "out as one. Nothing is uploaded unless a repository is named.",
    )
    parser.add_argument("run", type=Path, help="folder of the run, as in results/default")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--checkpoint", help="which model (default: the last round's)")
    what.add_argument("--data", action="store_true", help="what the rounds trained on, instead of a model")
    parser.add_argument("--repo", metavar="OWNER/NAME", help="upload to this repository of the hub")
    parser.add_argument("--public", action="store_true", help="a new repository can be seen by all")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="write into this new folder")
    parser.add_argument("--dry-run", action="store_true", help="only show the files")
    found = parser.parse_args(given)
    if found.public and not found.repo:
        parser.error("--public: expected --repo beside it")
    if found.repo and found.repo.count("/") != 1:
        parser.error(f"--repo: found {found.repo!r}, expected OWNER/NAME")
    return found


def push(options: argparse.Namespace) -> None:
    """Show the files, then write or upload them.

    Raises:
        InputError: something is missing, or damaged, or refused.
    """
    run = options.run
    if not (run / "models").is_dir():
        raise InputError(f"{run}: not the folder of a run; expected one such as results/default")
    if options.data:
        kind, files = "dataset", hub_repository.data_repository(run)
        print(f"data set repository, of the rounds of {run}:")
    else:
        name = options.checkpoint or hub_repository.last_checkpoint(run)
        kind, files = "model", hub_repository.model_repository(run, name)
        print(f"model repository, of {run}/models/{name}:")
    print("\n".join(hub_repository.tree(files)))
    if "to be stated before" in files[hub_repository.CARD].read_text(encoding="utf-8"):
        print("note: the card has a license that is not stated (base_model.license, labels.license)")
    if options.dry_run or not (options.repo or options.folder):
        print("nothing was written or uploaded: name --repo OWNER/NAME or --folder DIR, without --dry-run")
        return
    if options.folder:
        hub_repository.write_folder(files, options.folder)
        print(f"written: {options.folder}")
    if options.repo:
        print(f"uploaded: {hub_repository.upload(files, options.repo, kind, options.public)}")


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    try:
        push(arguments(given))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
