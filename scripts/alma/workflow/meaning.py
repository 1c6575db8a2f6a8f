"""What the text of a Python file means: a digest of what can change a result, and its imports.

To read all files took a third of the time of a plan, and every job compares its own code with the plan. So
what was found stands in `.snakemake/alma.code.json`, under the SHA-256 of the text that it was found in:
another text is read anew, whatever its time stamp says. Standard library only.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from alma.files import write_text

PACKAGE = "alma"
MEMORY = Path(".snakemake") / "alma.code.json"  # in the working folder of the run and its jobs

# What a `print` may call and still be wording: functions that change nothing.
_PURE = {"len", "str", "repr", "sum", "min", "max", "round", "sorted", "abs", "set", "any", "all", "zip"}
_PURE_METHODS = {"join", "format", "items", "keys", "values"}


class Import(TypedDict):
    """One import of a file, as it is written."""

    line: int
    module: str | None  # of `from module import names`; None where it is `import names`
    names: list[str]
    fault: str | None  # why it cannot be followed


class Meaning(TypedDict):
    """What a file means."""

    digest: str  # hex SHA-256 of its syntax tree without what cannot change a result
    imports: list[Import]


class _Effective(ast.NodeTransformer):
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


def _imports(tree: ast.AST) -> Iterator[Import]:
    """Imports of a syntax tree at any depth of nesting."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield Import(line=node.lineno, module=None, names=names, fault=None)
        elif isinstance(node, ast.ImportFrom):
            fault = None
            if node.level or node.module is None:
                fault = f"a relative import, expected the whole name (from {PACKAGE}. ... import ...)"
            names = [alias.name for alias in node.names]
            yield Import(line=node.lineno, module=node.module, names=names, fault=fault)
        elif isinstance(node, ast.Call) and _imports_by_function(node):
            fault = f"{ast.unparse(node)}, expected an import statement"
            yield Import(line=node.lineno, module=None, names=[], fault=fault)


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


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _reader() -> str:
    """Who reads: this module's code and Python's version. What another one found is not used."""
    code = Path(__file__).read_text(encoding="utf-8")
    return f"{_key(code)} {sys.version_info.major}.{sys.version_info.minor}"


@cache
def _remembered(file: Path) -> dict[str, Meaning]:
    """What earlier processes found; empty where there is no such file, or it is damaged or of other code."""
    try:
        held: Any = json.loads(file.read_text(encoding="utf-8"))
        return held["files"] if held["reader"] == _reader() else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


_found: dict[str, Meaning] = {}  # by this process


def meaning_of(text: str) -> Meaning:
    """What the text of a Python file means.

    Raises:
        SyntaxError: Python cannot read it.
    """
    key = _key(text)
    if key not in _found:
        found = _remembered(MEMORY.absolute()).get(key)
        if found is None:
            tree = ast.parse(text)
            imports = list(_imports(tree))  # before the tree is changed
            words = "".join(_written(_Effective().visit(tree)))
            found = Meaning(digest=hashlib.sha256(words.encode()).hexdigest(), imports=imports)
        _found[key] = found
    return _found[key]


def remember() -> None:
    """Keep what was used for later processes; where it cannot be written they read the code again."""
    if _remembered(MEMORY.absolute()) == _found:
        return
    try:
        write_text(MEMORY, json.dumps({"reader": _reader(), "files": _found}))
    except OSError as error:
        print(f"alma: {MEMORY} cannot be written ({error.strerror}): each job will read the code again")
