"""Headers of .npy: shape, order and dtype, compared with the file's size before any room is made."""

import math
import os
import tokenize
import warnings
from dataclasses import dataclass
from typing import IO

import numpy as np

from .regular import size_of

KINDS = "biufcSUM"  # of dtypes that are read: numbers, texts and dates


@dataclass(frozen=True)
class Header:
    """What the header of an .npy says.

    Attributes:
        shape: of the array.
        dtype: of its numbers.
        size: bytes that they have.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    size: int


def read_header(file: IO[bytes]) -> Header:
    """Reads the header of an .npy, whose numbers come next.

    Raises:
        ValueError: it is none, or of Python objects, records, or numbers without bytes.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"version {version[0]}.{version[1]} of the format")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, _, dtype = _READERS[version](file)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError, EOFError) as error:
        reason = str(error).split("\n")[0].split(". To allow")[0]
        raise ValueError(f"its header cannot be read: {reason[:120] or type(error).__name__}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects instead of numbers: save it as an array of numbers")
    if dtype.kind not in KINDS or not dtype.itemsize or any(not 0 <= length < 2**48 for length in shape):
        raise ValueError(f"its header says {str(dtype)[:80]} {str(shape)[:80]}")
    return Header(shape, dtype, math.prod(shape) * dtype.itemsize)


_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_header(path: str | os.PathLike, size: int) -> Header:
    """Reads the header of an .npy of so many bytes, and compares it with them.

    Raises:
        ValueError: as of `read_header`, or the header says another size.
    """
    with open(path, "rb") as file:
        found = read_header(file)
        held = size - file.tell()
    if held != found.size:
        raise ValueError(f"its header says {size_of(found.size)} of numbers, and {size_of(held)} are there")
    return found
