"""A rule's code hash follows what the code does, in its script and in the modules that it uses."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fast_run
import pytest

from alma.errors import InputError
from alma.workflow.codehash import RUNTIME, code_hash, source_files

ROOT = Path(__file__).parents[1]


@pytest.fixture
def scripts(tmp_path):
    files = {
        "one.py": '"""One."""\n\n\ndef main():\n    """Do it."""\n'
        "    from alma.shared import twice\n\n    return twice(1)\n",
        "two.py": "import json\n\nfrom alma import other\n",
        "alma/__init__.py": "",
        "alma/shared.py": "from alma.deep import BASE\n\n\ndef twice(x):\n    return BASE + 2 * x\n",
        "alma/deep.py": "BASE = 0\n",
        "alma/other.py": "VALUE = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def hashes(scripts):
    return {name: code_hash(scripts / f"{name}.py") for name in ("one", "two")}


def test_imports_are_followed_to_any_depth_and_inside_functions(scripts):
    found = {name: [p.name for p in source_files(scripts / f"{name}.py")] for name in ("one", "two")}
    assert found["one"] == ["__init__.py", "deep.py", "shared.py", "one.py"]
    assert found["two"] == ["__init__.py", "other.py", "two.py"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("one.py", '"""One."""', '"""Another text."""'),
        ("one.py", '    """Do it."""\n', ""),
        ("one.py", "return twice(1)", "return  twice( 1 )  # the same"),
        ("alma/shared.py", "return BASE + 2 * x", "# why\n    return (BASE\n            + 2 * x)"),
        ("alma/deep.py", "BASE = 0", "\n\nBASE = 0\n"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(scripts, file, old, new):
    before = hashes(scripts)
    text = (scripts / file).read_text()
    assert old in text
    (scripts / file).write_text(text.replace(old, new))
    assert hashes(scripts) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("one.py", "twice(1)", "twice(2)", {"one"}),
        ("alma/shared.py", "2 * x", "3 * x", {"one"}),
        ("alma/deep.py", "BASE = 0", "BASE = 1", {"one"}),
        ("alma/other.py", "VALUE = 1", "VALUE = 2", {"two"}),
    ],
)
def test_a_real_edit_changes_exactly_the_users(scripts, file, old, new, changed):
    before = hashes(scripts)
    text = (scripts / file).read_text()
    (scripts / file).write_text(text.replace(old, new))
    after = hashes(scripts)
    assert {name for name in before if before[name] != after[name]} == changed


def write(folder, **files):
    """Modules by name; `alma__deep__x` is alma/deep/x.py."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for package in [parent for parent in path.parents if parent != folder and folder in parent.parents]:
            (package / "__init__.py").touch()
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "import alma.deep.x",
        "import alma.deep.x as short",
        "import json, alma.deep.x",
        "from alma.deep import x",
        "from alma.deep import other, x as y",
        "from alma.deep.x import VALUE",
        "from alma.deep.x import *",
        "def main():\n    from alma.deep.x import VALUE",
        "class Lazy:\n    def value(self):\n        import alma.deep.x\n        return alma.deep.x.VALUE",
        "if True:\n    try:\n        from alma.deep import x\n    except ImportError:\n        x = None",
    ],
)
def test_every_way_to_import_a_nested_module_is_followed(tmp_path, line):
    folder = write(tmp_path, job=line, alma__deep__x="VALUE = 1", alma__deep__other="")
    before = code_hash(folder / "job.py")
    (folder / "alma/deep/x.py").write_text("VALUE = 2")
    edited = code_hash(folder / "job.py")
    (folder / "alma/deep/__init__.py").write_text("VALUE = 3")  # runs before the modules of its package
    assert len({before, edited, code_hash(folder / "job.py")}) == 3


def test_a_name_from_a_package_follows_what_the_package_imports(tmp_path):
    folder = write(tmp_path, job="from alma.deep import VALUE", alma__deep__x="VALUE = 1")
    (folder / "alma/deep/__init__.py").write_text("from alma.deep.x import VALUE")
    assert folder / "alma/deep/x.py" in source_files(folder / "job.py")


def test_a_package_comes_before_a_module_of_its_name_as_in_python(tmp_path):
    folder = write(tmp_path, job="import alma.deep", alma__deep="VALUE = 1", alma__deep__x="")
    (folder / "alma/deep/__init__.py").write_text("VALUE = 2")
    found = source_files(folder / "job.py")
    assert folder / "alma/deep/__init__.py" in found
    assert folder / "alma/deep.py" not in found


def test_a_script_that_imports_another_script_follows_it(tmp_path):
    folder = write(tmp_path, job="from shared import VALUE", shared="VALUE = 1")
    assert [path.name for path in source_files(folder / "job.py")] == ["job.py", "shared.py"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from . import x", "found a relative import"),
        ("from .x import VALUE", "found a relative import"),
        ("from ..deep import x", "found a relative import"),
        ("def late():\n    from .x import VALUE", "found a relative import"),
        ("import alma.deep.gone", "alma.deep.gone is imported"),
        ("from alma.gone import x", "alma.gone is imported"),
        ("import importlib\n\nx = importlib.import_module('alma.deep.x')", "found importlib.import_module"),
        ("x = __import__('alma.deep.x')", "found __import__"),
        ("import json\n\ndef (", "Python cannot read this"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_file_and_line(tmp_path, line, message):
    folder = write(tmp_path, job="import alma.deep.user", alma__deep__user=line, alma__deep__x="VALUE = 1")
    with pytest.raises(InputError) as refused:
        code_hash(folder / "job.py")
    place = f"{folder / 'alma/deep/user.py'}: line {line.count(chr(10)) + 1}: "
    assert str(refused.value).startswith(place + message)


@pytest.mark.slow
def test_a_refused_import_ends_snakemake_with_one_message(tmp_path):
    run = fast_run.FastRun.make(tmp_path)
    with (tmp_path / "scripts/alma/selection.py").open("a") as handle:
        handle.write("\n\nfrom .ids import content_id\n")
    done = run.run("-n")
    assert done.returncode == 1
    printed = done.stdout + done.stderr
    assert re.search(r"selection\.py: line \d+: found a relative import, expected the whole name", printed)
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("print('started')", "print('the job has started')"),
        ("print('started')", "print(f'{len(rows)} rows', flush=True)"),
        ("print('started')", "print('rows:', ', '.join(sorted(rows)))"),
        ("raise ValueError('no rows')", "raise ValueError(f'{len(rows)} rows; at least one is needed')"),
    ],
)
def test_words_for_people_change_nothing(tmp_path, old, new):
    text = "def main(rows):\n    print('started')\n    if not rows:\n        raise ValueError('no rows')\n"
    folder = write(tmp_path, job=text)
    before = code_hash(folder / "job.py")
    write(tmp_path, job=text.replace(old, new))
    assert old in text
    assert code_hash(folder / "job.py") == before


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("print('a', file=table)", "print('b', file=table)"),
        ("print('a', **options)", "print('b', **options)"),
        ("print(next(rows))", "print('the first row')"),
        ("print(n := 1)", "print(n := 2)"),
        ("print(rows.pop())", "print('a row')"),
        ("raise Found(row)", "raise Found(other)"),
        ("raise ValueError('no rows')", "raise KeyError('no rows')"),
        ("write('a')", "write('b')"),
        ("x = 'a'", "x = 'b'"),
    ],
)
def test_what_only_looks_like_words_is_code(tmp_path, text, changed):
    folder = write(tmp_path, job=text)
    before = code_hash(folder / "job.py")
    write(tmp_path, job=changed)
    assert code_hash(folder / "job.py") != before


# the runtime shell


def imports_of(path):
    """Dotted names in all import statements of a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def test_every_module_that_is_left_out_exists_is_used_and_says_why():
    used, todo = set(), set((ROOT / "scripts").glob("*.py"))
    for name, reason in RUNTIME.items():
        assert len(reason.split()) > 3, name
    while todo:
        names = imports_of(todo.pop()) - used
        used |= names
        paths = {ROOT / "scripts" / f"{name.replace('.', '/')}.py" for name in names}
        todo |= {path for path in paths if path.is_file()}
    assert set(RUNTIME) <= used


# Where training curves are sent to; that this changes no weight is a test of tests/test_tracking.py.
TRACKERS = {"transformers", "tensorboardX", "torch", "wandb"}


def test_no_module_that_is_left_out_can_hold_a_piece_of_the_recipe():
    """What computes a result needs a library or a module of the recipe; the shell needs neither."""
    plain = {"alma.errors", "alma.files", "alma.ids", *RUNTIME}
    for name in RUNTIME:
        path = ROOT / "scripts" / f"{name.replace('.', '/')}.py"
        for wanted in imports_of(path):
            top = wanted.split(".")[0]
            known = top in sys.stdlib_module_names or top == "collections"
            local = any(wanted == module or wanted.startswith(f"{module}.") for module in plain)
            tracker = name == "alma.workflow.tracking" and top in TRACKERS
            package = wanted in ("alma.workflow", "alma.trace")
            assert known or local or tracker or package, f"{name} imports {wanted}"


def test_words_in_the_shell_change_no_hash_and_the_recipe_changes_its_users(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    scripts = sorted((tmp_path / "scripts").glob("*.py"))
    before = {path.stem: code_hash(path) for path in scripts}
    for name in RUNTIME:
        with (tmp_path / "scripts" / f"{name.replace('.', '/')}.py").open("a") as handle:
            handle.write("\n\nMESSAGE = 'other words'\n")
    assert {path.stem: code_hash(path) for path in scripts} == before
    with (tmp_path / "scripts/alma/judging.py").open("a") as handle:
        handle.write("\n\nMESSAGE = 'other words'\n")
    changed = {path.stem for path in scripts if code_hash(path) != before[path.stem]}
    assert "score_responses" in changed
    assert "select_responses" not in changed


# what was read is remembered

HASHES = (
    "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
    "from alma.workflow import meaning; from alma.workflow.codehash import code_hashes;"
    "read = []; parse = meaning.ast.parse; meaning.ast.parse = lambda text: read.append(1) or parse(text);"
    "print(code_hashes(Path(sys.argv[2])), len(read)); meaning.remember()"
)


def in_a_process(folder, scripts):
    """({script: hash}, number of files that were parsed) in a new process that works in `folder`."""
    command = [sys.executable, "-c", HASHES, str(ROOT / "scripts"), str(scripts)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hashes, _, count = done.stdout.strip().rpartition(" ")
    return ast.literal_eval(hashes), int(count)


def test_a_second_process_parses_only_what_was_edited(scripts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    first, parsed = in_a_process(folder, scripts)
    assert parsed == 6, "files of one text are one"
    assert in_a_process(folder, scripts) == (first, 0)
    path = scripts / "alma" / "deep.py"
    stamp = path.stat()
    path.write_text("BASE = 9\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    second, parsed = in_a_process(folder, scripts)
    assert parsed == 1 and second["one"] != first["one"] and second["two"] == first["two"]
    assert second == {path.stem: code_hash(path) for path in scripts.glob("*.py")}


@pytest.mark.parametrize("damage", ["", "[]", '{"reader": "another", "files": {}}', "not JSON"])
def test_a_memory_that_is_damaged_or_of_other_code_is_read_past(scripts, tmp_path_factory, damage):
    folder = tmp_path_factory.mktemp("run")
    first = in_a_process(folder, scripts)
    memory = folder / ".snakemake" / "alma.code.json"
    assert memory.is_file()
    memory.write_text(damage)
    assert in_a_process(folder, scripts) == first
    assert in_a_process(folder, scripts) == (first[0], 0), "and written anew"


# the same hash in every Python

SAMPLE = Path(__file__).parent / "support" / "many_nodes.py"
GOLDEN = "05d59bace7f184d3"


def other_pythons():
    """{version: program} of the other Pythons on this machine that can read the code: PATH and pyenv."""
    found = {}
    programs = [path for name in ("3.11", "3.12", "3.13", "3.14") if (path := shutil.which(f"python{name}"))]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
        programs += [str(path) for path in sorted(Path(root, "versions").glob("3.1[1-9]*/bin/python"))]
    for program in programs:
        command = [program, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(command, capture_output=True, text=True)  # pyenv's own names may lead nowhere
        if done.returncode == 0:
            found[done.stdout.strip()] = program
    found.pop(f"{sys.version_info.major}.{sys.version_info.minor}", None)
    return found


def test_the_hash_of_many_kinds_of_node_is_the_known_one():
    assert code_hash(SAMPLE) == GOLDEN


def test_other_pythons_find_the_same_hashes():
    pythons = other_pythons()
    if not pythons:
        pytest.skip("this machine has no other Python of version 3.11 or later on PATH or in pyenv")
    files = [SAMPLE, *sorted((ROOT / "scripts").glob("*.py"))]
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from alma.workflow.codehash import code_hash;"
        "print(*(code_hash(Path(name)) for name in sys.argv[2:]))"
    )
    mine = {path.name: code_hash(path) for path in files}
    for version, python in pythons.items():
        command = [python, "-c", program, str(ROOT / "scripts"), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"Python {version}: {done.stderr}"
        assert dict(zip(mine, done.stdout.split(), strict=True)) == mine, f"Python {version}"
    print("the same in Python", ", ".join(sorted(pythons)))
