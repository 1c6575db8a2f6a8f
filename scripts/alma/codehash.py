"""Hash what a script does, not how it is written.

A rule carries the hash of its script and of every local module that the script imports, directly or
not. The hash is taken over syntax trees without docstrings, so a comment, a docstring or a new line
break leaves it alone, and a real edit in a shared module changes exactly the rules that use it.
Standard library only: the Snakefile calls this while it is read.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "alma"


def _strip_docstrings(tree: ast.AST) -> ast.AST:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imported_modules(tree: ast.AST, package_dir: Path) -> set[Path]:
    """Files of the local package that a syntax tree imports, at any depth of nesting."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    local = {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")}
    paths = {package_dir / f"{name}.py" for name in local}
    return {path for path in paths if path.is_file()}


@cache
def _module_facts(path: Path, stamp: int) -> tuple[str, frozenset[Path]]:
    """Digest and local imports of one file; `stamp` (mtime in ns) keys the cache."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports = _imported_modules(tree, path.parent if path.parent.name == PACKAGE else path.parent / PACKAGE)
    digest = hashlib.sha256(ast.dump(_strip_docstrings(tree)).encode()).hexdigest()
    return digest, frozenset(imports)


def source_files(script: Path) -> list[Path]:
    """The script and every local module that it imports, transitively, in a stable order."""
    todo, seen = [script.resolve()], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo.extend(_module_facts(path, path.stat().st_mtime_ns)[1])
    return sorted(seen)


def code_hash(script: Path) -> str:
    """Hex digest (16 characters) of what `script` and its local modules do."""
    total = hashlib.sha256()
    for path in source_files(script):
        digest, _ = _module_facts(path, path.stat().st_mtime_ns)
        total.update(f"{path.name} {digest}\n".encode())
    return total.hexdigest()[:16]
