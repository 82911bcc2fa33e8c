"""Reading JSON that may be damaged or hostile: whatever is wrong with it is a ValueError."""

import json
import os
from pathlib import Path
from typing import Any

from .regular import check_file

LARGEST = 1 << 28  # bytes of a JSON file: 256 MiB


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


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is no number that can be held")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one record")
    return found
