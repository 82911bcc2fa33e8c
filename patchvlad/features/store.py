"""FeatureStore: the descriptors of many images in one folder, written in order, resumable, read by memory map.

    STORE/manifest.json   format, model fingerprint, image size, grids, dtype, and how many rows are complete
    STORE/images.txt      names relative to the root, one per line: row i everywhere
    STORE/global.npy      (B, D) float32
    STORE/patches_<p>.npy (B, P, D') in the store's dtype, one file a patch size; int8 as `quantisation` says

Rows are appended to the arrays and flushed to disk before the manifest counts them, and the manifest is replaced whole:
whatever moment the writer dies in, a reader sees whole images only, and the next writer cuts off the rest and goes on.
"""

import contextlib
import functools
import hashlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from filelock import FileLock, Timeout

from ..errors import MismatchError, StoreError, counted
from ..files.arrays import read_array
from ..files.atomic import write_text
from ..model.grid import PatchGrid
from ..model.network import Descriptors
from .manifest import MANIFEST, FeatureRecipe, Manifest
from .quantisation import compacted, quantise
from .registry import STORE_DTYPES

log = logging.getLogger(__name__)

IMAGES = "images.txt"
_BESIDE = re.compile(r"globalfeats\.npy|patchfeats_psize\d+_.*\.npy")  # what a store may stand beside


class FeatureStore:
    """A complete store, opened for reading. Rows are images, in the order of `names`."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder)
        if self.manifest.rows < self.manifest.images:
            raise StoreError(
                f"{self.folder} is incomplete ({self.manifest.rows} of {self.manifest.images} images): "
                "run the same 'patchvlad extract' again, it goes on where it stopped"
            )
        if names_digest(self.names) != self.manifest.images_sha256:
            raise StoreError(f"{self.folder / IMAGES} is damaged or was edited: extract again")

    def __len__(self) -> int:
        return self.manifest.images

    @property
    def recipe(self) -> FeatureRecipe:
        return self.manifest.recipe

    @property
    def unreadable(self) -> tuple[int, ...]:
        """Rows of photos that could not be read."""
        return self.manifest.unreadable

    @cached_property
    def names(self) -> tuple[str, ...]:
        return read_names(self.folder)

    @cached_property
    def grids(self) -> dict[int, PatchGrid]:
        return self.recipe.patch_grids()

    @cached_property
    def global_(self) -> np.ndarray:
        """(B, D) float32, memory-mapped."""
        return self._array("global.npy", (len(self), self.recipe.dim))

    @cached_property
    def patches(self) -> dict[int, np.ndarray]:
        """For each patch size (B, P, D'), memory-mapped."""
        return {
            size: self._array(f"patches_{size}.npy", (len(self), len(grid), self.recipe.patch_dim))
            for size, grid in self.grids.items()
        }

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
        if differences:
            raise MismatchError(
                f"{self.folder} and {other.folder} do not belong together: {'; '.join(differences)}. "
                "Extract both with the same model and preset"
            )

    def _array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        path = self.folder / name
        try:
            array = read_array(path, mapped=True)
        except ValueError as error:
            raise StoreError(f"{path} is missing or damaged ({error}): extract again") from error
        if array.shape != shape:
            raise StoreError(f"{path} has shape {array.shape} where the manifest says {shape}: extract again")
        return array


class StoreWriter:
    """Appends rows to a store; use `open_writer`."""

    def __init__(self, folder: Path, manifest: Manifest, identity: Callable[[int], bytes] | None = None) -> None:
        self._identity = identity
        self.folder = folder
        self.manifest = manifest
        shapes: dict[str, tuple[int, ...]] = {"global.npy": (manifest.recipe.dim,)}
        for size, grid in manifest.recipe.patch_grids().items():
            shapes[f"patches_{size}.npy"] = (len(grid), manifest.recipe.patch_dim)
        dtypes = {name: "float32" if name == "global.npy" else manifest.dtype for name in shapes}
        self._dtypes, self._shapes = dtypes, shapes
        with contextlib.ExitStack() as opened:  # one that cannot be opened closes the others
            self._files = {
                name: opened.enter_context(
                    _open_rows(folder / name, (manifest.images, *shape), np.dtype(dtypes[name]), manifest.rows)
                )
                for name, shape in shapes.items()
            }
            self.close = opened.pop_all().close

    def append(self, global_: np.ndarray, patches: dict[int, np.ndarray], unreadable: Sequence[int] = ()) -> None:
        """Appends N rows: (N, D), for each patch size (N, P, D') floats; `unreadable` are rows of the store."""
        arrays = {"global.npy": global_, **{f"patches_{size}.npy": array for size, array in patches.items()}}
        for name, file in self._files.items():
            values = arrays[name]
            assert values.shape[1:] == self._shapes[name], f"{name}: rows of {values.shape[1:]}"
            if self._dtypes[name] == "int8":
                values = quantise(torch.from_numpy(values)).numpy()
            file.write(np.ascontiguousarray(values, dtype=self._dtypes[name]).data)
            file.flush()
            os.fsync(file.fileno())
        rows = range(self.manifest.rows, self.manifest.rows + len(global_))
        changed = {
            **self.manifest.__dict__,
            "rows": rows.stop,
            "photos_sha256": _photos_digest(self.manifest.photos_sha256, self._identity, rows),
            "unreadable": (*self.manifest.unreadable, *unreadable),
        }
        self.manifest = Manifest(**changed)
        self.manifest.write(self.folder)


@contextlib.contextmanager
def open_writer(
    folder: str | os.PathLike,
    recipe: FeatureRecipe,
    names: Sequence[str],
    dtype: str = "float32",
    preset: str = "",
    overwrite: bool = False,
    precision: str = "float32",
    identity: Callable[[int], bytes] | None = None,
) -> Iterator[StoreWriter]:
    """Creates a store or goes on with an unfinished one; a complete one is opened with nothing left to append.

    Args:
        folder: of the store.
        recipe: how its features are made.
        names: (N) of the images.
        dtype: of patch descriptors.
        preset: name kept in the manifest, for messages.
        overwrite: start anew, whatever store the folder holds.
        precision: that the network multiplies in.
        identity: of a row's photo (`ImageList.identity`), by which other photos of the same names are told apart.

    Raises:
        MismatchError: the folder holds a store made from other photos or by other settings.
        StoreError: another process is writing it, the folder holds something else, or a name is not one line.
    """
    folder = Path(folder)
    _check_names(names)
    if dtype not in STORE_DTYPES:
        raise StoreError(f"unknown store dtype {dtype!r}: choose from {', '.join(STORE_DTYPES)}")
    if not is_store(folder) and _foreign(folder):
        raise StoreError(f"{folder} exists and is not a feature store: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{folder} is being written by another process: wait for it or choose another folder"
        ) from error
    try:
        manifest = Manifest(recipe, len(names), names_digest(names), dtype=dtype, precision=precision, preset=preset)
        if is_store(folder) and not overwrite:
            manifest = _same(folder, Manifest.read(folder), manifest, names, identity)
        if manifest.rows == 0:  # the manifest first: from here on whoever comes sees an empty store of this kind
            manifest.write(folder)
            for path in folder.glob("patches_*.npy"):
                path.unlink()
        write_text(folder / IMAGES, "".join(f"{name}\n" for name in names))
        writer = StoreWriter(folder, manifest, identity)
        try:
            yield writer
        finally:
            writer.close()
    finally:
        lock.release()


def _photos_digest(before: str, identity: Callable[[int], bytes] | None, rows: range) -> str:
    """Fingerprint of the photos up to and including `rows`, from the one of those before."""
    if identity is None:
        return before
    for row in rows:
        before = hashlib.sha256(before.encode() + identity(row)).hexdigest()
    return before


def _same(
    folder: Path, found: Manifest, wanted: Manifest, names: Sequence[str], identity: Callable[[int], bytes] | None
) -> Manifest:
    differences = found.recipe.differences(wanted.recipe)
    if found.images_sha256 != wanted.images_sha256:
        differences.append(_other_names(folder, found.images, names))
    elif _photos_digest("", identity, range(found.rows)) not in ("", found.photos_sha256):
        differences.append("photos of the same names, but not the same photos")
    if found.dtype != wanted.dtype:
        differences.append(f"numbers kept as {found.dtype} against {wanted.dtype}")
    if found.precision != wanted.precision:
        differences.append(f"computed in {found.precision} against {wanted.precision}")
    if differences:
        raise MismatchError(
            f"{folder} was made from other photos or by other settings: {'; '.join(differences)}. "
            "Use another --out, or --overwrite"
        )
    return found


def _other_names(folder: Path, images: int, names: Sequence[str]) -> str:
    """How the images of a store differ from those asked for, by the first name that only one of them has."""
    try:
        before = (folder / IMAGES).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        before = []
    held, wanted = set(before), set(names)
    changes = [f"{name} is new" for name in names if name not in held][:1] if before else []
    changes += [f"{name} is missing" for name in before if name not in wanted][:1]
    how = ", ".join(changes) or "other names or another order"
    return f"{counted(images, 'image')} against {len(names)} ({how})"


def _foreign(folder: Path) -> bool:
    """Whether a folder holds something that no writer, not even one that died at its first step, has left there."""
    if not folder.is_dir():
        return folder.exists()
    return any(
        path.name != ".lock" and not path.name.startswith("manifest.partial-") and not _BESIDE.fullmatch(path.name)
        for path in folder.iterdir()
    )


def _open_rows(path: Path, shape: tuple[int, ...], dtype: np.dtype, rows: int) -> BinaryIO:
    """Opens an .npy file of that final shape for appending after its first `rows` rows."""
    if rows and not path.exists():
        raise StoreError(f"{path} is missing although {counted(rows, 'row')} were written: start anew with --overwrite")
    file: BinaryIO = open(path, "r+b" if rows else "wb")
    if not rows:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        return file
    try:
        np.lib.format.read_magic(file)
        found = np.lib.format.read_array_header_2_0(file)
        end = file.tell() + rows * int(np.prod(shape[1:])) * dtype.itemsize
        if found != (shape, False, dtype) or os.path.getsize(path) < end:
            raise ValueError(f"{found[2]} {found[0]}, {os.path.getsize(path)} bytes")
    except ValueError as error:
        file.close()
        raise StoreError(
            f"{path} does not hold the {counted(rows, 'row')} that were written ({error}): start anew with --overwrite"
        ) from error
    file.truncate(end)
    file.seek(end)
    return file


@functools.cache
def _accept_read_only_memory() -> None:
    """Has PyTorch give its one warning about read-only memory here, unheard: nobody writes into descriptors."""
    read_only = np.zeros(1)
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(read_only)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name.encode(errors="replace").decode().splitlines() != [name]:
            raise StoreError(f"the image name {name!r} is not one line of UTF-8: rename the file")


def names_digest(names: Sequence[str]) -> str:
    """Fingerprint of an image list."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def read_names(folder: Path) -> tuple[str, ...]:
    """Reads images.txt."""
    try:
        return tuple((folder / IMAGES).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{folder / IMAGES} cannot be read ({error}): extract again") from error


def is_store(path: str | os.PathLike) -> bool:
    """Whether a path is a feature store, complete or not, rather than photos."""
    return (Path(path) / MANIFEST).is_file()
