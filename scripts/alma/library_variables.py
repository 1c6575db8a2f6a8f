"""Environment variables that libraries read when they are imported. Standard library only."""

import os

_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
_NO_TELEMETRY = ("HF_HUB_DISABLE_TELEMETRY", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")


def for_every_job(threads: int) -> dict[str, str]:
    """What numpy, polars, torch and the hub's client read.

    The number of threads comes from the config and never from `--cores`: another number of threads adds up
    floats in another order, and the results would depend on the machine's load.
    """
    found = {f"{name}_NUM_THREADS": str(threads) for name in _THREADS} | {"POLARS_MAX_THREADS": str(threads)}
    return found | {"TOKENIZERS_PARALLELISM": "false"} | dict.fromkeys(_NO_TELEMETRY, "1")


def for_the_engine(gpu: bool) -> dict[str, str]:
    """What vLLM reads."""
    found = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
    }
    if not gpu:
        # "nobind": jobs side by side must not be pinned to the same core.
        found |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_WAIT_POLICY": "PASSIVE"}
    return found
