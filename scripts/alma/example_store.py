"""Training examples as an Arrow file that is mapped into memory, so that their number is the disk's concern.

As Python lists the token ids of 455,000 examples (eleven rounds of the paper) take tens of gigabytes; here
they are written as they are made, and a training reads those of one step at a time.
"""

from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

from alma.trace.provenance import file_hash

BATCH = 1000  # examples that are written at once


def _schema(names: Iterable[str]) -> Any:
    """Arrow schema of the examples of `alma.training_data` with these columns."""
    import pyarrow as pa

    ids, number = pa.list_(pa.int32()), pa.int32()
    types = dict.fromkeys(("input_ids", "labels", "prompt_ids", "chosen_ids", "rejected_ids"), ids)
    soft = {"place": number, "after": number, "token": number, "weight": pa.float64()}
    types["soft"] = pa.list_(pa.struct(list(soft.items())))
    types["rated"] = pa.struct([("place", number), ("score", pa.float64()), ("group", number)])
    return pa.schema([(name, types[name]) for name in names])


def write_examples(examples: Iterable[dict[str, Any]], file: Path) -> str:
    """Write examples of `alma.training_data`, at least one, to a new Arrow file; returns its SHA-256.

    An error that the examples raise leaves a part of the file.
    """
    import pyarrow as pa

    rest = iter(examples)
    first = next(rest)
    rest = chain([first], rest)
    schema = _schema(first)
    file.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        while batch := list(islice(rest, BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
    return file_hash(file)


def read_examples(file: Path) -> Any:
    """Data set (`datasets.Dataset`) of a file of `write_examples`, mapped; without an empty `soft`."""
    import pyarrow.compute as pc
    from datasets import Dataset

    found = Dataset.from_file(str(file))
    if "soft" in found.column_names and not pc.max(pc.list_value_length(found.data.column("soft"))).as_py():
        found = found.remove_columns("soft")
    return found
