"""Reading JSON that may be damaged or hostile: whatever is wrong with it is a ValueError."""

import json
import os
import types
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from .regular import check_file

LARGEST = 1 << 28  # bytes of a JSON file: 256 MiB
SAID = 50  # characters of a value that a message repeats


def read_json(path: str | os.PathLike, most: int = LARGEST) -> Any:
    """What a JSON file in UTF-8 holds.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: there is no such file, or it is none to be read, see `check_file`.
        ValueError: it is not JSON, or not such as we write.
    """
    check_file(path, most)
    return parse_json(Path(path).read_bytes())


def parse_json(text: str | bytes) -> Any:
    """What JSON text, or bytes in UTF-8, says.

    Raises:
        ValueError: it is not JSON, says NaN or infinity, or says a name twice.
    """
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            parse_constant=_refuse,
            parse_float=_finite,
            object_pairs_hook=_once,
        )
    except RecursionError as error:
        raise ValueError("brackets in brackets without end") from error


def to_record(kind: Any, values: Any) -> Any:
    """A dataclass of what JSON says, each value of its field's type, and lists as tuples.

    Raises:
        TypeError, ValueError: a value is of another type, or there are fields that it does not know.
    """
    kinds, known = typing.get_type_hints(kind), {one.name for one in fields(kind)}
    if not isinstance(values, dict) or not values.keys() <= known:
        unknown = ", ".join(sorted({*values} - known))[:SAID] if isinstance(values, dict) else "no record"
        raise TypeError(f"{kind.__name__}: {unknown}")
    return kind(**{name: _of_kind(kinds[name], value, name) for name, value in values.items()})


def _of_kind(kind: Any, value: Any, name: str) -> Any:
    """What JSON says, as that type."""
    parts = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return None if value is None else _of_kind(parts[0], value, name)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        each = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(_of_kind(one, part, name) for one, part in zip(each, value, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if is_dataclass(kind):
        return to_record(kind, value)
    if type(value) is not (typing.get_origin(kind) or kind):
        raise TypeError(f"{name} is {str(value)[:SAID]!r}")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is not a number that can be held")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one record")
    return found
