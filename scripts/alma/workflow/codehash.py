"""Hash what a script does, not how it is written.

A rule carries the hash of its script and of every local module that the script imports, directly or
not. The hash is taken over syntax trees, so that whatever cannot change a result leaves it alone: a
comment, a docstring, a line break, a `print`, the words of an error. A real edit in a shared module
changes exactly the rules that use it. Standard library only: the Snakefile calls this while it is read.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "alma"

# Modules that run around a job's work and never change what it makes, so that an edit of one retrains
# nothing. What belongs to the recipe must not stand here.
RUNTIME = {
    "alma.progress": "the progress line in a log",
    "alma.trace.provenance": "writes and checks records of what was made",
    "alma.workflow.codehash": "names code and does not run it; what it finds is in the hash",
    "alma.workflow.job": "log, threads, checks and records around a script's main",
    "alma.workflow.orphan": "ends a job whose run is gone",
    "alma.workflow.resume": "a resumed training gives the bytes of one that was not stopped (tested)",
}


class LocalImportError(Exception):
    """A local import that cannot be followed to a file."""


class _Meaning(ast.NodeTransformer):
    """Take out of a syntax tree what cannot change a result."""

    def _without_docstring(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        body = node.body  # type: ignore[attr-defined]
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:] if isinstance(body[0].value.value, str) else body
        node.body = body or [ast.Pass()]  # type: ignore[attr-defined]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print":
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)


def _written(node: object) -> Iterator[str]:
    """A syntax tree as words that are the same in every Python that can read the file.

    `ast.dump` is not: each version adds fields. Those that a file does not use are None or empty, and
    are left out here.
    """
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if value is not None and value != []:
                yield f" {name}="
                yield from _written(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _written(item)
            yield ","
        yield "]"
    else:
        yield repr(node)


def _file_of(name: str, scripts: Path) -> Path | None:
    """File of a local module or package by its dotted name; None where there is none."""
    place = scripts.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(tree: ast.AST, path: Path, scripts: Path) -> set[str]:
    """Dotted names of the local modules that a syntax tree imports, at any depth of nesting.

    Raises:
        LocalImportError: an import is relative, or names a local module that is not there.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            raise LocalImportError(
                f"{path}: line {node.lineno}: found a relative import, expected the "
                f"whole name (from {PACKAGE}. ...), which the code hash can follow"
            )
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if _file_of(name, scripts) else node.module for name in inside]
        for name in names:
            if name != PACKAGE and not name.startswith(f"{PACKAGE}."):
                continue
            if _file_of(name, scripts) is None:
                raise LocalImportError(
                    f"{path}: line {node.lineno}: {name} is imported, and {scripts} holds no such module"
                )
            parts = name.split(".")  # a package's own file runs before the modules in it
            found |= {".".join(parts[: i + 1]) for i in range(len(parts))}
    return {name for name in found if _file_of(name, scripts)}


@cache
def _module_facts(path: Path, scripts: Path, stamp: int) -> tuple[str, frozenset[str]]:
    """Digest and local imports of one file; `stamp` (mtime in ns) keys the cache."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports = _imported(tree, path, scripts)
    meaning = "".join(_written(_Meaning().visit(tree)))
    return hashlib.sha256(meaning.encode()).hexdigest(), frozenset(imports)


def _facts(path: Path, scripts: Path) -> tuple[str, frozenset[str]]:
    return _module_facts(path, scripts, path.stat().st_mtime_ns)


def _scripts_folder(path: Path) -> Path:
    """The folder that holds the local package: a script's own, for a module the one above its package."""
    packages = [
        folder for folder in path.parents if folder.name == PACKAGE and (folder / "__init__.py").is_file()
    ]
    return packages[-1].parent if packages else path.parent


def source_files(script: Path) -> list[Path]:
    """The script and every local module whose code can change what it makes, in a stable order."""
    script = script.resolve()
    scripts = _scripts_folder(script)
    todo, seen = [script], {script}
    while todo:
        names = _facts(todo.pop(), scripts)[1] - set(RUNTIME)
        paths = {path for name in names if (path := _file_of(name, scripts))}
        todo += paths - seen
        seen |= paths
    return sorted(seen)


def code_hash(script: Path) -> str:
    """Hex digest (16 characters) of what `script` and its local modules do.

    Raises:
        LocalImportError: a local import cannot be followed.
    """
    scripts = _scripts_folder(script.resolve())
    total = hashlib.sha256()
    for path in source_files(script):
        total.update(f"{path.relative_to(scripts)} {_facts(path, scripts)[0]}\n".encode())
    return total.hexdigest()[:16]
