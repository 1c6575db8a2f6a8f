"""Hash what a script does, not how it is written.

A rule carries the hash of its script and of every local module that the script imports, directly or
not. The hash is taken over syntax trees, so that whatever cannot change a result leaves it alone: a
comment, a docstring, a line break, a `print`, the words of an error. A real edit in a shared module
changes exactly the rules that use it. It is the same in every Python that can read the file. Standard
library only: the Snakefile calls this while it is read.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from alma.errors import InputError

PACKAGE = "alma"

# Modules that run around a job's work and never change what it makes, so that an edit of one retrains
# nothing. What belongs to the recipe must not stand here.
RUNTIME = {
    "alma.csv_schemas": "names the columns of CSV tables; who writes other columns changes itself",
    "alma.errors": "carries and prints the message of a job that ends without a result",
    "alma.label_summary": "tells what was read of the labels, and counts what was not; no table holds it",
    "alma.progress": "the progress line in a log",
    "alma.trace.provenance": "writes and checks records of what was made",
    "alma.workflow.codehash": "names code and does not run it; what it finds is in the hash",
    "alma.workflow.job": "log, threads, checks and records around a script's main",
    "alma.workflow.leases": "which GPUs a job uses, not what it computes there",
    "alma.workflow.orphan": "ends a job whose run is gone",
    "alma.workflow.parts": "a resumed job gives the bytes of one that was not stopped (tested)",
    "alma.workflow.quiet": "keeps what a library prints as it starts out of the log",
    "alma.workflow.resume": "a resumed training gives the bytes of one that was not stopped (tested)",
    "alma.workflow.storage": "which folder stands before the paths of a job's files",
    "alma.workflow.tracking": "sends training curves to a tracker; the weights are the same (tested)",
}

# What a `print` may call and still be wording: functions that change nothing.
_PURE = {"len", "str", "repr", "sum", "min", "max", "round", "sorted", "abs", "set", "any", "all", "zip"}
_PURE_METHODS = {"join", "format", "items", "keys", "values"}


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

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        self.generic_visit(node)
        # Python 3.12 ends some format specs in an empty text, which other versions leave out.
        node.values = [v for v in node.values if not (isinstance(v, ast.Constant) and v.value == "")]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if _only_prints(node.value):
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call) and _has_words(node.exc):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)


def _only_prints(call: ast.AST) -> bool:
    """Whether an expression is a `print` to the job's log that does nothing else.

    One that writes to a file or calls what may have an effect (`next(rows)`) counts as code.
    """
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"):
        return False
    for node in ast.walk(call):
        if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            return False
        if isinstance(node, ast.keyword) and node.arg in ("file", None):
            return False
        if isinstance(node, ast.Call) and node is not call:
            function = node.func
            pure = isinstance(function, ast.Name) and function.id in _PURE
            if not pure and not (isinstance(function, ast.Attribute) and function.attr in _PURE_METHODS):
                return False
    return True


def _has_words(call: ast.Call) -> bool:
    """Whether an exception carries a text; one that carries values may be caught for them."""
    return any(
        isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        for node in ast.walk(call)
    )


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
        yield ascii(node)  # which characters `repr` shows as they are differs from version to version


def _file_of(name: str, scripts: Path) -> Path | None:
    """File of a local module or package by its dotted name; None where there is none."""
    place = scripts.joinpath(*name.split("."))
    for path in (place / "__init__.py", place.with_suffix(".py")):  # Python's own order
        if path.is_file():
            return path
    return None


def _imported(tree: ast.AST, path: Path, scripts: Path) -> set[str]:
    """Dotted names of the local modules that a syntax tree imports, at any depth of nesting.

    Raises:
        InputError: an import is relative, or names a local module that is not there, or is made by a
            function from a local name.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise InputError(
                    f"{path}: line {node.lineno}: found a relative import, expected the whole name "
                    f"(from {PACKAGE}. ... import ...), which the code hash can follow"
                )
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if _file_of(name, scripts) else node.module for name in inside]
        elif _imports_by_function(node):
            raise InputError(
                f"{path}: line {node.lineno}: found {ast.unparse(node)}, expected an import statement, "
                f"which the code hash can follow"
            )
        for name in names:
            parts = name.split(".")
            if parts[0] != PACKAGE and not (scripts / f"{parts[0]}.py").is_file():
                continue  # a library
            if name != PACKAGE and _file_of(name, scripts) is None:
                raise InputError(
                    f"{path}: line {node.lineno}: {name} is imported, and {scripts} holds no such module"
                )
            # A package's own file runs before the modules in it.
            found |= {".".join(parts[: i + 1]) for i in range(len(parts))}
    return {name for name in found if _file_of(name, scripts)}


def _imports_by_function(call: ast.Call) -> bool:
    """Whether a call is `import_module` or `__import__` with a local name."""
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    if name not in ("import_module", "__import__") or not call.args:
        return False
    wanted = call.args[0]
    return (
        isinstance(wanted, ast.Constant)
        and isinstance(wanted.value, str)
        and wanted.value.split(".")[0] in ("", PACKAGE)
    )


@cache
def _module_facts(path: Path, scripts: Path, text: str) -> tuple[str, frozenset[str]]:
    """Digest and local imports of one file with this text."""
    try:
        tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        raise InputError(f"{path}: line {error.lineno}: Python cannot read this: {error.msg}") from error
    imports = _imported(tree, path, scripts)
    meaning = "".join(_written(_Meaning().visit(tree)))
    return hashlib.sha256(meaning.encode()).hexdigest(), frozenset(imports)


def _facts(path: Path, scripts: Path) -> tuple[str, frozenset[str]]:
    return _module_facts(path, scripts, path.read_text(encoding="utf-8"))


def _scripts_folder(path: Path) -> Path:
    """The folder that holds the local package: a script's own, for a module the one above its package."""
    packages = [
        folder for folder in path.parents if folder.name == PACKAGE and (folder / "__init__.py").is_file()
    ]
    return packages[-1].parent if packages else path.parent


def source_files(script: Path) -> list[Path]:
    """The script and every local module whose code can change what it makes, in a stable order.

    Raises:
        InputError: a local import cannot be followed, or a file is not Python.
    """
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
        InputError: a local import cannot be followed, or a file is not Python.
    """
    script = script.resolve()
    scripts = _scripts_folder(script)
    total = hashlib.sha256()
    for path in source_files(script):
        total.update(f"{path.relative_to(scripts).as_posix()} {_facts(path, scripts)[0]}\n".encode())
    return total.hexdigest()[:16]
