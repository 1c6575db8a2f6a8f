"""Training examples in a file: what was written is read, and memory holds a batch of them, not all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alma.errors import InputError
from alma.example_store import BATCH, read_examples, write_examples
from alma.training_data import IGNORED

SOFT = [{"place": 2, "after": -1, "token": 7, "weight": 0.1 + 0.2}]
RATED = {"place": 2, "score": 1 / 3, "group": -1}


def plain(i):
    return {"input_ids": [i % 50000, 5, 6], "labels": [IGNORED, 5, 6]}


@pytest.mark.parametrize(
    "examples",
    [
        [plain(i) for i in range(2 * BATCH + 3)],
        [plain(i) | {"soft": SOFT if i == 1 else [], "rated": RATED} for i in range(3)],
        [{"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4, 0]}],
    ],
    ids=["plain", "judge", "preferences"],
)
def test_what_is_written_is_read(tmp_path, examples):
    digest = write_examples(iter(examples), tmp_path / "a" / "x.arrow")
    assert list(read_examples(tmp_path / "a" / "x.arrow")) == examples
    assert write_examples(iter(examples), tmp_path / "y.arrow") == digest
    assert write_examples(examples[:-1] or examples * 2, tmp_path / "z.arrow") != digest


def test_a_column_of_targets_that_are_all_empty_is_none(tmp_path):
    write_examples([plain(i) | {"soft": []} for i in range(3)], tmp_path / "x.arrow")
    assert read_examples(tmp_path / "x.arrow").column_names == ["input_ids", "labels"]


def test_nothing_is_left_of_examples_that_cannot_be_made(tmp_path):
    def none():
        raise InputError("no example")
        yield

    with pytest.raises(InputError):
        write_examples(none(), tmp_path / "a" / "x.arrow")
    assert not (tmp_path / "a").exists()


# As lists of Python's integers the ids of these examples would take 20,000 x 2 x 1,000 x 8 bytes, 320 MB.
MANY = """
import resource, sys
from pathlib import Path
from alma.example_store import read_examples, write_examples
import datasets

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def examples(count):
    for i in range(count):
        ids = [(i * j) % 40000 + 300 for j in range(1000)]
        yield {"input_ids": ids, "labels": ids}

file = Path(sys.argv[1])
write_examples(examples(2000), file)
found = read_examples(file)
found[0], found[1999]
before = peak()
file = file.with_name("y.arrow")
write_examples(examples(20000), file)
found = read_examples(file)
assert len(found) == 20000 and found[19999]["labels"][1] == 20299
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_examples(tmp_path):
    command = [sys.executable, "-c", MANY, str(tmp_path / "x.arrow")]
    scripts = Path(__file__).resolve().parents[1] / "scripts"
    environment = os.environ | {"PYTHONPATH": str(scripts)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 100, f"{ended.stdout} MB more for ten times the examples"
