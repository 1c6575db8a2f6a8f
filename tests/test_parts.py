"""A killed job with an engine goes on after its last saved part, to the same bytes (alma.workflow.parts).

tests/test_faults.py kills every job with an engine of a whole run between two parts.
"""

import json
import os
import signal
import subprocess
import sys

import pytest
from rule_texts import ROOT

from alma.workflow import parts
from alma.workflow.codehash import code_hash

OUTPUT = "results/r/a/out.json"
PARTS = "results/r/a/.parts/out.json"

# A job that works on seven items, three at most at a time, and is killed before part `stop`.
PROGRAM = """
import json, os, signal, sys
sys.path.insert(0, "{scripts}")
from types import SimpleNamespace as Box
from alma.workflow import parts
from alma.workflow.job import job
snakemake = Box(rule="demo", log=["x.log"], wildcards={{}}, input=["in.txt"], output=["{output}"],
                params=Box(spec=sys.argv[1], uncompared=json.loads(sys.argv[2])))
stop = int(sys.argv[3])
with job(snakemake) as config:
    def work(some, name):
        print(name, some)
        if not stop - sum(1 for _ in open("worked")):
            os.kill(os.getpid(), signal.SIGKILL)
        with open("worked", "a") as handle:
            handle.write(json.dumps(some) + "\\n")
        return [[item * config["factor"], "\\ud800é", 0.1 + item, None] for item in some]
    open("worked", "a").close()
    found = parts.run(list(range(7)), work, "multiplying")
    found += parts.run([10, 11], work, "one part")
    os.makedirs(os.path.dirname("{output}"), exist_ok=True)
    json.dump(found, open("{output}", "w"))
"""


class Job:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "in.txt").write_text("input")

    def run(self, stop=99, size=3, factor=2, threads=1):
        """Items that this start worked on, part by part, and its log; it is killed before part `stop`."""
        name = "sample_responses.py"
        code = code_hash(ROOT / "scripts" / name)
        spec = {"script": name, "code": code, "threads": threads, "config": {"factor": factor}}
        (self.folder / "worked").unlink(missing_ok=True)
        program = PROGRAM.format(scripts=ROOT / "scripts", output=OUTPUT)
        engine = {"engine": {"save_responses": size}}
        command = [sys.executable, "-c", program, json.dumps(spec), json.dumps(engine), str(stop)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True)
        log = (self.folder / "x.log").read_text()
        assert done.returncode == (0 if stop == 99 else -signal.SIGKILL), done.stderr.decode() + log
        worked = [json.loads(line) for line in (self.folder / "worked").read_text().splitlines()]
        return worked, log

    def saved(self):
        return sorted(path.name for path in (self.folder / PARTS).glob("*"))

    def bytes(self):
        return (self.folder / OUTPUT).read_bytes()


@pytest.fixture
def whole(tmp_path):
    """Bytes of the job that nothing happened to."""
    job = Job(tmp_path / "whole")
    worked, log = job.run()
    assert worked == [[0, 1], [2, 3], [4, 5, 6], [10, 11]], "as even as can be"
    assert "multiplying, part 1 of 3 [0, 1]" in log and "one part [10, 11]" in log
    assert sorted(os.listdir(job.folder / "results/r")) == ["a", "provenance"]
    assert os.listdir(job.folder / "results/r/a") == ["out.json"], "no part is left"
    return job.bytes()


def test_a_killed_job_works_on_no_part_twice_and_ends_in_the_same_bytes(whole, tmp_path):
    job = Job(tmp_path / "killed")
    assert job.run(stop=1)[0] == [[0, 1]]
    assert job.run(stop=1)[0] == [[2, 3]], "and once more"
    assert job.saved() == ["1-0-2.json", "1-2-4.json"]
    worked, log = job.run()
    assert worked == [[4, 5, 6], [10, 11]]
    assert "parts: 2 of 3 were there from a job that was stopped" in log
    assert job.bytes() == whole and job.saved() == []


def test_a_part_that_was_damaged_or_half_written_is_made_again(whole, tmp_path):
    job = Job(tmp_path / "killed")
    job.run(stop=2)
    first, second = (job.folder / PARTS / name for name in job.saved())
    first.write_bytes(first.read_bytes().replace(b"0.1", b"0.2"))
    second.write_bytes(second.read_bytes()[:-9])
    worked, log = job.run()
    assert worked == [[0, 1], [2, 3], [4, 5, 6], [10, 11]] and "1-0-2.json is damaged" in log
    assert job.bytes() == whole


@pytest.mark.parametrize("change", ["config", "input", "threads"])
def test_parts_of_another_job_are_not_used(tmp_path, change):
    job, other = Job(tmp_path / "killed"), Job(tmp_path / "other")
    job.run(stop=2)
    if change == "input":
        for one in (job, other):
            (one.folder / "in.txt").write_text("other input")
    changed = {"config": {"factor": 5}, "threads": {"threads": 2}}.get(change, {})
    worked, log = job.run(**changed)
    assert len(worked) == 4 and "1-0-2.json is another job's and is not used" in log
    other.run(**changed)
    assert job.bytes() == other.bytes() and job.saved() == []


def test_another_size_of_parts_gives_the_same_bytes(whole, tmp_path):
    job = Job(tmp_path / "killed")
    job.run(stop=2)
    worked, _ = job.run(size=4)
    assert worked == [[0, 1, 2], [3, 4, 5, 6], [10, 11]] and job.bytes() == whole
    assert job.run(size=7)[0] == [[0, 1, 2, 3, 4, 5, 6], [10, 11]] and job.bytes() == whole
    assert job.run(size=None)[0] == [[0, 1, 2, 3, 4, 5, 6], [10, 11]] and job.bytes() == whole


def test_outside_a_job_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parts.run([1, 2, 3], lambda some, name: [-x for x in some], "negating") == [-1, -2, -3]
    assert list(tmp_path.iterdir()) == []
