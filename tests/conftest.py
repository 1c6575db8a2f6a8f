"""Fixtures for every test: no network, one thread, a tiny model."""

import os

# Set before any test imports the libraries that read them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

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


# The longest modules first, so that no processor waits for the last one at the end.
LONGEST = (
    "test_workflow",
    "test_rebuilds",
    "test_faults",
    "test_variants",
    "test_training",
    "test_bad_input",
)


# What uses one of these fixtures loads a model or makes an environment, and is marked slow for it.
SLOW_FIXTURES = {"tiny_model_dir", "tiny_checkpoint", "tiny_model", "finished", "made"}


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
