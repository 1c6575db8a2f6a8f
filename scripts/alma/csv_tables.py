"""Read and write the CSV tables of the workflow; `alma.csv_schemas` declares each of them."""

import contextlib
import csv
import math
import typing
from pathlib import Path
from typing import Any

from alma.csv_schemas import CSV_TABLES
from alma.errors import InputError, shorten
from alma.files import atomic_path

_WORDS = {int: "a whole number", float: "a finite number", str: "text"}


def rounded(value: float | None) -> float | None:
    """Value with six significant digits (enough for any reader), None for None, NaN and infinities."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def _types(declared: Any) -> tuple[type, bool]:
    """A column's type, and whether it may be empty."""
    kinds = typing.get_args(declared) or (declared,)
    return kinds[0], type(None) in kinds


def _cell(value: Any, declared: Any) -> Any:
    """A value as it goes into a cell of a column; ValueError where it does not fit."""
    kind, nullable = _types(declared)
    if kind is float and isinstance(value, float | int) and not isinstance(value, bool):
        value = rounded(float(value))
    if value is None and nullable:
        return None
    if type(value) is not kind:
        raise ValueError(f"found {shorten(value)}, expected {_WORDS[kind]}{' or nothing' * nullable}")
    return value


def _value(cell: str, declared: Any) -> Any:
    """The value in a cell of a column; ValueError where the cell holds something else."""
    kind, nullable = _types(declared)
    if kind is str:
        return cell
    if cell == "" and nullable:
        return None
    with contextlib.suppress(ValueError):
        value = int(cell) if kind is int else float(cell)
        if math.isfinite(value):
            return value
    raise ValueError(f"found {shorten(cell)}, expected {_WORDS[kind]}{' or nothing' * nullable}")


def write_csv_table(path: str | Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows as the CSV table `CSV_TABLES[name]`, atomically, columns in the declared order.

    Floats get six significant digits; None and NaN become an empty cell where the column allows it.

    Raises:
        ValueError: a row has other columns or another type (an error in the program).
    """
    columns = CSV_TABLES[name].columns
    lines = []
    for number, row in enumerate(rows, start=1):
        if set(row) != set(columns):
            raise ValueError(f"row {number} of {name} has columns {sorted(row)}, expected {sorted(columns)}")
        line = []
        for key, (kind, _) in columns.items():
            try:
                line.append(_cell(row[key], kind))
            except ValueError as error:
                raise ValueError(f"row {number} of {name}, {key}: {error}") from None
        lines.append(line)
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)


def read_csv_table(path: str | Path, name: str) -> list[dict[str, Any]]:
    """Rows of a CSV table that `write_csv_table` wrote: int, float, str, or None for an empty cell.

    Raises:
        InputError: the file is damaged or has other columns; the message says how to rebuild it.
    """
    columns = CSV_TABLES[name].columns
    again = "\n  Delete it and run the same command again."
    csv.field_size_limit(2**31 - 1)  # a cell may hold a long response
    try:
        with Path(path).open(newline="", encoding="utf-8") as handle:
            header, *lines = csv.reader(handle)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV table ({error}).{again}") from error
    if header != list(columns):
        raise InputError(f"{path}: found columns {header}, expected {list(columns)}.{again}")
    rows = []
    for number, line in enumerate(lines, start=1):
        if len(line) != len(columns):
            raise InputError(
                f"{path}: row {number}: found {len(line)} cells, expected {len(columns)}.{again}"
            )
        row = {}
        for cell, (key, (kind, _)) in zip(line, columns.items(), strict=True):
            try:
                row[key] = _value(cell, kind)
            except ValueError as error:
                raise InputError(f"{path}: row {number}, {key}: {error}.{again}") from None
        rows.append(row)
    return rows
