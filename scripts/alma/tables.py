"""The schema of every table, and the only functions that read and write them.

All tables are Parquet with zstd. Ids are content hashes (`alma.ids`), scores are float64 on 0-10,
null where there is none.

Work on whole columns is said in polars: `scan_table` gives a lazy frame, `collect` its rows, `write_frames`
writes frames. polars is imported by these functions alone, since a job of a model has no need of it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from alma.errors import InputError
from alma.files import atomic_path

if TYPE_CHECKING:
    import polars as pl

# Rows of a row group: what a writer holds at once. A file's bytes depend on it, so it is the same for all.
ROW_GROUP = 2**16

ANY_LENGTH = 0  # of a fixed-size list whose length the schema leaves open
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

_PROMPT = [
    ("prompt_id", pa.string()),
    ("prompt", pa.string()),
    ("source", pa.string()),  # seed or synthetic
    ("examples", pa.list_(pa.string())),  # ids of the few-shot examples of a synthetic prompt
]
# JSON list of the checks that the prompt states (`alma.stated`), as the `checks` of an evaluation prompt
_STATED = ("checks", pa.string())
_RESPONSE = [
    ("prompt_id", pa.string()),
    ("response_id", pa.string()),
    ("checkpoint", pa.string()),
    ("sample", pa.int32()),
    ("seed", pa.int64()),
    ("response", pa.string()),
    ("finish_reason", pa.string()),  # stop, or length where the token limit cut it off
    ("tokens", pa.int32()),
]
# The judge's distribution over the ratings 0..10, normalized before it is rounded. A table of scores takes a
# quarter fewer bytes than with float64, and no reader has a use for the last bits.
P = pa.list_(pa.float32(), 11)
_SCORE = [
    ("score", pa.float64()),  # expected rating on 0-10, null where it cannot be read or was not asked for
    # Probability that the judge put on the eleven ratings. It and p are null in an "evaluation" table where
    # the judge was not asked (evaluation.judge_prompts).
    ("mass", pa.float64()),
    ("p", P),
]

SCHEMAS: dict[str, pa.Schema] = {
    # seeds
    "sft": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("prompt", MESSAGES),
            ("completion", MESSAGES),
            ("category", pa.string()),  # of the labels, null where they have none
        ]
    ),
    "judge": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("response_id", pa.string()),
            ("annotator", pa.int32()),  # 0, 1, ... where one response was rated several times
            ("prompt", pa.string()),
            ("response", pa.string()),
            ("score", pa.float64()),
        ]
    ),
    "seed_prompt": pa.schema([("prompt_id", pa.string()), ("prompt", pa.string())]),
    "judge_pair": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("prompt", pa.string()),
            ("chosen", pa.string()),
            ("rejected", pa.string()),
        ]
    ),
    "eval": pa.schema(
        [
            ("benchmark", pa.string()),
            ("prompt_id", pa.string()),
            ("prompt", pa.string()),
            ("category", pa.string()),
            ("reference", pa.string()),
            (
                "checks",
                pa.string(),
            ),  # JSON list of checks (`alma.checks`), "[]" where there is none
        ]
    ),
    # prompts
    "raw_prompt": pa.schema(
        [
            *_PROMPT,
            ("finish_reason", pa.string()),
            ("logprob", pa.float64()),  # mean of its tokens under the base model, natural log; null if empty
        ]
    ),
    # One row per raw prompt, in the order of its shard: so `row` below is the row of both tables.
    "filtered_prompt": pa.schema(
        [
            *_PROMPT,
            _STATED,
            ("logprob", pa.float64()),  # as in raw_prompt
            # first filter that the prompt fails by itself (`alma.prompt_filters.FILTERS`), null if none
            ("fails", pa.string()),
        ]
    ),
    # what is compared with the prompts of all shards: those that no filter before removed by itself
    "signature": pa.schema(
        [
            ("row", pa.int32()),
            ("prompt_id", pa.string()),
            ("examples", pa.list_(pa.string())),
            ("precedence", pa.int64()),  # seeded hash: of duplicates the smallest stays
            ("text", pa.int64()),  # hash of the words: equal texts but for case, space, punctuation
            ("logprob", pa.float64()),
            ("signature", pa.binary(512)),  # MinHash, 128 unsigned integers of 32 bits
        ]
    ),
    "duplicate": pa.schema([("shard", pa.int32()), ("row", pa.int32())]),
    "near_pair": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("precedence", pa.int64()),
            ("earlier_id", pa.string()),  # the prompt that it is like, and which has precedence
            ("earlier_precedence", pa.int64()),
            ("similarity", pa.float32()),  # estimated Jaccard similarity of word 3-grams
        ]
    ),
    "kept": pa.schema([("shard", pa.int32()), ("row", pa.int32())]),
    "prompt": pa.schema([*_PROMPT, _STATED]),
    # the mean of some embeddings, then the axes of their principal components, as long as the model is wide
    "projection": pa.schema([("part", pa.string()), ("vector", pa.list_(pa.float32(), ANY_LENGTH))]),
    # lists of one length: the model's width, or prompts.embedding_dimensions
    "embedding": pa.schema([("prompt_id", pa.string()), ("embedding", pa.list_(pa.float16(), ANY_LENGTH))]),
    "cluster": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("cluster", pa.int32()),
            ("rank", pa.int32()),  # place in a seeded order of the cluster
            ("distance", pa.float32()),  # squared Euclidean distance to the centroid
        ]
    ),
    "deal": pa.schema(
        [
            ("round", pa.int32()),  # from 2 on: round 1 is the SFT
            ("place", pa.int32()),  # a run uses the places 0 .. prompts_per_round - 1 of its rounds
            ("cluster", pa.int32()),
            ("prompt_id", pa.string()),
        ]
    ),
    "round_prompt": pa.schema([*_PROMPT, _STATED, ("cluster", pa.int32())]),
    # rounds
    "response": pa.schema(_RESPONSE),
    "score": pa.schema([("response_id", pa.string()), ("prompt_id", pa.string()), *_SCORE]),
    "selected": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("prompt", pa.string()),
            ("chosen", pa.string()),
            ("chosen_score", pa.float64()),
            ("chosen_id", pa.string()),
            ("rejected", pa.string()),  # null where the prompt yields no preference pair
            ("rejected_score", pa.float64()),
            ("rejected_id", pa.string()),
            ("candidates", pa.int32()),  # distinct eligible responses
        ]
    ),
    "dataset": pa.schema([("prompt_id", pa.string()), ("prompt", MESSAGES), ("completion", MESSAGES)]),
    "preferences": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("prompt", MESSAGES),
            ("chosen", MESSAGES),
            ("rejected", MESSAGES),
        ]
    ),
    # the judge
    "distillation_response": pa.schema([*_RESPONSE, ("prompt", pa.string())]),
    "distilled": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("response_id", pa.string()),
            ("prompt", pa.string()),
            ("response", pa.string()),
            ("score", pa.float64()),  # the seed judge's own real-valued score
            ("p", P),
        ]
    ),
    # what people are asked to rate; which response is whose stands in no file that they see
    "annotation_key": pa.schema(
        [
            ("task", pa.int32()),  # from 1
            ("letter", pa.string()),  # of the response in its task: A, B, ...
            ("key", pa.string()),  # the response's name in the files of the annotation
            ("prompt_id", pa.string()),
            ("response_id", pa.string()),
            ("checkpoint", pa.string()),
            ("sample", pa.int32()),
            ("score", pa.float64()),  # the judge's
        ]
    ),
    # evaluation
    "judge_score": pa.schema(
        [
            ("response_id", pa.string()),
            ("prompt_id", pa.string()),
            ("label", pa.float64()),  # mean human score on 0-10
            *_SCORE,
        ]
    ),
    "selection_response": pa.schema([*_RESPONSE, ("prompt", pa.string()), ("benchmark", pa.string())]),
    "evaluation_response": pa.schema(
        [
            *_RESPONSE,
            ("benchmark", pa.string()),
            (
                "passed",
                pa.list_(pa.bool_()),
            ),  # one value per check, in the order of the prompt's checks
        ]
    ),
    "evaluation": pa.schema(
        [
            *_RESPONSE,
            ("benchmark", pa.string()),
            ("passed", pa.list_(pa.bool_())),
            *_SCORE,
        ]
    ),
}


def _write(path: str | Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write Arrow tables of one schema, one after the other, as one file; returns its number of rows.

    Every row group is cut and made one chunk here, so that equal rows give equal bytes, whatever the sizes of
    the tables and of their chunks.
    """
    rows = 0
    held = [schema.empty_table()]
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for table in tables:
            held.append(table)
            while sum(map(len, held)) >= ROW_GROUP:
                whole = pa.concat_tables(held)
                writer.write_table(whole.slice(0, ROW_GROUP).combine_chunks(), ROW_GROUP)
                rows, held = rows + ROW_GROUP, [whole.slice(ROW_GROUP)]
        rest = pa.concat_tables(held).combine_chunks()
        if len(rest) or not rows:
            writer.write_table(rest, ROW_GROUP)
    return rows + len(rest)


def has_schema(found: pa.Schema, kind: str) -> bool:
    """Whether a schema is that of a kind of table, where lists of `ANY_LENGTH` may have any length."""
    expected = SCHEMAS[kind]
    for place, (field, other) in enumerate(zip(expected, found, strict=False)):
        lists = pa.types.is_fixed_size_list(field.type) and pa.types.is_fixed_size_list(other.type)
        if lists and field.type.list_size == ANY_LENGTH:
            length = other.type.list_size
            expected = expected.set(place, field.with_type(pa.list_(field.type.value_type, length)))
    return bool(found.equals(expected))


def write_table(path: str | Path, kind: str, rows: list[dict[str, Any]]) -> None:
    """Write rows as a Parquet table of schema `SCHEMAS[kind]`, atomically.

    Raises:
        pyarrow.ArrowInvalid, KeyError: a row does not fit the schema (an error in the program).
    """
    schema = SCHEMAS[kind]
    for row in rows:
        if set(row) != set(schema.names):
            raise KeyError(f"row of {kind} has columns {sorted(row)}, expected {sorted(schema.names)}")
    write_columns(path, kind, pa.Table.from_pylist(rows, schema=schema))


def write_columns(path: str | Path, kind: str, table: pa.Table) -> None:
    """Write an Arrow table of schema `SCHEMAS[kind]`, atomically: for tables too large for Python's objects.

    Raises:
        ValueError: the table has another schema (an error in the program).
    """
    if not has_schema(table.schema, kind):
        raise ValueError(f"{path}: has the schema {table.schema}, expected that of a {kind} table")
    _write(path, table.schema, [table])


def frame_schema(kind: str) -> "pl.Schema":
    """The schema of a kind of table as polars has it: column names and data types, in their order."""
    import polars as pl

    return pl.DataFrame(SCHEMAS[kind].empty_table()).schema


def write_frames(path: str | Path, kind: str, frames: Iterable["pl.DataFrame"]) -> int:
    """Write polars frames, one after the other, as one table of schema `SCHEMAS[kind]`, atomically.

    At most `ROW_GROUP` rows and the frame at hand are held at once. The bytes are those of `write_table` with
    the same rows: how the rows are cut into frames, and the number of threads, change nothing.

    Args:
        frames: each with exactly the columns and types of `frame_schema(kind)`; nothing is cast.

    Returns:
        The number of rows written.

    Raises:
        ValueError: a frame has other columns or types (an error in the program); nothing is written.
    """
    expected = frame_schema(kind)

    def checked() -> Iterator[pa.Table]:
        for frame in frames:
            if frame.schema != expected:
                raise ValueError(f"{path}: has the schema {frame.schema}, expected {expected} ({kind} table)")
            yield frame.to_arrow().cast(SCHEMAS[kind])

    return _write(path, SCHEMAS[kind], checked())


@contextmanager
def _opened(path: str | Path, kind: str) -> Iterator[pq.ParquetFile]:
    """A table's file, of the schema of its kind; damage that is met while it is read is a message too."""
    try:
        # pq.read_table would import pandas, which a job that only reads has no need of.
        with pq.ParquetFile(path) as file:
            if not has_schema(file.schema_arrow, kind):
                raise InputError(
                    f"{path}: has columns {file.schema_arrow.names}, expected those of a {kind} table: "
                    f"{SCHEMAS[kind].names}.\n  Delete it and run the same command again."
                )
            yield file
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({error}).\n"
            f"  It was damaged after it was written. Delete it and run the same command again."
        ) from error


def read_columns(path: str | Path, kind: str, columns: list[str] | None = None) -> pa.Table:
    """Read columns of a table, or all of them, as an Arrow table: a fraction of the memory of `read_table`.

    Raises:
        InputError: the file is damaged or has another schema; the message says how to rebuild it.
    """
    with _opened(path, kind) as file:
        return file.read(columns)


def iter_columns(
    path: str | Path, kind: str, columns: list[str] | None = None, rows: int = 65536
) -> Iterator[pa.Table]:
    """Read columns of a table, or all of them, at most so many rows at a time.

    Raises:
        InputError: as `read_columns`.
    """
    with _opened(path, kind) as file:
        for batch in file.iter_batches(rows, columns=columns):
            yield pa.Table.from_batches([batch])


@contextmanager
def table_writer(path: str | Path, kind: str) -> Iterator[pq.ParquetWriter]:
    """A table of schema `SCHEMAS[kind]` that is written part by part, and is there when all are.

    Raises:
        ValueError: a part has another schema (an error in the program).
    """
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMAS[kind], compression="zstd") as writer,
    ):
        yield writer


def count_rows(path: str | Path, kind: str) -> int:
    """Number of rows of a table, from its metadata.

    Raises:
        InputError: as `read_columns`.
    """
    with _opened(path, kind) as file:
        return file.metadata.num_rows


def read_table(path: str | Path, kind: str) -> list[dict[str, Any]]:
    """Read a table that `write_table` wrote, as a list of rows.

    Raises:
        InputError: as `read_columns`.
    """
    return read_columns(path, kind).to_pylist()


def read_matching(path: str | Path, kind: str, filters: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table that pass all filters, in its order: few rows of a table that may not fit the memory.

    Args:
        filters: as pyarrow's, for example ("round", "==", 2) or ("prompt_id", "in", [...]).

    Raises:
        InputError: as `read_columns`.
    """
    wanted = pq.filters_to_expression(filters)
    return [row for part in iter_columns(path, kind) for row in part.filter(wanted).to_pylist()]


_scanned: dict[str, str] = {}  # the files that this process has scanned, and their kinds


def scan_table(path: str | Path, kind: str) -> "pl.LazyFrame":
    """A table as a lazy polars frame: nothing but its schema is read until `collect`.

    Raises:
        InputError: as `read_columns`.
    """
    import polars as pl

    with _opened(path, kind):
        _scanned[str(path)] = kind
    return pl.scan_parquet(str(path), glob=False, hive_partitioning=False)


def scan_tables(paths: list[str] | list[Path], kind: str) -> "pl.LazyFrame":
    """Several tables of one kind as one lazy frame, in the order given; see `scan_table`."""
    import polars as pl

    return pl.concat([pl.LazyFrame(schema=frame_schema(kind)), *(scan_table(path, kind) for path in paths)])


def collect(frame: "pl.LazyFrame") -> "pl.DataFrame":
    """The rows of a lazy frame over tables, computed by polars' streaming engine.

    It holds batches, not whole tables. Where an expression does not keep the order of the rows (a group-by, a
    join), sort: the engine's order depends on its threads.

    Raises:
        InputError: a table is damaged where only its data show it; the message is that of `read_columns`.
    """
    from polars.exceptions import PanicException, PolarsError

    try:
        return frame.collect(engine="streaming")
    except (PolarsError, PanicException, OSError):
        # polars does not say which file it was reading. pyarrow does, if a file is what is wrong.
        plan = frame.explain(optimized=False)
        for path in (path for path in _scanned if path in plan):
            for _ in iter_columns(path, _scanned[path]):
                pass
        raise


def read_tables(paths: list[str] | list[Path], kind: str) -> list[dict[str, Any]]:
    """Read several tables of one kind, one after the other, in the order given."""
    return [row for path in paths for row in read_table(path, kind)]


def user(content: str) -> list[dict[str, str]]:
    """A one-turn conversation with `content` as the user's message."""
    return [{"role": "user", "content": content}]


def assistant(content: str) -> list[dict[str, str]]:
    """A one-turn completion with `content` as the assistant's message."""
    return [{"role": "assistant", "content": content}]


def user_text(messages: list[dict[str, str]]) -> str:
    """The last user message of a conversation."""
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
