"""Tables that others wrote: csv files as lists of rows, with commas, semicolons or tabs between fields."""

import codecs
import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import GroundTruthError, counted
from .regular import check_file

Row = dict[str, str]
Aliases = Mapping[str, Sequence[str]]  # for names of columns that are used here, others, the preferred ones first
LARGEST = 1 << 30  # bytes of a table, 1 GiB: some ten million rows
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL = re.compile(r"[-+]?\d+,\d+")


def read_table(path: Path, needed: Sequence[str], aliases: Aliases | None = None) -> list[Row]:
    """Reads the lines of a csv as dictionaries of stripped text.

    Args:
        path: the file.
        needed: columns that must be there.
        aliases: for names of columns that are used here, other names of the same; needed ones keep their names.

    Returns:
        one dictionary per line; the names of columns are in small letters.

    Raises:
        GroundTruthError: it cannot be read, lacks a column or has it twice, or a line has more fields than there are
            columns.
    """
    with _opened(path, needed, aliases or {}) as (reader, columns, delimiter):
        rows, many = [], len(columns)
        for fields in reader:
            if len(fields) < many:
                if not fields:
                    continue
                fields += [""] * (many - len(fields))
            elif len(fields) > many and any(field.strip() for field in fields[many:]):
                raise GroundTruthError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields for {counted(many, 'column')}; a field with "
                    f"a {DELIMITERS[delimiter]} in it must be quoted"
                )
            if delimiter != ",":  # where a comma may be that of a decimal fraction
                fields = [field.replace(",", ".") if _DECIMAL.fullmatch(field.strip()) else field for field in fields]
            rows.append(dict(zip(columns, map(str.strip, fields), strict=False)))
        return rows


def columns_of(path: Path, aliases: Aliases | None = None) -> list[str]:
    """The names of a table's columns, and no more is read.

    Raises:
        GroundTruthError: it cannot be read.
    """
    with _opened(path, (), aliases or {}) as (_, columns, _):
        return columns


@contextmanager
def _opened(path: Path, needed: Sequence[str], aliases: Aliases) -> Iterator[tuple[Any, list[str], str]]:
    """The `csv.reader` of a table behind its first line, its columns, and what stands between fields."""
    try:
        check_file(path, LARGEST)
        with open(path, "rb") as start:
            encoding = "utf-16" if start.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        with open(path, newline="", encoding=encoding) as file:
            first = file.readline()
            told = re.fullmatch(r"sep=([,;\t])\s*", first)  # as spreadsheets write it
            delimiter = told[1] if told else max(DELIMITERS, key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            if told:
                next(reader)
            columns = _columns([name.strip().lower() for name in next(reader, [])], needed, aliases)
            _check(path, columns, needed)
            yield reader, columns, delimiter
    except IsADirectoryError as error:
        raise GroundTruthError(f"{path} is a folder: give a csv") from error
    except (OSError, UnicodeError, csv.Error) as error:
        raise GroundTruthError(f"{path} cannot be read as a csv ({error})") from error


def _columns(said: list[str], needed: Sequence[str], aliases: Aliases) -> list[str]:
    """Names of columns, the preferred one of others by the name that is used here."""
    meant = dict(zip(said, said, strict=True))
    for ours, others in aliases.items():
        found = next((name for name in others if name in meant and name not in needed), None)
        if ours not in meant and found is not None:
            meant[found] = ours
    return [meant[name] for name in said]


def _check(path: Path, columns: list[str], needed: Sequence[str]) -> None:
    absent = [name for name in needed if name not in columns]
    if absent:
        raise GroundTruthError(f"{path} has no column {', '.join(absent)}; it has {', '.join(columns) or 'none'}")
    twice = [name for row, name in enumerate(columns) if name and name in columns[:row]]
    if twice:
        raise GroundTruthError(f"{path} has two columns {twice[0]}: leave one out")


def to_number(row: Row, column: str) -> float:
    """The number in a column; NaN where there is nothing, or no number: who uses it names the photo at hand."""
    text = row.get(column, "")
    try:
        return math.nan if "_" in text else float(text)  # Python takes 1_000 for a number
    except ValueError:
        return math.nan
