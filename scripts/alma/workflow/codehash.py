"""Hash what a script does, not how it is written.

A rule carries the hash of its script and of every local module that the script imports, directly or
not. The hash is taken over syntax trees, so that whatever cannot change a result leaves it alone: a
comment, a docstring, a line break, a `print`, the words of an error. A real edit in a shared module
changes exactly the rules that use it. It is the same in every Python that can read the file. Standard
library only: the Snakefile calls this while it is read.
"""

import hashlib
from pathlib import Path

from alma.errors import InputError
from alma.workflow.meaning import PACKAGE, meaning_of

# Modules that run around a job's work and never change what it makes, so that an edit of one retrains
# nothing. What belongs to the recipe must not stand here.
RUNTIME = {
    "alma.csv_schemas": "names the columns of CSV tables; who writes other columns changes itself",
    "alma.errors": "carries and prints the message of a job that ends without a result",
    "alma.label_summary": "tells what was read of the labels, and counts what was not; no table holds it",
    "alma.progress": "the progress line in a log",
    "alma.trace.provenance": "writes and checks records of what was made",
    "alma.library_variables": "how libraries run, not what they compute; threads are in the spec",
    "alma.workflow.codehash": "names code and does not run it; what it finds is in the hash",
    "alma.workflow.job": "log, threads, checks and records around a script's main",
    "alma.workflow.leases": "which GPUs a job uses, not what it computes there",
    "alma.workflow.meaning": "as codehash, for one file",
    "alma.workflow.orphan": "ends a job whose run is gone",
    "alma.workflow.parts": "a resumed job gives the bytes of one that was not stopped (tested)",
    "alma.workflow.quiet": "keeps what a library prints as it starts out of the log",
    "alma.workflow.resume": "a resumed training gives the bytes of one that was not stopped (tested)",
    "alma.workflow.storage": "which folder stands before the paths of a job's files",
    "alma.workflow.tracking": "sends training curves to a tracker; the weights are the same (tested)",
}


def _is_local(name: str, scripts: Path) -> bool:
    """Whether a dotted name begins with the package or a script; else it is a library's."""
    top = name.partition(".")[0]
    return top == PACKAGE or (scripts / f"{top}.py").is_file()


def _file_of(name: str, scripts: Path) -> Path | None:
    """File of a local module or package by its dotted name; None where there is none."""
    place = scripts.joinpath(*name.split("."))
    for path in (place / "__init__.py", place.with_suffix(".py")):  # Python's own order
        if path.is_file():
            return path
    return None


def _imported(path: Path, scripts: Path) -> tuple[str, set[str]]:
    """Digest of one file, and dotted names of the local modules that it imports.

    Raises:
        InputError: an import cannot be followed, or names a local module that is not there; or the file is
            not Python.
    """
    try:
        meaning = meaning_of(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError(f"{path}: line {error.lineno}: Python cannot read this: {error.msg}") from error
    found: set[str] = set()
    for one in meaning["imports"]:
        if one["fault"]:
            raise InputError(
                f"{path}: line {one['line']}: found {one['fault']}, which the code hash can follow"
            )
        names, module = one["names"], one["module"]
        if module is not None:
            inside = [f"{module}.{name}" for name in names] if _is_local(module, scripts) else []
            names = [name if _file_of(name, scripts) else module for name in inside]
        for name in names:
            if not _is_local(name, scripts):
                continue
            if name != PACKAGE and _file_of(name, scripts) is None:
                raise InputError(
                    f"{path}: line {one['line']}: {name} is imported, and {scripts} holds no such module"
                )
            # A package's own file runs before the modules in it.
            parts = name.split(".")
            found |= {".".join(parts[: i + 1]) for i in range(len(parts))}
    return meaning["digest"], {name for name in found if _file_of(name, scripts)}


def _scripts_folder(path: Path) -> Path:
    """The folder that holds the local package: a script's own, for a module the one above its package."""
    packages = [
        folder for folder in path.parents if folder.name == PACKAGE and (folder / "__init__.py").is_file()
    ]
    return packages[-1].parent if packages else path.parent


_Known = dict[Path, tuple[str, set[Path]]]  # {file: (its digest, files of what it imports)}


def _sources(script: Path, known: _Known) -> dict[Path, str]:
    """{file: its digest} of a script and the local modules whose code can change what it makes."""
    scripts = _scripts_folder(script)
    found, todo = {}, [script]
    while todo:
        path = todo.pop()
        if path not in known:
            digest, names = _imported(path, scripts)
            files = {file for name in names - set(RUNTIME) if (file := _file_of(name, scripts))}
            known[path] = digest, files
        found[path] = known[path][0]
        todo += known[path][1] - set(found)
    return found


def source_files(script: Path) -> list[Path]:
    """The script and every local module whose code can change what it makes, in a stable order.

    Raises:
        InputError: a local import cannot be followed, or a file is not Python.
    """
    return sorted(_sources(script.resolve(), {}))


def code_hash(script: Path, known: _Known | None = None) -> str:
    """Hex digest (16 characters) of what `script` and its local modules do.

    Args:
        known: what was read for other scripts a moment ago; what is read now is added.

    Raises:
        InputError: a local import cannot be followed, or a file is not Python.
    """
    script = script.resolve()
    scripts = _scripts_folder(script)
    total = hashlib.sha256()
    for path, digest in sorted(_sources(script, {} if known is None else known).items()):
        total.update(f"{path.relative_to(scripts).as_posix()} {digest}\n".encode())
    return total.hexdigest()[:16]


def code_hashes(scripts: Path) -> dict[str, str]:
    """{name of a script: its `code_hash`} of all scripts in a folder."""
    known: _Known = {}
    return {path.stem: code_hash(path, known) for path in sorted(scripts.glob("*.py"))}
