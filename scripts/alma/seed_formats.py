"""Read rows from what users bring: JSONL, JSON, CSV (each also as .gz), Parquet, a data set of the hub.

An empty CSV cell and a null are left out. Faults go to a list of problems, so that a user sees all of
them at once.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from alma.errors import InputError, Plain, problem, shorten
from alma.json_text import parse_json


class Row(NamedTuple):
    """One row of a file."""

    where: str  # what a message calls it: "my.jsonl: line 3", or "row 3" in the other formats, from 1
    values: dict[str, Any]  # {column: value}
    text_only: bool = False  # whether the format has no type but text, as CSV has none


# Seeds are a few thousand rows; a file beyond this is a mistake, or made to exhaust the memory.
MAX_BYTES = 256 * 1024**2
MAX_ROWS = 2_000_000
_BATCH_BYTES = 64 * 1024**2
EXTENSIONS = (".jsonl", ".json", ".csv", ".parquet")
COMPRESSED = ".gz"  # may follow an extension of a text file
_MAX_BAD_LINES = 5
_MAX_NAMES = 20
_LFS = b"version https://git-lfs.github.com/spec/"


def _lines(source: str, raw: bytes, problems: list[str]) -> list[tuple[int, str]] | None:
    """The lines of a text file as (number from 1, text), without those that have a fault.

    None where the file is in an encoding that no line can be read in.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        problems.append(f"{source}: found UTF-16 text, expected UTF-8 (save the file as UTF-8)")
        return None
    good: list[tuple[int, str]] = []
    bad = 0
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        fault = None
        if b"\0" in line:
            fault = f"a NUL byte at byte {line.index(0) + 1}"
        else:
            try:
                good.append((number, line.decode("utf-8")))
            except UnicodeDecodeError as error:
                fault = f"the byte 0x{line[error.start]:02x} at byte {error.start + 1}"
        if fault:
            bad += 1
            if bad <= _MAX_BAD_LINES:
                problems.append(f"{source}: line {number}: found {fault}, expected UTF-8 text")
    if bad > _MAX_BAD_LINES:
        problems.append(f"{source}: {bad - _MAX_BAD_LINES} more lines that are not UTF-8 text")
    return good


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _read_jsonl(source: str, raw: bytes, problems: list[str]) -> list[Row]:
    rows: list[Row] = []
    for number, line in _lines(source, raw, problems) or []:
        if not line.strip():
            continue
        where = f"{source}: line {number}"
        try:
            values = parse_json(line)
        except ValueError as error:
            problems.append(f"{where}: found {shorten(line)}, expected a JSON object ({error})")
            continue
        if isinstance(values, dict):
            rows.append(Row(where, _without_nulls(values)))
        else:
            problems.append(f"{where}: found {shorten(values)}, expected a JSON object")
    return rows


def _read_json(source: str, raw: bytes, problems: list[str]) -> list[Row]:
    before = len(problems)
    lines = _lines(source, raw, problems)
    if lines is None or len(problems) > before:
        return []
    try:
        values = parse_json("\n".join(text for _, text in lines))
    except ValueError as error:
        hint = " (one object per line is JSON Lines: name the file .jsonl)" * ("Extra data" in str(error))
        problems.append(f"{source}: broken JSON: {error}; expected a list of objects{hint}")
        return []
    if not isinstance(values, list):
        problems.append(f"{source}: found {shorten(values)}, expected a list of objects")
        return []
    rows: list[Row] = []
    for number, value in enumerate(values, start=1):
        where = f"{source}: row {number}"
        if isinstance(value, dict):
            rows.append(Row(where, _without_nulls(value)))
        else:
            problems.append(f"{where}: found {shorten(value)}, expected an object")
    return rows


def _repeated(source: str, names: list[str], problems: list[str]) -> bool:
    """Whether a column stands twice; if so, a problem."""
    name = next((name for name, count in Counter(names).items() if count > 1), None)
    if name is not None:
        problems.append(f"{source}: found the column {shorten(name)} twice, expected it once")
    return name is not None


def _read_csv(source: str, raw: bytes, problems: list[str]) -> list[Row]:
    before = len(problems)
    lines = _lines(source, raw, problems)
    if lines is None or len(problems) > before:
        return []
    limit = csv.field_size_limit(MAX_BYTES)
    rows: list[Row] = []
    number = ended = 0  # rows so far, and the line in which the last one ended
    try:
        reader = csv.reader(io.StringIO("\n".join(text for _, text in lines), newline=""), strict=True)
        header = next(reader, [])
        if _repeated(source, header, problems):
            return []
        ended = reader.line_num
        for cells in reader:
            ended = reader.line_num
            if not cells:
                continue  # an empty line
            number += 1
            where = f"{source}: row {number}"
            if len(cells) != len(header):
                problems.append(
                    f"{where}: found {len(cells)} cells, expected {len(header)}, as in the header"
                )
                continue
            rows.append(Row(where, {k: v for k, v in zip(header, cells, strict=True) if v != ""}, True))
    except csv.Error as error:
        place = f"row {number + 1}" if ended else "the header"
        problems.append(
            f"{source}: {place}, which begins at line {ended + 1}: broken CSV: {error}; expected quotes in "
            f"pairs (a quote inside a quoted cell is written twice)"
        )
        return []
    finally:
        csv.field_size_limit(limit)
    return rows


def _mib(size: int) -> str:
    """A number of bytes, and how many are allowed."""
    limit = f"expected at most {MAX_BYTES / 1024**2:g} MiB"
    return f"found {size / 1024**2:,.1f} MiB, {limit}"


def _batch_rows(source: str, batch: Any, first: int, problems: list[str]) -> list[Row]:
    """Rows of a record batch from number `first` on; a value that Python cannot hold is a problem."""
    places = [f"{source}: row {number}" for number in range(first, first + batch.num_rows)]
    try:
        return [Row(*row) for row in zip(places, map(_without_nulls, batch.to_pylist()), strict=True)]
    except Exception:  # bytes that are no UTF-8, dates beyond the year 9999, and more
        rows: list[Row] = []
        for i, where in enumerate(places):
            values: dict[str, Any] = {}
            for name in batch.schema.names:
                column = batch.column(name)
                try:
                    values[name] = column[i].as_py()
                except Exception as error:
                    found = Plain(f"a value of type {column.type} that cannot be read ({error})")
                    problems.append(problem(where, name, found, "UTF-8 text or a number"))
                    break
            else:
                rows.append(Row(where, _without_nulls(values)))
        return rows


def _read_parquet(
    source: str, path: Path, columns: set[str], problems: list[str]
) -> tuple[list[Row], list[str]]:
    """Rows of a Parquet file, of the columns asked for, and the names of all its columns.

    A value that repeats is stored once, so a file of a kilobyte can hold gigabytes. What the metadata
    tells is checked before anything is read; the rest is read in batches that cannot grow large.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, groups = file.schema_arrow.names, file.metadata.num_row_groups
            if _repeated(source, names, problems):
                return [], []
            chunks = [
                [group.column(i) for i in range(group.num_columns)]
                for group in map(file.metadata.row_group, range(groups))
            ]
            used = [[c for c in group if c.path_in_schema.split(".")[0] in columns] for group in chunks]
            sizes = [sum(chunk.total_uncompressed_size for chunk in group) for group in used]
            if sum(sizes) > MAX_BYTES:
                problems.append(f"{source}: {_mib(sum(sizes))} decompressed")
                return [], []
            # Values and not rows: one row can hold a list of any length.
            values = sum(max((chunk.num_values for chunk in group), default=0) for group in used)
            if max(values, file.metadata.num_rows) > MAX_ROWS:
                found = max(values, file.metadata.num_rows)
                problems.append(
                    f"{source}: found {found:,} values in a column, expected at most {MAX_ROWS:,}"
                )
                return [], []
            # No value is larger than the column chunk that holds it.
            size = min(256, max(1, _BATCH_BYTES // max([*sizes, 1])))
            rows: list[Row] = []
            number, read = 1, 0
            for batch in file.iter_batches(size, columns=[n for n in names if n in columns]):
                read += batch.nbytes
                if read > MAX_BYTES:
                    problems.append(
                        f"{source}: {_mib(read).replace('found', 'found more than')} decompressed"
                    )
                    return [], []
                rows += _batch_rows(source, batch, number, problems)
                number += batch.num_rows
            return rows, names
    except Exception as error:  # pyarrow raises what the bytes lead it to
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        problems.append(f"{source}: not a readable Parquet file ({first})")
        return [], []


def parse_hub(source: str) -> tuple[str, str, str]:
    """Name, revision and split of `hub:OWNER/NAME@REVISION[:SPLIT]`; the split is train by default.

    Raises:
        InputError: the source has another form.
    """
    name, _, rest = source.removeprefix("hub:").partition("@")
    revision, _, split = rest.partition(":")
    if not name or not revision:
        raise InputError(f"{source}: expected hub:OWNER/NAME@REVISION or hub:OWNER/NAME@REVISION:SPLIT")
    return name, revision, split or "train"


def _read_hub(source: str, columns: set[str], problems: list[str]) -> tuple[list[Row], list[str]]:
    """Rows of one split of a data set of the hub, at a pinned revision."""
    import datasets

    try:
        name, revision, split = parse_hub(source)
        data = datasets.load_dataset(name, revision=revision, split=split)
    except InputError as error:
        problems.append(str(error))
        return [], []
    except Exception as error:  # the library raises what the network, the hub or the files give it
        reason = (str(error).splitlines() or [""])[0]
        problems.append(
            f"{source}: cannot be loaded from the hub: {type(error).__name__}: {reason}. Check the "
            f"name, the revision and the split, and log in (hf auth login) where it is gated"
        )
        return [], []
    names = list(data.column_names)
    used = data.select_columns([name for name in names if name in columns])  # others may be large
    rows = [Row(f"{source}: row {i}", _without_nulls(row)) for i, row in enumerate(used, start=1)]
    return rows, names


def _starts_with(path: Path, beginning: bytes) -> bool:
    with path.open("rb") as handle:
        return handle.read(len(beginning)) == beginning


def extension_of(path: Path) -> str:
    """The extension that tells the format: ".jsonl" of a.jsonl and of a.JSONL.gz, ".gz" of a.parquet.gz."""
    suffix = path.suffix.lower()
    inner = path.with_suffix("").suffix.lower()
    return inner if suffix == COMPRESSED and inner in (".jsonl", ".json", ".csv") else suffix


def _raw(source: str, path: Path, problems: list[str]) -> bytes | None:
    """The bytes of a text file, unpacked where it is compressed; None, and a problem, where that fails."""
    if path.suffix.lower() != COMPRESSED:
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            raw = file.read(MAX_BYTES + 1)  # a kilobyte can hold a gigabyte
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        problems.append(f"{source}: not a readable gzip file ({error})")
        return None
    if len(raw) > MAX_BYTES:
        problems.append(f"{source}: {_mib(len(raw)).replace('found', 'found more than')} decompressed")
        return None
    return raw


def _read_file(
    source: str, path: Path, columns: set[str], problems: list[str]
) -> tuple[list[Row], list[str]]:
    """Rows of a file of one of `EXTENSIONS`, and the names of its columns where the format keeps them."""
    readers = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv}
    try:
        if not path.is_file():
            problems.append(f"{source}: no such file (looked in {Path.cwd()})")
        elif path.stat().st_size > MAX_BYTES:
            problems.append(f"{source}: {_mib(path.stat().st_size)}")
        elif _starts_with(path, _LFS):
            problems.append(f"{source}: found a Git LFS pointer, expected the data (run git lfs pull there)")
        elif path.suffix.lower() == ".parquet":
            return _read_parquet(source, path, columns, problems)
        elif (raw := _raw(source, path, problems)) is not None:
            lines = raw.count(b"\n")
            if lines <= MAX_ROWS:
                return readers[extension_of(path)](source, raw, problems), []
            problems.append(f"{source}: found {lines:,} lines, expected at most {MAX_ROWS:,}")
    except OSError as error:
        problems.append(f"{source}: cannot be read: {error.strerror}")
    return [], []


def _has_columns(
    source: str, names: set[str], columns: set[str], choices: list[tuple[str, ...]], problems: list[str]
) -> bool:
    """Whether a file has one of the sets of columns; if not, one problem for the whole file."""
    if any(names.issuperset(choice) for choice in choices):
        return True
    wanted = ", or ".join(" and ".join(choice) for choice in choices)
    shown = ", ".join(map(shorten, sorted(names)[:_MAX_NAMES]))
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    almost = sorted(n for n in names - columns if n.strip().casefold() in columns)
    hint = f" ({shorten(almost[0])} is not {almost[0].strip().casefold()}: names are exact)" if almost else ""
    if len(names) == 1 and Path(source).suffix.lower() == ".csv" and re.search("[;\t|]", min(names)):
        hint = " (the cells of a CSV file are separated by commas)"
    problems.append(f"{source}: missing columns: found {shown or 'none'}{more}, expected {wanted}{hint}")
    return False


def read_rows(
    source: str, columns: set[str], problems: list[str], needed: list[tuple[str, ...]] | None = None
) -> list[Row]:
    """Read every row of a source; columns that the table has no use for are noted and left out.

    Args:
        source: a path, or `hub:OWNER/NAME@REVISION[:SPLIT]`.
        columns: names of the columns that are of use.
        problems: where faults are added, one line each.
        needed: columns that the file must have, or others; a problem, and no rows, where it has none of them.

    Returns:
        The rows that can be read, in the order of the file.
    """
    before = len(problems)
    found: list[Row] = []
    names: list[str] = []
    path = Path(source)
    extension = extension_of(path)
    if source.startswith("hub:"):
        found, names = _read_hub(source, columns, problems)
    elif extension not in EXTENSIONS:
        wanted = ", ".join(EXTENSIONS)
        problems.append(f"{source}: found the extension {extension!r}, expected one of {wanted}")
    else:
        found, names = _read_file(source, path, columns, problems)
    if not found and len(problems) == before:
        problems.append(f"{source}: found no rows, expected at least one")
    filled = {name for row in found for name in row.values}
    ignored = sorted({*names, *filled} - columns)
    if found and needed and not _has_columns(source, {*filled, *ignored}, columns, needed, problems):
        return []
    if ignored:
        print(f"{source}: columns that are not used: {', '.join(ignored)}")
    return [row._replace(values={k: v for k, v in row.values.items() if k in columns}) for row in found]
