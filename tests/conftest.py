"""Fixtures for every test: no network, one thread, a tiny model."""

import fcntl
import os
import shutil

# Set before any test imports the libraries that read them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Most runs have stand-ins for models, and start warm in another way (tests/support/warm.py).
os.environ.setdefault("ALMA_WARM_START", "0")

import pytest
import tiny_model

pytest_plugins = ["cpu_times", "warm"]  # the options --cpu-times and --cold-starts


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory):
    """A tiny random base model as a user brings one: no chat template, no pad token. Read-only."""
    return tiny_model.write_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """The tiny model as a checkpoint of a run, with templates/chatml.jinja. Read-only."""
    return tiny_model.write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A finished run of `fast_run.SMALL`, made once for all modules, also those of other workers.

    Nothing changes it: a test works on its `copy`. Its processes start anew, so every job is seen to import
    what it needs, and the runs that start warm (tests/support/warm.py) have their bytes compared with it.
    """
    import fast_run

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, done = root / "finished", root / "finished.done"
    with (root / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            process = fast_run.FastRun.make(folder).start()
            assert process.wait() == 0, (folder / "printed.txt").read_text()[-5000:]
            done.touch()
    return fast_run.FastRun(folder)


# The longest modules first, so that no processor waits for the last one at the end.
LONGEST = (
    *("test_slurm", "test_workflow", "test_rebuilds", "test_faults", "test_engine", "test_training"),
    *("test_variants", "test_setup", "test_gpu_check", "test_report", "test_commands", "test_bad_input"),
)


# What uses one of these fixtures loads a model or makes an environment, and is marked slow for it.
SLOW_FIXTURES = {"tiny_model_dir", "tiny_checkpoint", "tiny_model", "finished_run", "finished", "made"}


def pytest_collection_modifyitems(config, items):
    """Mark what loads a model; order modules by length (within a module the order of the file stays).

    Tests against real servers run where they are asked for (`-m services`, `-m slurm`), and are skipped
    elsewhere.
    """
    asked = config.option.markexpr or ""
    for item in items:
        for marker, what in (("services", "against a real server"), ("slurm", "on a real Slurm")):
            if item.get_closest_marker(marker) and marker not in asked:
                item.add_marker(pytest.mark.skip(reason=f"{what}: make test-{marker}"))
        if SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(LONGEST)))
