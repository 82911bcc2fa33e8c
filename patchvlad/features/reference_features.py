"""Features that the reference extracted, read as a store without conversion, and written for tools that read them.

    FEATURES/globalfeats.npy                    (B, D) float32, a row per line of the image list
    FEATURES/patchfeats_psize<p>_<stem>.npy     (D, P) float32, a file per image and patch size, patches in raster order

An image's files go by its file name without folders and suffix, so two images of the same stem share them: such lists
are refused, in reading and writing.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import MismatchError, StoreError, counted
from ..files.arrays import read_array
from ..files.atomic import writing
from ..files.room import told
from ..model.grid import PatchGrid
from .description import Description
from .manifest import FeatureRecipe, Manifest
from .quantisation import dequantised
from .store import FeatureStore, is_store, names_digest

log = logging.getLogger(__name__)

GLOBAL = "globalfeats.npy"
STRIDE = 16  # pixels per cell of the reference's VGG16


def is_reference_features(path: str | os.PathLike) -> bool:
    """Whether a folder holds features that the reference extracted, and no store of ours."""
    return (Path(path) / GLOBAL).is_file() and not is_store(path)


class ReferenceFeatures(FeatureStore):
    """The reference's features, opened for reading as a store is; which model made them is not known.

    Args:
        folder: of the files.
        names: of the images, in the order of the list that they were extracted by.
        description: image size, patch sizes and patch strides that they were extracted with.

    Raises:
        StoreError: files are missing or are of other shapes, or two images have the same stem.
        MismatchError: there are more or fewer rows than names.
    """

    def __init__(self, folder: str | os.PathLike, names: Sequence[str], description: Description) -> None:
        self.folder = Path(folder)
        self._names = tuple(names)
        self._stems = stems_of(self._names, self.folder)
        self._global = _read(self.folder / GLOBAL)
        if self._global.ndim != 2 or len(self._global) != len(names):
            raise MismatchError(
                f"{self.folder / GLOBAL} is {self._global.shape}, and the list names {counted(len(names), 'image')}: "
                "give the list that these features were extracted by"
            )
        recipe = self._recipe(description)
        self.manifest = Manifest(
            recipe, len(names), names_digest(self._names), rows=len(names), preset="", dtype="float32"
        )

    def _recipe(self, description: Description) -> FeatureRecipe:
        size = description.size or (480, 640)
        height, width = size[0] // STRIDE, size[1] // STRIDE
        dim = self._global.shape[1]
        there = {
            int(found[1]) for path in self.folder.glob("patchfeats_psize*_*.npy") if (found := _SIZE.match(path.name))
        }
        grids = dict(zip(description.patch_sizes, description.patch_strides, strict=True)) if there else {}
        missing = [size for size in grids if size not in there]
        if missing:
            raise StoreError(
                f"{self.folder} holds patches of sizes {_listed(there)}, not of {_listed(missing)}: give the preset or "
                "config that they were extracted with"
            )
        for patch_size, step in grids.items():
            first = self._file(patch_size, 0) if self._names else None
            expected = (dim, len(PatchGrid(height, width, patch_size, step, STRIDE)))
            if first is not None and _read(first).shape != expected:
                raise StoreError(
                    f"{first} is {_read(first).shape}, but {size[1]} x {size[0]} pixels, patch size {patch_size} and "
                    f"patch stride {step} make {expected}: give the preset or config that it was extracted with"
                )
        absent = [
            path for size in grids for row in range(len(self._names)) if not (path := self._file(size, row)).is_file()
        ]
        if absent:
            raise StoreError(f"{absent[0]} and {len(absent) - 1} other files are missing: extract this list again")
        pooling = "patchnetvlad" if grids else "netvlad"
        pairs = tuple(grids.items())
        return FeatureRecipe("", "of the reference", size, pooling, pairs, (height, width), STRIDE, dim, dim)

    def _file(self, patch_size: int, row: int) -> Path:
        return self.folder / f"patchfeats_psize{patch_size}_{self._stems[row]}.npy"

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._names

    @cached_property
    def global_(self) -> np.ndarray:
        """(B, D) float32, memory-mapped."""
        return self._global if self._global.dtype == np.float32 else self._global.astype(np.float32)

    @cached_property
    def patches(self) -> "dict[int, _Patches]":  # type: ignore[override]
        """For each patch size the (P, D) of a row, whose file is read when it is asked for."""
        return {size: _Patches(self, size, (self.recipe.dim, len(grid))) for size, grid in self.grids.items()}


class _Patches:
    """Patch descriptors (P, D) by row."""

    def __init__(self, features: ReferenceFeatures, size: int, shape: tuple[int, int]) -> None:
        self.features, self.size, self.shape = features, size, shape

    def __getitem__(self, row: int) -> np.ndarray:
        path = self.features._file(self.size, row)
        array = _read(path)
        if array.shape != self.shape:
            raise StoreError(f"{path} is {array.shape}, not {self.shape}: extract it again")
        return np.ascontiguousarray(array.T, dtype=np.float32)


_SIZE = re.compile(r"patchfeats_psize(\d+)_")


def _listed(sizes: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(sizes))) or "none"


def _read(path: Path) -> np.ndarray:
    try:
        array = read_array(path, mapped=True)
    except ValueError as error:
        raise StoreError(f"{path} is missing or damaged ({error}): extract it again") from error
    if array.dtype.kind != "f":
        raise StoreError(f"{path} holds {array.dtype}: features are floating numbers")
    if array.size and not np.isfinite([array.min(), array.max()]).all():
        raise StoreError(f"{path} holds NaN or infinity: extract it again")
    return array


def stems_of(names: Sequence[str], folder: Path) -> list[str]:
    """File names without folders and suffix, by which the reference keeps features.

    Raises:
        StoreError: two images have the same.
    """
    stems = [PurePosixPath(name).stem for name in names]
    double = next((stem for stem, count in Counter(stems).items() if count > 1), None)
    if double is not None:
        first, second, *_ = (name for name, stem in zip(names, stems, strict=True) if stem == double)
        raise StoreError(
            f"{folder}: the reference's files go by file names, and {first} and {second} are both {double!r}: it would "
            "keep the features of one of them for both"
        )
    return stems


def write_reference_features(
    store: FeatureStore, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Writes a store's descriptors as the reference does; returns the paths.

    An old globalfeats.npy goes first and the new one comes last, so that the folder holds all of them or none.

    Args:
        store: whatever its dtype, float32 is written.
        folder: where the files go.
        progress: called after each image.

    Raises:
        StoreError: two images have the same stem.
    """
    stems = stems_of(store.names, folder)
    with told(folder):
        (folder / GLOBAL).unlink(missing_ok=True)
        for old in folder.glob("patchfeats_psize*_*.npy"):
            old.unlink()
    written = []
    for row, stem in enumerate(stems):
        for size, patches in store.descriptors(row).patches.items():
            written.append(folder / f"patchfeats_psize{size}_{stem}.npy")
            _save(written[-1], dequantised(patches).numpy().T)
        if progress:
            progress(row + 1, len(store))
    written.append(folder / GLOBAL)
    _save(written[-1], np.asarray(store.global_, dtype=np.float32))
    return written


def _save(path: Path, values: np.ndarray) -> None:
    with writing(path) as file:
        np.save(file, np.ascontiguousarray(values))
