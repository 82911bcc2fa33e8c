"""Reading .npz archives that others wrote: numbers and texts, no pickles, no more memory than the file accounts for."""

import math
import os
import warnings
import zipfile
from collections.abc import Collection
from typing import IO

import numpy as np

from .arrays import DAMAGE
from .regular import check_file, size_of

LARGEST = 1 << 32  # bytes of one array, 4 GiB: larger ones are memory-mapped .npy
SHRUNK = 1032  # times that deflate makes a file smaller at most
HEADER = 1 << 16  # bytes of a header at most, and what a tiny file may grow by


def read_archive(path: str | os.PathLike, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Reads some arrays of an .npz.

    Args:
        path: the file.
        wanted: names of the arrays; those that are not there are left out.

    Returns:
        the arrays by name, and the names of all that there are.

    Raises:
        ValueError: it is no archive of arrays, it is damaged, or an array is of Python objects, of another size than
            its header says, or too large.
    """
    try:
        check_file(path)
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            inside = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            found = {name: _array(archive, inside[name]) for name in wanted if name in inside}
            return found, tuple(inside)
    except DAMAGE as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    most = min(LARGEST, SHRUNK * info.compress_size + HEADER)
    if info.file_size > most:
        raise ValueError(f"{info.filename} says that it has {size_of(info.file_size)}, more than can be")
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file, info.filename)
        size = math.prod(shape) * dtype.itemsize
        if size != info.file_size - file.tell():
            raise ValueError(
                f"{info.filename} holds {size_of(info.file_size - file.tell())}, and its header says {size_of(size)}"
            )
        content = file.read(size + 1)  # to the end, where the checksum is compared
    if len(content) != size:
        raise ValueError(f"{info.filename} ends early")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has version {version} of the format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects instead of numbers: save it as an array of numbers")
    if any(size < 0 for size in shape) or not dtype.itemsize:
        raise ValueError(f"{name} has the shape {shape}")
    return shape, fortran, dtype
