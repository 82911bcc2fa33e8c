"""Tables that others wrote: csv files as lists of rows."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import GroundTruthError

Row = dict[str, str]


def read_table(path: Path, needed: Sequence[str], aliases: Mapping[str, str] | None = None) -> list[Row]:
    """Reads the lines of a csv as dictionaries of stripped text.

    Args:
        path: the file.
        needed: columns that must be there.
        aliases: for other names of columns those that are used here.

    Returns:
        one dictionary per line; the names of columns are in small letters.

    Raises:
        GroundTruthError: it cannot be read, lacks a column, or a line has more fields than there are columns.
    """
    aliases = aliases or {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = [aliases.get(name, name) for name in (name.strip().lower() for name in next(reader, []))]
            absent = [name for name in needed if name not in columns]
            if absent:
                hint = ": fields must be separated by commas" if len(columns) == 1 and ";" in columns[0] else ""
                raise GroundTruthError(
                    f"{path} has no column {', '.join(absent)}; it has {', '.join(columns) or 'none'}{hint}"
                )
            rows = []
            for fields in reader:
                if len(fields) > len(columns) and any(field.strip() for field in fields[len(columns) :]):
                    raise GroundTruthError(
                        f"{path}, line {reader.line_num}: {len(fields)} fields for {len(columns)} columns; a field "
                        "with a comma in it must be quoted"
                    )
                if fields:
                    padded = fields + [""] * (len(columns) - len(fields))
                    rows.append({name: field.strip() for name, field in zip(columns, padded, strict=False)})
            return rows
    except IsADirectoryError as error:
        raise GroundTruthError(f"{path} is a folder: give a csv") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GroundTruthError(f"{path} cannot be read as a csv ({error})") from error


def to_number(row: Row, column: str) -> float:
    """The number in a column; NaN where there is nothing, or no number: who uses it names the photo at hand."""
    try:
        return float(row[column])
    except (KeyError, ValueError):
        return math.nan
