"""Whether the jobs of a config run on GPUs, decided alike wherever the run is planned.

A login node has no GPU and its jobs have one, so the machine that reads the Snakefile is not asked where
there is another answer. Standard library only: the Snakefile calls this while it is read.
"""

import subprocess
from importlib import metadata

from alma.errors import InputError


def cuda_build() -> bool | None:
    """Whether torch of this environment is the CUDA build; None where it has no torch.

    The CPU lock holds PyTorch's own CPU build, whose version ends in +cpu.
    """
    try:
        return not metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return None


def gpus_here() -> int:
    """GPUs that `nvidia-smi -L` lists on this machine."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0


def on_gpu(device: str, *, elsewhere: bool = False) -> bool:
    """Whether jobs run on a GPU, by the config's `engine.device`.

    `auto` follows the environment that runs the jobs, which a login node and a compute node share: the
    CUDA build or the CPU build. Only where Snakemake has no torch beside it (`--sdm conda`) does this
    machine decide, since it is the one that runs the jobs.

    Args:
        elsewhere: whether the jobs run on other machines than this one.

    Raises:
        InputError: `auto`, and neither the environment nor this machine can tell.
    """
    if device != "auto":
        return device == "cuda"
    found = cuda_build()
    if found is None and elsewhere:
        raise InputError(
            "engine.device: found auto, expected cuda or cpu: the jobs run on other machines, and this "
            "environment has no torch whose build tells whether they have GPUs"
        )
    return gpus_here() > 0 if found is None else found


def check_limit(limit: int | None, sizes: dict[str, dict[str, int]]) -> None:
    """Refuse a run with a job that needs more GPUs than its jobs may use: Snakemake would give it fewer.

    Args:
        limit: the run's resource `gpu` (of the profile or --resources); None is no limit.
        sizes: {name of a run with GPUs: {key of its config: GPUs that one job takes by it}}.

    Raises:
        InputError: a job needs more.
    """
    if limit is None:
        return
    for run, counts in sizes.items():
        for key, size in counts.items():
            if size > limit:
                raise InputError(
                    f"{key} of {run}: found {size}, but its jobs may use {limit} GPU{'s' * (limit != 1)} "
                    f"at the same time: add --resources gpu={max(counts.values())} or more"
                )
