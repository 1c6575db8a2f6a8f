"""Start jobs as forks of one process that has imported vLLM, PyTorch, TRL and the tables' libraries already.

Those imports cost a job that loads a model ten seconds and more of processor time on a slow core, and the
demonstration has some fifty such jobs. A fork is a process of its own, as before; of the workflow's own code
nothing is imported when it begins. Where there is no process to fork from, jobs start as they always did.

Only for runs with such jobs, on this machine, without a GPU, in the environment that Snakemake runs in
itself. ALMA_WARM_START=0 in the environment turns it off. Snakemake has no hook for this, so its `script:`
is wrapped; where this Snakemake has none that fits, it is left as it is.
"""

import atexit
import importlib
import os
import subprocess
import threading
from collections import Counter
from typing import Any

from alma.library_variables import for_every_job, for_the_engine
from alma.workflow.forks import Fork, Server

VARIABLE = "ALMA_WARM_START"
# Imported before the first fork. What another version does not have any more is imported by the job itself.
MODULES = (
    *("snakemake.iocontainers", "snakemake.logging", "snakemake.script"),
    *("numpy", "polars", "pyarrow", "pyarrow.parquet", "pyarrow.compute", "jinja2"),
    *("torch", "transformers", "transformers.models.llama.modeling_llama", "datasets", "accelerate", "peft"),
    *("trl.trainer.sft_trainer", "trl.trainer.dpo_trainer", "vllm.entrypoints.llm"),
    *("vllm.v1.worker.cpu_worker", "vllm.model_executor.models.llama", "vllm.model_executor.model_loader"),
    *("vllm.v1.core.sched.scheduler", "vllm.v1.attention.backends.cpu_attn", "compressed_tensors"),
    *("vllm.entrypoints.launchers.cli_args", "vllm.model_executor.layers.quantization.online.base"),
)
_AT_LEAST = 3  # jobs, to begin a process for

_servers: dict[int, Server] = {}  # {CPU threads of the jobs: what they are forked from}
_rules: set[str] = set()  # those whose jobs load a model
_here = threading.local()  # `script`: what Snakemake is about to start in this thread, and from where


def begin(workflow: Any) -> None:
    """Before the first job: begin the processes for the jobs that this run will start.

    Args:
        workflow: Snakemake's, with its plan; none of its jobs uses a GPU.
    """
    elsewhere = workflow.non_local_exec or workflow.remote_exec
    if os.environ.get(VARIABLE) == "0" or elsewhere or workflow.deployment_settings.deployment_method:
        return
    jobs = [job for job in workflow.dag.needrun_jobs() if "gpu" in job.rule.resources]
    counts = Counter(job.threads for job in jobs)
    wanted = [threads for threads, count in counts.items() if count >= _AT_LEAST]
    if not wanted or not _install():
        return
    _rules.update(job.rule.name for job in jobs)
    for threads in wanted:
        variables = for_every_job(threads) | for_the_engine(gpu=False)
        try:
            server = _servers[threads] = Server(MODULES, os.environ | variables)
            atexit.register(server.close)  # and waited for, so that the run's own CPU time holds its jobs'
        except OSError as error:
            print(f"alma: jobs start without a process that has their libraries ({error})")


def _install() -> bool:
    """Wrap Snakemake's `script:`, once per process; False where there is none that fits."""
    try:
        place: Any = importlib.import_module("snakemake.shell")  # the package has a class of that name too
        from snakemake.script import PythonScript
    except ImportError:
        return False
    if getattr(PythonScript, "alma_warm_start", False):
        return True
    if getattr(place, "sp", None) is not subprocess or not hasattr(PythonScript, "execute_script"):
        return False
    original = PythonScript.execute_script

    def execute_script(self: Any, fname: str, edit: bool = False) -> None:
        elsewhere = self.conda_env or self.container_img or self.env_modules
        server = None if edit or elsewhere else _servers.get(self.threads)
        # A job that loads no model starts sooner by itself than the libraries of models are there.
        if server and (self.rulename in _rules or server.ready()):
            _here.script = fname, server
        try:
            original(self, fname, edit)
        finally:
            _here.script = None

    PythonScript.execute_script = execute_script
    PythonScript.alma_warm_start = True
    place.sp = _Subprocess()
    return True


class _Subprocess:
    """The module `subprocess` as `snakemake.shell` sees it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    @staticmethod
    def Popen(command: Any, **options: Any) -> Any:
        asked, _here.script = getattr(_here, "script", None), None
        if asked:
            fname, server = asked
            try:
                server.wait()
                return Fork(server.path, [fname], os.getcwd(), options["env"], [0, 1, 2])
            except OSError:  # it was killed, say for want of memory
                pass
        return subprocess.Popen(command, **options)
