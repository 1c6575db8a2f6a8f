"""Processes that a library starts for a job with several GPUs: none runs the job again."""

import json
import os
import subprocess
import sys

import pytest
from rule_texts import ROOT

from alma.workflow.codehash import code_hash
from alma.workflow.leases import _SCHEDULER_JOBS

# The script of a rule, and what Snakemake writes before it: the `snakemake` object.
SCRIPT = """
import sys
sys.path.insert(0, "{scripts}")

def main():
    {body}

if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main()
        open("results/r/out.txt", "w").close()
"""
PREAMBLE = """
from types import SimpleNamespace as Box
snakemake = Box(rule="demo", log=["x.log"], params=Box(spec={spec!r}), wildcards={{}}, input=[],
                output=["results/r/out.txt"], resources=Box(gpu=2))
"""
SNAKEFILE = """
rule demo:
    output: "results/r/out.txt"
    log: "x.log"
    resources: gpu=2
    params: spec={spec!r}
    script: "script.py"
"""


def a_spec():
    name = "sample_responses.py"
    facts = {"script": name, "code": code_hash(ROOT / "scripts" / name), "threads": 1, "config": {}}
    return json.dumps(facts)


def script(body):
    return SCRIPT.format(scripts=ROOT / "scripts", body=body.strip().replace("\n", "\n    "))


def run(folder, *command):
    """Log of the job that a command runs, on a machine with GPUs 5, 6 and 7."""
    left_out = ("VLLM_WORKER_MULTIPROC_METHOD", "PYTORCH_NVML_BASED_CUDA_CHECK", *_SCHEDULER_JOBS)
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"CUDA_VISIBLE_DEVICES": "5,6,7", "ALMA_GPU_LEASES": str(folder / "leases")}
    (folder / "results/r").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, timeout=120, capture_output=True, text=True
    )
    log = folder / "x.log"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    return log.read_text()


def run_job(folder, body):
    (folder / "program.py").write_text(PREAMBLE.format(spec=a_spec()) + script(body))
    return run(folder, "program.py")


WORKERS = """
import multiprocessing, os
print("the job runs", flush=True)
context = multiprocessing.get_context(os.environ["VLLM_WORKER_MULTIPROC_METHOD"])
workers = [context.Process(target=print, args=("a worker",), kwargs={"flush": True}) for _ in range(2)]
for worker in workers:
    worker.start()
assert context.get_start_method() == "spawn"
for worker in workers:
    worker.join()
    assert worker.exitcode == 0
"""


def test_spawned_workers_do_not_run_the_job_again(tmp_path):
    log = run_job(tmp_path, WORKERS)
    assert log.count("the job runs") == 1 and log.count("a worker") == 2


# The library's part of a machine with two GPUs; `seen` is what initializes CUDA.
BEFORE_THE_ENGINE = """
import sys, types
import torch
seen = []
def initializes(name, result=None):
    return lambda *given, **named: (seen.append(name), result)[1]
torch.cuda._is_compiled = lambda: True
torch.cuda._device_count_nvml = lambda: 2
torch._C._cuda_getDeviceCount = initializes("cudaGetDeviceCount", 2)
torch._C._cuda_init = initializes("cuda_init")
torch.cuda._lazy_init = initializes("lazy_init")
class LLM:
    def __init__(self, **options):
        print("the engine starts on", options["tensor_parallel_size"], "GPUs after", seen, flush=True)
sys.modules["vllm"] = types.SimpleNamespace(LLM=LLM)
from alma import engine
engine.Engine = lambda llm, longest: llm
engine.open_engine("model", {"device": "auto", "dtype": "auto", "max_model_len": 64, "max_num_seqs": 2,
    "kv_cache_gib": 1, "gpu_memory_utilization": 0.5, "tensor_parallel_size": 2})
"""


@pytest.mark.slow
def test_nothing_initializes_cuda_before_the_engine(tmp_path):
    """vLLM forks or spawns its workers; a process forked after cudaGetDeviceCount cannot use CUDA."""
    assert "the engine starts on 2 GPUs after []" in run_job(tmp_path, BEFORE_THE_ENGINE)


def test_snakemake_s_own_copy_of_a_script_runs_once_on_the_gpus_of_its_resource(tmp_path):
    (tmp_path / "script.py").write_text(script(WORKERS))
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(spec=a_spec()))
    log = run(tmp_path, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--resources", "gpu=2")
    assert log.count("the job runs") == 1 and log.count("a worker") == 2
    assert {path.name for path in (tmp_path / "leases").iterdir()} == {"gate", "5", "6"}
