"""A rule's code hash follows what the code does, in its script and in the modules that it uses."""

import pytest

from alma.workflow.codehash import code_hash, source_files


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
