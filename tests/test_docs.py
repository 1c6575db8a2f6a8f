"""The README shows the workflow as it is, and the notes name tests and files that exist."""

import re
import subprocess
import sys

from alma.workflow.config import ROOT


def planned_edges():
    """(rule, rule that uses its output) of the stages up to the evaluation, from Snakemake's rule graph."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--nolock",
        "--forceall",
        "--rulegraph",
        "mermaid-js",
        "evaluate",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", done.stdout))
    return {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", done.stdout)}


def test_the_readme_shows_the_rule_graph():
    block = (ROOT / "README.md").read_text().split("```mermaid")[1].split("```")[0]
    shown = set(re.findall(r"(\w+) --> (\w+)", block))
    assert shown == planned_edges()


def test_named_tests_and_files_exist():
    text = (ROOT / "docs" / "recipe.md").read_text()
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    tests = set(re.findall(r"`?(test_\w+)(?!\w*\.py)", text))
    assert len(tests) > 25
    assert not [
        name
        for name in tests
        if f"def {name}(" not in sources and not (ROOT / "tests" / f"{name}.py").exists()
    ]
    modules = set(re.findall(r"`((?:alma/)?\w+\.py)", text))
    places = [ROOT / "scripts", ROOT / "tests"]
    assert not [name for name in modules if not any((place / name).exists() for place in places)]
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, flags=re.M)]
    assert numbers == sorted(set(numbers)) and set(numbers) >= set(range(1, 23))


def test_links_in_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "data" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
