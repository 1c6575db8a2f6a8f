"""The early cut-off finds all that it uses before the first job, and its faults never harm a run."""

import ast
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import warm

from alma.workflow import cutoff

ROOT = Path(__file__).parents[1]
TABLES = {
    "DAG": cutoff._DAG,
    "Workflow": cutoff._WORKFLOW,
    "Persistence": cutoff._PERSISTENCE,
    "Job": cutoff._JOB,
    "output file": cutoff._FILE,
    "Reason": cutoff._REASON,
}

# first -> second -> third, where first gives the same bytes whatever `seed` is
SNAKEFILE = """
import sys
sys.path.insert(0, "SCRIPTS")
from alma.workflow import cutoff

cutoff.install()
PATCH

rule third:
    input: "second.txt"
    output: "third.txt"
    shell: "sleep 0.1; cat {input} > {output}; echo third >> ran.txt"

rule second:
    input: "first.txt"
    output: "second.txt"
    shell: "sleep 0.1; cat {input} > {output}; echo second >> ran.txt"

rule first:
    output: "first.txt"
    params: seed=config["seed"]
    shell: "echo same > {output}; echo first >> ran.txt"

onstart:
    cutoff.probe(getattr(workflow, "dag", None))
"""


def run(folder, seed, *arguments, patch=""):
    """Run the three rules: (names of the jobs that ran, all that was printed)."""
    snakefile = SNAKEFILE.replace("SCRIPTS", str(ROOT / "scripts")).replace("PATCH", patch)
    (folder / "Snakefile").write_text(snakefile)
    ran = folder / "ran.txt"
    ran.unlink(missing_ok=True)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "third.txt", "--config", f"seed={seed}"]
    options = ["--rerun-triggers", "mtime", "params", "input", "--workflow-profile", "none"]
    done = warm.run([*command, *options, *arguments], cwd=folder)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return ran.read_text().split() if ran.exists() else [], printed


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cutoff")
    assert run(folder, 0)[0] == ["first", "second", "third"]
    return folder


@pytest.mark.slow
def test_jobs_behind_the_same_bytes_are_dropped(finished):
    ran, printed = run(finished, 1)
    assert ran == ["first"]
    assert "Not needed any more: second; same inputs as before." in printed
    assert "Not needed any more: third" in printed
    assert "early cut-off" not in printed


@pytest.mark.slow
def test_hooks_may_be_switched_off(finished):
    assert run(finished, 2, "--no-hooks")[0] == ["first"]


def test_every_name_that_is_used_is_looked_for():
    """An attribute that the code reads and no table lists would break a run where it is renamed."""
    used = {"dag": set(), "job": set(), "persistence": set(), "reason": set()}
    used |= {"path": set(), "workflow": set(), "RerunTrigger": set()}
    for node in ast.walk(ast.parse(Path(cutoff.__file__).read_text())):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", None)
            if isinstance(owner, ast.Call) and getattr(owner.func, "attr", None) == "reason":
                name = "reason"
            if name in used:
                used[name].add(node.attr)
    used["dag"].discard("alma_cutoff_on")  # its own
    assert used["dag"] <= set(TABLES["DAG"])
    assert used["job"] <= set(TABLES["Job"])
    assert used["persistence"] <= set(TABLES["Persistence"])
    assert used["reason"] <= set(TABLES["Reason"])
    assert used["path"] <= set(TABLES["output file"])
    assert used["workflow"] <= set(TABLES["Workflow"])
    assert used["RerunTrigger"] <= set(cutoff._TRIGGERS)
    assert all(used.values())


# Probes a real DAG once per name, as if that name were gone, and writes what was said.
RENAMED = """
import json
from snakemake.logging import logger
from snakemake.settings import enums

class Without:
    def __init__(self, thing, key):
        self.__dict__.update(thing=thing, key=key)
    def __getattr__(self, name):
        if name == self.key:
            raise AttributeError(name)
        return getattr(self.thing, name)

def check_each(dag):
    lacks, warn, said = cutoff._lacks, logger.warning, {}
    tables = json.loads('''TABLES''')
    for label, keys in tables.items():
        for key in keys:
            cutoff._lacks = lambda thing, name, wanted: lacks(
                Without(thing, key) if name == label else thing, name, wanted
            )
            said[f"{label}.{key}"] = []
            logger.warning = said[f"{label}.{key}"].append
            if cutoff.probe(dag):
                said[f"{label}.{key}"].append("on")
            del dag.alma_cutoff_on
    cutoff._lacks, logger.warning = lacks, warn
    real = enums.RerunTrigger
    for name in ("CODE", "INPUT", "PARAMS", "SOFTWARE_ENV"):
        enums.RerunTrigger = Without(real, name)
        said[f"RerunTrigger.{name}"] = cutoff._missing(dag)
    enums.RerunTrigger = real
    for name, value in (("_len", 7), ("_n_until_ready", {job: 9 for job in dag._needrun})):
        kept = getattr(dag, name)
        setattr(dag, name, value)
        said[f"DAG.{name} is "] = cutoff._missing(dag)
        setattr(dag, name, kept)
    said["nothing"] = cutoff._missing(dag)
    open("said.json", "w").write(json.dumps(said))

probe = cutoff.probe
def probe_and_check(dag):
    cutoff.probe = probe
    check_each(dag)
    return probe(dag)
cutoff.probe = probe_and_check
"""


@pytest.mark.slow
def test_each_renamed_attribute_is_found_before_the_first_job_and_named(finished):
    tables = json.dumps({label: list(table) for label, table in TABLES.items()})
    ran, _ = run(finished, 3, patch=RENAMED.replace("TABLES", tables))
    assert ran == ["first"]
    said = json.loads((finished / "said.json").read_text())
    assert said.pop("nothing") == []
    assert len(said) == sum(len(table) for table in TABLES.values()) + 6
    for name, messages in said.items():
        assert len(messages) == 1, name
        assert name in messages[0]
        assert messages[0] != "on"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (  # a name that is gone
            "lacks = cutoff._lacks\n"
            "cutoff._lacks = lambda thing, name, wanted: lacks(thing, name, {**wanted, '_gone': object})",
            "this Snakemake does not fit it (DAG._gone is missing)",
        ),
        (  # an error in the probe
            "cutoff._DAG = None",
            "this Snakemake does not fit it (AttributeError: ",
        ),
        (  # an error in a decision
            "async def broken(dag, job):\n    raise KeyError('x')\ncutoff._is_needed = broken",
            "it met an error (KeyError: 'x')",
        ),
        (  # an error in the middle of taking a job off the plan
            "import inspect, snakemake.dag\n"
            "ready = snakemake.dag.DAG.update_ready\n"
            "def broken(self, jobs=None):\n"
            "    if inspect.stack()[1].function == '_drop':\n"
            "        raise TypeError('x')\n"
            "    return ready(self, jobs)\n"
            "snakemake.dag.DAG.update_ready = broken",
            "it met an error (TypeError: x)",
        ),
    ],
    ids=["renamed", "probe", "decision", "half-dropped"],
)
def test_a_fault_leaves_the_run_to_snakemake_and_is_told_once(finished, patch, message):
    ran, printed = run(finished, len(message) + 100, patch=patch)
    assert ran == ["first", "second", "third"]
    assert printed.count("the early cut-off is off") == 1
    assert message in printed
    if "does not fit" in message:  # told before the first job
        assert printed.index(message) < re.search(r"(local)?rule first:", printed).start()


def test_a_dag_without_the_method_is_left_alone(monkeypatch):
    class Plain:
        def finish(self, job):
            """Not a coroutine."""

    for module in (SimpleNamespace(DAG=Plain), SimpleNamespace(DAG=SimpleNamespace()), SimpleNamespace()):
        monkeypatch.setitem(sys.modules, "snakemake.dag", module)
        assert not cutoff.install()
    assert not hasattr(Plain, "alma_cutoff")


def test_a_snakemake_without_a_dag_is_left_alone():
    assert not cutoff.probe(None)
