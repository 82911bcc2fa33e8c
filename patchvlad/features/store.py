"""FeatureStore: the descriptors of many images in one folder, memory-mapped, each row checked when it is first read.

    STORE/manifest.json   format, model fingerprint, image size, grids, dtype, and how many rows are complete
    STORE/images.txt      names relative to the root, one per line: row i everywhere
    STORE/photos.txt      where the photos lay, relative to the store, for repairs
    STORE/global.npy, patches_<p>.npy, sums.npy: see `layout`

What is mapped is never written again: a complete store is replaced whole (`store_writing`), and whoever reads the old
one keeps it.
"""

import functools
import hashlib
import logging
import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ..errors import MismatchError, StoreError
from ..files.atomic import COMPLETE, MOVING, finish_set
from ..files.checksums import row_sums
from ..files.regular import check_regular
from ..model.grid import PatchGrid
from ..model.network import Descriptors
from .layout import GLOBAL, OWN, PHOTO, SUMS, layouts
from .manifest import MANIFEST, FeatureRecipe, Manifest
from .quantisation import compacted
from .rows import Rows, map_rows, photos_said

log = logging.getLogger(__name__)

IMAGES, PHOTOS = "images.txt", "photos.txt"
OWNED = (MANIFEST, IMAGES, PHOTOS, GLOBAL, SUMS, "patches_*.npy")  # a store's files: together they are replaced
LONGEST_NAME = 1 << 14  # bytes
_ATTEMPTS = 100  # to open a store that is being replaced


class FeatureStore:
    """A complete store, opened for reading. Rows are images, in the order of `names`.

    All files are opened at once, so that what is read is one store, also where another takes its place meanwhile.

    Raises:
        StoreError: there is no store, or it is incomplete or damaged. Rows are checked when they are first read.
    """

    _sums: np.ndarray | None = None

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        for attempt in range(_ATTEMPTS):
            finish_store(self.folder)
            before = _version(self.folder)
            try:
                self._open()
            except StoreError:
                if before == _version(self.folder) or attempt == _ATTEMPTS - 1:
                    raise
            else:
                if before == _version(self.folder):
                    break

    def _open(self) -> None:
        self.manifest = Manifest.read(self.folder)
        if self.manifest.rows < self.manifest.images:
            raise StoreError(
                f"{self.folder} is incomplete ({self.manifest.rows} of {self.manifest.images} images): "
                "run the same 'patchvlad extract' again, it goes on where it stopped"
            )
        parts = layouts(self.manifest)
        mapped = {name: map_rows(self.folder / name, layout) for name, layout in parts.items()}
        self._names = read_names(self.folder, self.manifest)
        sums = self._sums = mapped.pop(SUMS, None)
        self._arrays = {
            name: Rows(self.folder / name, array, None if sums is None else sums[:, parts[name].sums], self._names)
            for name, array in mapped.items()
        }

    def __len__(self) -> int:
        return self.manifest.images

    @property
    def recipe(self) -> FeatureRecipe:
        return self.manifest.recipe

    @property
    def unreadable(self) -> tuple[int, ...]:
        """Rows of photos that could not be read."""
        return self.manifest.unreadable

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    @property
    def photo_sums(self) -> np.ndarray | None:
        """(B,) uint64 checksums of the photos' files, 0 where one is not known; None in stores without checksums.

        Raises:
            StoreError: they are damaged.
        """
        if self._sums is None:
            return None
        wrong = np.flatnonzero((row_sums(self._sums[:, :OWN]) != self._sums[:, OWN:]).any(axis=1))
        if len(wrong):
            raise StoreError(
                f"{self.folder / SUMS} is not what was written for {photos_said(wrong, self._names)}: mend it with "
                f"'patchvlad verify {self.folder} --repair', or extract again with --overwrite"
            )
        return np.asarray(self._sums[:, PHOTO])

    @property
    def photos_root(self) -> Path | None:
        """The folder that the photos lay below, if the store says so."""
        try:
            root = (self.folder / PHOTOS).read_text(encoding="utf-8").strip("\n")
        except (OSError, UnicodeDecodeError):
            return None
        return self.folder / root if root else None

    @cached_property
    def grids(self) -> dict[int, PatchGrid]:
        return self.recipe.patch_grids()

    @property
    def global_(self) -> Rows | np.ndarray:
        """(B, D) float32, memory-mapped: a row is checked when it is first read."""
        return self._arrays[GLOBAL]

    @cached_property
    def patches(self) -> dict[int, Rows]:
        """For each patch size (B, P, D'), memory-mapped: a row is checked when it is first read."""
        return {size: self._arrays[f"patches_{size}.npy"] for size in self.grids}

    def descriptors(self, row: int) -> Descriptors:
        """The descriptors of one image, patches in the dtype they are stored in, read when they are looked at."""
        _accept_read_only_memory()
        patches = {size: torch.from_numpy(array[row]) for size, array in self.patches.items()}
        return Descriptors(torch.from_numpy(self.global_[row]), patches, self.grids)

    def compact_descriptors(self, row: int, components: int) -> Descriptors:
        """The same with patches of at most so many leading components, as int8, whatever they are stored as."""
        whole = self.descriptors(row)
        patches = {size: compacted(values, components) for size, values in whole.patches.items()}
        return Descriptors(whole.global_, patches, self.grids)

    def check_matches(self, other: "FeatureStore") -> None:
        """Raises MismatchError unless both stores were made in the same way."""
        differences = self.recipe.differences(other.recipe)
        if bool(self.recipe.fingerprint) != bool(other.recipe.fingerprint):
            log.warning(
                "%s and %s: the reference does not say which model made its features, so it is not checked that both "
                "are of the same",
                *(self.folder, other.folder),
            )
        for store, newer in ((self, other), (other, self)):
            if store.manifest.deep is None and newer.manifest.deep:
                raise MismatchError(
                    f"{store.folder} was made by patchvlad 0.1.0 or the reference, which scaled photos of more than 8 "
                    f"bits otherwise than {newer.folder}, which holds {newer.manifest.deep}: extract again"
                )
        if differences:
            raise MismatchError(
                f"{self.folder} and {other.folder} do not belong together: {'; '.join(differences)}. "
                "Extract both with the same model and preset"
            )


@functools.cache
def _accept_read_only_memory() -> None:
    """Has PyTorch give its one warning about read-only memory here, unheard: nobody writes into descriptors."""
    read_only = np.zeros(1)
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(read_only)


def names_digest(names: Sequence[str]) -> str:
    """Fingerprint of an image list."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def read_names(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Reads images.txt.

    Raises:
        StoreError: it is missing, damaged or of other images.
    """
    path = folder / IMAGES
    try:
        check_regular(path, manifest.images * LONGEST_NAME)
        names = tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): {_REMEDY.format(folder)}") from error
    if names_digest(names) != manifest.images_sha256:
        raise StoreError(f"{path} is damaged or was edited: {_REMEDY.format(folder)}")
    return names


_REMEDY = "extract again, or mend it with 'patchvlad verify {} --repair'"


def is_store(path: str | os.PathLike) -> bool:
    """Whether a path is a feature store, complete or not, rather than photos."""
    return any((Path(path) / place / MANIFEST).is_file() for place in ("", COMPLETE, MOVING))


def finish_store(folder: Path) -> None:
    """Brings a store whose writer died when it took the place of another to its end."""
    if is_store(folder):
        finish_set(folder, OWNED)


def _version(folder: Path) -> tuple:
    """Another one after, and during, each replacement of a store."""
    try:
        status = os.stat(folder / MANIFEST)
        found: tuple = (status.st_dev, status.st_ino, status.st_mtime_ns)
    except OSError:
        found = ()
    return *found, (folder / COMPLETE).exists(), (folder / MOVING).exists()
