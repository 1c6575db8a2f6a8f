"""The README shows the workflow as it is, and the notes name tests and files that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import read_seeds
import yaml
from rule_texts import written_rules

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
    """In the order of the rules, as the Snakefile includes them."""
    block = (ROOT / "README.md").read_text().split("```mermaid")[1].split("```")[0]
    order = [*(rule.name for rule in written_rules()), "evaluate"]
    edges = sorted(planned_edges(), key=lambda edge: [order.index(name) for name in edge])
    wanted = "".join(f"    {a} --> {b}\n" for a, b in edges)
    assert block == f"\nflowchart TB\n{wanted}", f"the README's chart should be\n{wanted}"


def test_the_readme_names_the_stages_in_the_order_of_the_includes():
    named = re.findall(r"^\| [\w ]+ \| `(rules/\w+\.smk)` \|", (ROOT / "README.md").read_text(), re.M)
    included = re.findall(r'^include: "(rules/\w+\.smk)"', (ROOT / "Snakefile").read_text(), re.M)
    assert ["rules/common.smk", *named] == included


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


PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data" / "README.md"]
    if page.name != "bad_input.md"  # shows input as it was given
]


def anchors(page):
    """The anchors that a page's headings have on the usual hosts."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page):
    sources = {path.stem: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
    defined = set(re.findall(r"^def (test_\w+)", "\n".join(sources.values()), flags=re.M))
    named = set(re.findall(r"\b(test_\w+)(?:\.py)?\b", page.read_text()))
    assert named <= defined | set(sources)


def test_the_readme_names_every_column_of_the_labels():
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", (ROOT / "README.md").read_text(), flags=re.M)
    named = {key: set(re.findall(r"`(\w+)`", text)) for key, text in rows}
    assert named["labels.sft"] == read_seeds.SFT_COLUMNS
    assert named["labels.judge"] >= read_seeds.JUDGE_COLUMNS
    assert named["evaluation.benchmarks"] == read_seeds.EVAL_COLUMNS
    assert named["judge.benchmark"] == read_seeds.PAIR_COLUMNS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_in_the_documents_lead_somewhere(page):
    for target in re.findall(r"\]\(([^):\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        to = page.parent / name if name else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target


def commands(page):
    """The commands of a page: its code blocks' lines and the code in its text."""
    text = page.read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documents_exist(page):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    found = commands(page)
    named = {word for line in found for word in re.findall(r"(?:^|\w=\S+ )make ([a-z-]+)", line)}
    assert named <= targets
    folders = r"\.ci|config|data|docs|envs|rules|schemas|scripts|templates|tests|tools"
    pattern = rf"(?<![\w/}}.])(?:{folders})/[\w./*-]*\w"
    files = {name for line in found for name in re.findall(pattern, line)}
    assert not [name for name in files if not any(ROOT.glob(name))]


def test_the_readme_names_commands():
    """The patterns above find something."""
    found = commands(ROOT / "README.md")
    assert any(line.startswith("make run") for line in found)
    assert any(line.startswith("tools/trace ") for line in found)


def test_pre_commit_runs_what_make_lint_runs():
    others = {k: v for k, v in os.environ.items() if k not in ("ENV", "PYTHON", "MAKEFLAGS", "MFLAGS")}
    command = ["make", "-n", "lint"]
    done = subprocess.run(command, cwd=ROOT, env=others, capture_output=True, text=True, check=True)
    lint = [line for line in done.stdout.splitlines() if line.startswith(".venv/")]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == lint
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


# Not the embedded data: another letter would be another prompt.
WRITTEN = (
    "*.md",
    "docs/*.md",
    "scripts/**/*.py",
    "tools/*",
    "rules/*",
    "report/*",
    "schemas/*",
    "config/*",
    "tests/**/*.py",
)
# CANCELLED, in capitals, is a state of Slurm's.
BRITISH = re.compile(
    r"colour|behaviour|favour|neighbour|honour|\bgrey|centre|labelled|labelling|modelled|(?<!was_)(?-i:[Cc]ancelled)|judgement"
    r"|licence|artefact|catalogue|full stop|defence|(normal|summar|serial|recogn|token|quant|optim|organ"
    r"|initial|random|custom|general|special|penal|minim|maxim)is(e|ed|es|ing|ation)\b",
    re.IGNORECASE,
)


def test_spelling_is_american():
    paths = [path for pattern in WRITTEN for path in ROOT.glob(pattern) if path.is_file()]
    texts = {path: path.read_text() for path in paths if path != Path(__file__).resolve()}
    found = [
        f"{path.relative_to(ROOT)}: {m[0]}" for path, text in texts.items() for m in BRITISH.finditer(text)
    ]
    assert not found
    assert len(texts) > 100
