"""GPUs for jobs side by side: pretend devices, real processes, real locks."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from rule_texts import ROOT

from alma.errors import InputError
from alma.workflow import leases
from alma.workflow.leases import VISIBLE, Gpu, gpus, lease, try_to_hold

LISTED = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa1111)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb2222)
  MIG 1g.18gb     Device  0: (UUID: MIG-c1)
  MIG 1g.18gb     Device  1: (UUID: MIG-c2)
"""
SCRIPTS = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Function that makes a machine: what nvidia-smi lists (None: there is none), and variables."""
    for name in (VISIBLE, *leases._SCHEDULER_JOBS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # `lease` sets it; so it is put back
    monkeypatch.setenv("ALMA_GPU_LEASES", str(tmp_path / "leases"))
    monkeypatch.setattr(leases, "_held", [])
    monkeypatch.setattr(leases.util, "spawnv_passfds", leases.util.spawnv_passfds)
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(listed=None, **variables):
        program = folder / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + (f"cat <<END\n{listed}END\n" if listed else "exit 9\n"))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    yield make
    for descriptor in leases._held:
        os.close(descriptor)


A, B = "GPU-aaaa1111", "GPU-bbbb2222"


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, [(A, A), ("MIG-c1", "MIG-c1"), ("MIG-c2", "MIG-c2")]),
        ("1,0", [("1", B), ("0", A)]),
        ("GPU-bbbb,0", [("GPU-bbbb", B), ("0", A)]),  # the beginning of a UUID is enough
        ("0, GPU-aaaa1111,1", [("0", A), ("1", B)]),  # one GPU under two names is one
        ("MIG-c2", [("MIG-c2", "MIG-c2")]),
        ("0,-1,1", [("0", A)]),
        ("0,7,1", [("0", A)]),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_gpus_to_choose_from(machine, visible, found):
    machine(LISTED, **({} if visible is None else {VISIBLE: visible}))
    assert [(gpu.given, gpu.name) for gpu in gpus()] == found


def test_names_without_nvidia_smi_and_under_a_scheduler(machine):
    machine()
    assert gpus() is None
    machine(**{VISIBLE: "0,GPU-x", "SLURM_JOB_ID": "17"})
    assert gpus() == [Gpu("0", "17-0"), Gpu("GPU-x", "17-GPU-x")]


def test_a_job_is_told_its_gpus_and_waits_for_no_others(machine):
    machine(**{VISIBLE: "0,GPU-x,2"})
    lease(2)
    assert os.environ[VISIBLE] == "0,GPU-x"
    left = [Gpu(name, name) for name in ("0", "GPU-x", "2")]
    assert try_to_hold(2, left) == []
    assert [gpu.given for gpu in try_to_hold(1, left)] == ["2"]  # none was held by the job that got none
    assert try_to_hold(1, left) == []


def test_a_job_of_a_scheduler_takes_what_it_was_given(machine):
    """GPU 0 of another job of the scheduler is not this one's."""
    machine(**{VISIBLE: "0", "SLURM_JOB_ID": "17"})
    lease(1)
    machine(**{VISIBLE: "0", "SLURM_JOB_ID": "18"})
    lease(1)  # at once
    assert os.environ[VISIBLE] == "0"


def test_too_few_gpus_are_named_and_no_gpu_is_no_lease(machine):
    machine(**{VISIBLE: "0"})
    with pytest.raises(
        InputError, match=r"asks for 2 \(its resource gpu\), and CUDA_VISIBLE_DEVICES \('0'\)"
    ):
        lease(2)
    lease(0)
    assert os.environ[VISIBLE] == "0" and not leases._held


def test_a_machine_that_lists_no_gpu_is_left_as_it_is(machine):
    machine()
    said = []
    lease(1, said.append)
    assert VISIBLE not in os.environ and "this job holds none" in said[0]


JOB = (
    SCRIPTS
    + """
import os, time
from alma.workflow.leases import lease
lease(int(sys.argv[1]), lambda text: None)
mine = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
assert len(mine) == int(sys.argv[1])
for name in mine:
    os.close(os.open(f"busy-{name}", os.O_CREAT | os.O_EXCL))
time.sleep(float(sys.argv[2]))
for name in mine:
    os.unlink(f"busy-{name}")
"""
)


def test_jobs_side_by_side_never_share_a_gpu(machine, tmp_path):
    machine(**{VISIBLE: "0,1,GPU-x"})
    rng = random.Random(0)
    command = [sys.executable, "-c", JOB]
    jobs = [
        subprocess.Popen([*command, str(count), str(rng.uniform(0, 0.2))], cwd=tmp_path)
        for count in (1, 2, 1, 3, 1, 2)
    ]
    assert [job.wait(timeout=120) for job in jobs] == [0] * 6


WITH_WORKER = (
    SCRIPTS
    + """
import multiprocessing, os, time
from alma.workflow.leases import lease
if __name__ == "__main__":
    lease(2)
    worker = multiprocessing.get_context("{method}").Process(target=time.sleep, args=(600,))
    worker.start()
    print(worker.pid, flush=True)
    time.sleep(600)
"""
)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_no_gpu_is_lost_by_sigkill_and_workers_hold_theirs(machine, tmp_path, method):
    machine(**{VISIBLE: "0,1"})
    program = tmp_path / "program.py"
    program.write_text(WITH_WORKER.format(method=method))
    job = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    worker = int(job.stdout.readline())
    choice = gpus()
    try:
        job.kill()
        job.wait()
        time.sleep(0.2)
        assert try_to_hold(1, choice) == []  # the worker still computes on both
    finally:
        os.kill(worker, signal.SIGKILL)
        job.stdout.close()
    until = time.monotonic() + 30
    while not (taken := try_to_hold(2, choice)) and time.monotonic() < until:
        time.sleep(0.05)
    assert taken == choice
