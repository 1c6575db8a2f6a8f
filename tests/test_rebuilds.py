"""Exact rebuilds: after each change exactly the expected jobs run (docs/rebuilds.md)."""

import shutil
import time
from collections import Counter

import pytest
from fast_run import ROOT, FastRun, merged
from rebuild_cases import CASES, document

from alma.workflow.unchanged import NOTE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def noted(finished_run, tmp_path_factory):
    """The finished run, with the note that it has nothing to do; the tests work on copies."""
    run = finished_run.copy(tmp_path_factory.mktemp("rebuilds") / "first")
    time.sleep(2.5)  # what was written just now is not noted
    assert run.update()[:2] == (Counter(), set())
    assert (run.folder / NOTE).is_file()
    return run


def test_a_run_without_a_change_makes_no_plan(noted, tmp_path):
    """So each change below is one that the note must not hide."""
    run = noted.copy(tmp_path / "run")
    plan, ran, printed = run.update()
    assert (plan, ran) == (Counter(), set())
    assert "alma: nothing has changed" in printed
    shutil.rmtree(run.folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_exactly_the_affected_jobs_run(noted, tmp_path, case):
    run = noted.copy(tmp_path / "run")
    run.config = merged(run.config, case.override)
    if case.edit:
        name, old, new = case.edit
        path = run.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
    if case.act:
        case.act(run)
    plan, ran, printed = run.update(*case.arguments)
    assert {job.split("/", 1)[1] for job in ran} == case.runs
    rules = Counter(job.split("/")[0] for job in case.runs)
    if case.cut:
        assert plan > rules, "the plan holds more than what ran"
        assert "Not needed any more" in printed
    else:
        assert plan == rules, "the plan is what ran"
    assert run.update()[:2] == (Counter(), set()), "and then nothing is left to do"
    shutil.rmtree(run.folder)


def test_a_gate_that_stops_costs_no_finished_round(finished_run, tmp_path):
    """The stand-in's judge guesses: under stop its rounds end before they begin, and what was made stays."""
    run = finished_run.copy(tmp_path / "run")
    made = run.artifacts()
    run.config = merged(run.config, {"judge": {"gate": "stop"}})
    before = run.logs()
    done = run.run()
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert (
        printed.count("the judge is not fit to choose the rounds' training data, and judge.gate is stop") == 1
    )
    assert "Traceback" not in printed
    after = run.logs()
    ran = {name for name, time in after.items() if before.get(name) != time}
    assert ran == {"small/gate_rounds.log"}
    assert {path for path in made if path not in run.artifacts()} == {"small/judge/gate.txt"}
    run.config = merged(run.config, {"judge": {"gate": "warn"}})
    assert run.update()[1] == {"small/gate_rounds"}, "the rounds are still valid"
    shutil.rmtree(run.folder)


def test_a_copy_in_another_place_is_up_to_date(finished_run, tmp_path):
    """Also one whose files all have new time stamps."""
    shutil.copytree(finished_run.folder, tmp_path / "copy", copy_function=shutil.copyfile)
    run = FastRun(tmp_path / "copy")
    assert run.update()[:2] == (Counter(), set())


def test_the_document_shows_this_table():
    assert (ROOT / "docs" / "rebuilds.md").read_text() == document(), "run tests/support/rebuild_cases.py"
