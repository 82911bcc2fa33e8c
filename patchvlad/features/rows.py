"""The rows of a store's array: memory-mapped, and each checked when it is first read."""

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import StoreError, counted
from ..files.arrays import DAMAGE
from ..files.checksums import row_sums
from ..files.regular import check_regular
from .layout import Layout

SHOWN = 3  # photos that a message names


class Rows:
    """An array on disk (B, ...) that is read by rows; `numpy.asarray` of it reads, and checks, all.

    Rows without checksums, of stores of 0.1.0, are checked for what no descriptor holds, NaN and infinity.

    Args:
        path: of the file.
        mapped: what it holds.
        sums: (B, S) uint64, their checksums; None where there are none.
        names: (B) of the photos.

    Attributes:
        shape, dtype, ndim, nbytes: of the array.
    """

    def __init__(self, path: Path, mapped: np.ndarray, sums: np.ndarray | None, names: Sequence[str]) -> None:
        self.path, self.shape, self.dtype, self.ndim = path, mapped.shape, mapped.dtype, mapped.ndim
        self.nbytes = mapped.nbytes
        self._mapped, self._sums, self._names = mapped, sums, names
        self._right = np.zeros(len(mapped), dtype=bool)  # rows that were checked; several threads may do so at once

    def __len__(self) -> int:
        return len(self._mapped)

    def __getitem__(self, key: Any) -> np.ndarray:
        first = key[0] if isinstance(key, tuple) and key else key
        if not np.all(self._right[first]):
            self._check(np.atleast_1d(np.arange(len(self))[first]).ravel())
        return self._mapped[key]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        self._check(np.arange(len(self)))
        return np.array(self._mapped, dtype=dtype, copy=copy)

    def _check(self, rows: np.ndarray) -> None:
        """Raises StoreError unless all of these rows are as they were written."""
        rows = rows[~self._right[rows]]
        wrong = rows[~self.intact(rows)]
        if len(wrong):
            what = "is not what was written" if self._sums is not None else "holds NaN or infinity"
            raise StoreError(
                f"{self.path} {what} for {photos_said(wrong, self._names)}: mend it with "
                f"'patchvlad verify {self.path.parent} --repair', or extract again with --overwrite"
            )
        self._right[rows] = True

    def intact(self, rows: np.ndarray) -> np.ndarray:
        """Of ascending rows (N) whether each is as it was written, (N) bool."""
        if not len(rows):
            return np.ones(0, dtype=bool)
        whole = rows[-1] - rows[0] + 1 == len(rows)
        parts = [slice(rows[0], rows[-1] + 1)] if whole else [slice(row, row + 1) for row in rows]
        if self._sums is not None:
            return np.concatenate([(row_sums(self._mapped[part]) == self._sums[part]).all(axis=1) for part in parts])
        if self.dtype.kind != "f" or all(finite(self._mapped[part]) for part in parts):
            return np.ones(len(rows), dtype=bool)
        return np.array([finite(self._mapped[row]) for row in rows])


def finite(values: np.ndarray) -> bool:
    """Whether numbers are neither NaN nor infinite, nor so large that their squares are."""
    if values.dtype == np.float16:
        return bool(np.isfinite(values).all())
    flat = np.asarray(values).reshape(-1)
    return math.isfinite(np.vdot(flat, flat))  # at the speed of memory


def photos_said(rows: np.ndarray, names: Sequence[str]) -> str:
    """The photos of some rows, in words: the first of them, and how many more there are."""
    first = ", ".join(names[row] for row in rows[:SHOWN])
    return first if len(rows) <= SHOWN else f"{first} and {counted(len(rows) - SHOWN, 'other photo')}"


def map_rows(path: Path, layout: Layout) -> np.ndarray:
    """Maps an array file, whole and of that layout, into memory.

    Raises:
        StoreError: it is missing or another.
    """
    try:
        size, expected = check_regular(path), layout.size(layout.shape[0])
        with open(path, "rb") as file:
            check_header(file, layout)
            if size != expected:
                raise ValueError(f"{size} bytes instead of {expected}")
            if size == len(layout.header):
                return np.zeros(layout.shape, layout.dtype)
            return np.memmap(file, layout.dtype, "r", len(layout.header), layout.shape)
    except DAMAGE as error:
        said = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:200]
        raise StoreError(
            f"{path} is missing or damaged ({said or type(error).__name__}): mend it with "
            f"'patchvlad verify {path.parent} --repair', or extract again with --overwrite"
        ) from error


def check_header(file: IO[bytes] | io.FileIO, layout: Layout) -> None:
    """Reads the header of an .npy file.

    Raises:
        ValueError: it says something else than the layout, or is none (and whatever else NumPy raises).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that look as if Python 2 had written them
        version = np.lib.format.read_magic(file)
        if version != (2, 0):
            raise ValueError(f"version {version} of the format")
        found = np.lib.format.read_array_header_2_0(file)
    if found != (layout.shape, False, layout.dtype) or file.tell() != len(layout.header):
        order = " in columns" if found[1] else ""
        raise ValueError(f"{found[2]} {found[0]}{order} instead of {layout.dtype} {layout.shape}")
