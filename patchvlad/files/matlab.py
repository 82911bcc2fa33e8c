"""MATLAB 5 files (.mat): structures, cells, texts and numbers, read within their bytes; nothing else of the format.

scipy.io.loadmat reads more, and ends the process over some damaged files.

    file     128 bytes of header, then elements
    element  kind and size (4 bytes each, or 2 bytes each and contents of at most 4), contents, zeros up to 8 bytes
    matrix   an element of elements: flags, dimensions, name, and what its class holds
"""

import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .regular import check_file, size_of

LARGEST = 1 << 28  # bytes of a file, 256 MiB
UNPACKED = 1 << 30  # bytes that it may hold, 1 GiB
DEEPEST = 16  # cells in cells
HEADER = 128  # bytes
MATRIX, COMPRESSED, UTF8, UTF16, UTF32 = 14, 15, 16, 17, 18  # kinds of elements, besides
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CELL, STRUCTURE, TEXT, NUMERIC = 1, 2, 4, range(6, 16)  # classes of matrices
COMPLEX = 0x0800  # a flag


def read_variables(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a file.

    Returns:
        variables by name: of a structure (1 x 1) a dictionary, of a larger one a list of them; of a cell array a list,
        column by column; of a text a str, of several rows a list of them; of numbers an array of their shape; None of
        whatever else there is (objects, functions, sparse matrices, complex numbers).

    Raises:
        OSError: it cannot be read.
        ValueError: it is not of MATLAB 5, is damaged, or holds more than 1 GiB.
    """
    check_file(path, LARGEST)
    content = memoryview(Path(path).read_bytes())
    if bytes(content[:10]) == b"MATLAB 7.3":
        raise ValueError("it is of MATLAB 7.3, which is HDF5: save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:HEADER]))
    if order is None:
        raise ValueError("it is not a MATLAB 5 file")
    variables, left = {}, UNPACKED
    for kind, part in _elements(content[HEADER:], order):
        if kind == COMPRESSED:
            part = _unpacked(part, left)
            left -= len(part)
            kind, part = next(_elements(part, order), (0, part))
        if kind == MATRIX:
            name, value = _matrix(part, order)
            variables[name] = value
    return variables


def _unpacked(data: memoryview, most: int) -> memoryview:
    stream, waiting, parts, count = zlib.decompressobj(), bytes(data), [], 0
    try:
        while waiting and not stream.eof:
            parts.append(stream.decompress(waiting, 1 << 20))
            waiting = stream.unconsumed_tail
            count += len(parts[-1])
            if count > most:
                raise ValueError(f"it holds more than {size_of(UNPACKED)}")
    except zlib.error as error:
        raise ValueError(f"its compressed part is damaged ({error})") from error
    return memoryview(b"".join(parts))


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The kinds and contents of the elements that stand one behind the other."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if kind >> 16:  # a small one, whose contents stand in its head
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if start + size > len(data) or (start == at + 4 and size > 4):
            raise ValueError("it ends within an element, or is damaged")
        yield kind, data[start : start + size]
        at = start + size + (-(start + size - at) % 8 if kind != COMPRESSED else 0)


def _matrix(data: memoryview, order: str, depth: int = 0) -> tuple[str, Any]:
    """The name and the value of a matrix."""
    if depth > DEEPEST:
        raise ValueError("cells in cells without end")
    if not len(data):
        return "", np.empty((0, 0))
    elements = _elements(data, order)
    flags = _numbers(*_next(elements), order)
    dims = tuple(int(size) for size in _numbers(*_next(elements), order))
    name = bytes(_next(elements)[1]).decode("latin1")
    if not len(flags) or len(dims) < 2 or min(dims) < 0:
        raise ValueError("a matrix without a class or dimensions")
    kind, count = int(flags[0]) & 0xFF, math.prod(dims)
    if kind in NUMERIC and not int(flags[0]) & COMPLEX:
        numbers = _numbers(*_next(elements), order) if count else np.empty(0)
        if len(numbers) != count:
            raise ValueError(f"{len(numbers)} numbers in a matrix of {count}")
        return name, numbers.reshape(dims, order="F")
    if kind == TEXT:
        return name, _text(*_next(elements), order, dims[0], count) if count else ""
    if kind == CELL:
        return name, [_inner(elements, order, depth) for _ in range(_checked(count, data))]
    if kind == STRUCTURE:
        length = _numbers(*_next(elements), order)
        names, size = bytes(_next(elements)[1]), int(length[0]) if len(length) else 0
        if size < 1:
            raise ValueError("a structure whose fields have no names")
        fields = [names[start : start + size].split(b"\0")[0].decode("latin1") for start in range(0, len(names), size)]
        _checked(count * max(len(fields), 1), data)
        records = [{field: _inner(elements, order, depth) for field in fields} for _ in range(count)]
        return name, records[0] if count == 1 else records
    return name, None


def _next(elements: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    found = next(elements, None)
    if found is None:
        raise ValueError("a matrix that ends too soon")
    return found


def _checked(count: int, data: memoryview) -> int:
    """The number of inner matrices, of which each takes 8 bytes at the least."""
    if count > len(data) // 8:
        raise ValueError(f"a cell array of {count} cells in {size_of(len(data))}")
    return count


def _inner(elements: Iterator[tuple[int, memoryview]], order: str, depth: int) -> Any:
    kind, part = _next(elements)
    if kind != MATRIX:
        raise ValueError("a cell that is not a matrix")
    return _matrix(part, order, depth + 1)[1]


def _numbers(kind: int, data: memoryview, order: str) -> np.ndarray:
    """(n,) of an element's type."""
    if kind not in NUMBERS:
        raise ValueError(f"an element of kind {kind} where numbers should be")
    dtype = np.dtype(order + NUMBERS[kind])
    if len(data) % dtype.itemsize:
        raise ValueError("numbers that are cut off")
    return np.frombuffer(data, dtype=dtype)


def _text(kind: int, data: memoryview, order: str, rows: int, count: int) -> str | list[str]:
    """A text, or one per row, whose letters stand column by column."""
    ending = "le" if order == "<" else "be"
    codes = {UTF8: "utf-8", UTF16: f"utf-16-{ending}", UTF32: f"utf-32-{ending}", 4: f"utf-16-{ending}"}
    text = bytes(data).decode(codes.get(kind, "latin1"))
    if rows == 1:
        return text
    if len(text) != count:
        raise ValueError(f"{len(text)} letters in a text of {count}")
    return [text[row::rows] for row in range(rows)]
