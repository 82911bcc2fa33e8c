"""The arrays of a store on disk: which files, of what shape, dtype and checksums.

    global.npy       (B, D) float32
    patches_<p>.npy  (B, P, D') in the store's dtype, one file per patch size
    sums.npy         (B, S) uint64: of each row the XXH3 of its part of each array, in blocks of at most 1 MiB, in the
                     order above; of the photo's file, 0 where it is not known; and of all these

A row is checked when it is first read, by itself, so that a search reads no byte more than it needs, and damage has the
name of a photo.
"""

import io
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..files.checksums import row_sums, sums_per_row
from .manifest import Manifest

GLOBAL, SUMS = "global.npy", "sums.npy"
PHOTO, OWN = -2, -1  # columns of the checksums: of the photo's file, and of all others


@dataclass(frozen=True)
class Layout:
    """One array file.

    Attributes:
        name: of the file.
        shape: (B, ...) of the array.
        dtype: of its numbers.
        sums: the columns of its rows' checksums.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    sums: slice

    @property
    def row_size(self) -> int:
        """Bytes."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @cached_property
    def header(self) -> bytes:
        """What the file begins with."""
        file = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_2_0(file, {"descr": descr, "fortran_order": False, "shape": self.shape})
        return file.getvalue()

    def size(self, rows: int) -> int:
        """Bytes of the file with so many rows."""
        return len(self.header) + rows * self.row_size


def layouts(manifest: Manifest) -> dict[str, Layout]:
    """The array files of a store by name, that of the checksums last, where there is one."""
    recipe = manifest.recipe
    shapes: dict[str, tuple[int, ...]] = {GLOBAL: (manifest.images, recipe.dim)}
    for size, grid in recipe.patch_grids().items():
        shapes[f"patches_{size}.npy"] = (manifest.images, len(grid), recipe.patch_dim)
    made, column = {}, 0
    for name, shape in shapes.items():
        dtype = np.dtype("float32" if name == GLOBAL else manifest.dtype)
        columns = sums_per_row(math.prod(shape[1:]) * dtype.itemsize)
        made[name] = Layout(name, shape, dtype, slice(column, column + columns))
        column += columns
    if manifest.summed:
        made[SUMS] = Layout(SUMS, (manifest.images, column + 2), np.dtype(np.uint64), slice(OWN, None))
    return made


def sums_of(parts: list[np.ndarray], photos: np.ndarray) -> np.ndarray:
    """The checksums of some rows (N, S), from their parts of each array (N, ...) and the sums of their photos (N)."""
    columns = [*(row_sums(part) for part in parts), photos.astype(np.uint64)[:, None]]
    return np.concatenate([*columns, row_sums(np.concatenate(columns, axis=1))], axis=1)
