"""Writing a feature store: in order, resumable, and never into what somebody may read.

Rows are appended to the arrays and flushed to disk, then their checksums, and then the manifest, which is replaced
whole, counts them: whatever moment the writer dies in, whoever comes next sees whole images only, cuts off the rest and
goes on. A store that is there already is overwritten beside, in STORE/.new, which takes its place once it is complete.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..errors import MismatchError, ModelError, StoreError, counted
from ..files.arrays import DAMAGE
from ..files.atomic import swap_in, write_text
from ..files.leftovers import is_dead, sweep
from ..files.locks import locked
from ..files.regular import check_regular
from ..files.room import told
from .layout import GLOBAL, SUMS, Layout, layouts, sums_of
from .manifest import FeatureRecipe, Manifest
from .quantisation import quantise
from .registry import STORE_DTYPES
from .rows import check_header, finite, photos_said
from .store import IMAGES, OWNED, PHOTOS, finish_store, is_store, names_digest

LOCK, NEW = ".lock", ".new"
_BESIDE = re.compile(r"globalfeats\.npy|patchfeats_psize\d+_.*\.npy")  # what a store may stand beside
_LEFT = re.compile(r"\.lock|\.new|\.complete|\.moving|\.set\.lock|\w*\.partial-\d+.*")  # by writers that died


class StoreWriter:
    """Appends rows to a store; use `open_writer`."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        names: Sequence[str],
        identity: Callable[[int], bytes] | None = None,
    ) -> None:
        self._identity, self._names = identity, names
        self.folder = folder
        self.manifest = manifest
        self._layouts = layouts(manifest)
        with contextlib.ExitStack() as opened:  # one that cannot be opened closes the others
            self._files = {
                name: opened.enter_context(_open_rows(folder / name, layout, manifest.rows))
                for name, layout in self._layouts.items()
            }
            self.close = opened.pop_all().close

    @property
    def needed(self) -> int:
        """Bytes that the rows take which are not written yet."""
        images, rows = self.manifest.images, self.manifest.rows
        return sum(layout.size(images) - layout.size(rows) for layout in self._layouts.values())

    def append(
        self,
        global_: np.ndarray,
        patches: dict[int, np.ndarray],
        unreadable: Sequence[int] = (),
        photos: Sequence[int] = (),
        deep: int = 0,
    ) -> None:
        """Appends N rows.

        Args:
            global_: (N, D).
            patches: for each patch size (N, P, D') floats.
            unreadable: rows of the store whose photos could not be read.
            photos: (N) checksums of the photos' files; 0, or none at all, where they are not known.
            deep: how many of the photos had more than 8 bits.

        Raises:
            MismatchError: patchvlad 0.1.0, which scaled such photos otherwise, made the rows that are there.
            ModelError: a descriptor is no finite number.
            StoreError: the store was deleted or replaced.
        """
        if deep and self.manifest.deep is None:
            raise MismatchError(
                f"{self.folder} was begun by patchvlad 0.1.0, which scaled photos of more than 8 bits otherwise: start "
                "anew with --overwrite"
            )
        rows = range(self.manifest.rows, self.manifest.rows + len(global_))
        arrays = {GLOBAL: global_, **{f"patches_{size}.npy": array for size, array in patches.items()}}
        parts = {name: self._stored(values, self._layouts[name], rows) for name, values in arrays.items()}
        if SUMS in self._files:
            sums = np.array(photos or [0] * len(rows), dtype=np.uint64)
            parts[SUMS] = sums_of([parts[name] for name in arrays], sums)
        for name, file in self._files.items():
            with told(self.folder / name, self.needed):
                _write(file, parts[name].data)
                os.fsync(file.fileno())
        manifest = replace(
            self.manifest,
            rows=rows.stop,
            photos_sha256=photos_digest(self.manifest.photos_sha256, self._identity, rows),
            unreadable=(*self.manifest.unreadable, *unreadable),
            deep=None if self.manifest.deep is None else self.manifest.deep + deep,
        )
        self._check_there()
        manifest.write(self.folder)
        self.manifest = manifest

    def _stored(self, values: np.ndarray, layout: Layout, rows: range) -> np.ndarray:
        """Rows as they are stored."""
        assert values.shape == (len(rows), *layout.shape[1:]), f"{layout.name}: rows of {values.shape[1:]}"
        if not finite(values):
            wrong = [row for row, value in zip(rows, values, strict=True) if not finite(value)]
            raise ModelError(
                f"the descriptors of {photos_said(np.array(wrong), self._names)} are NaN or infinite: the weights of "
                "the model are damaged, or the device cannot compute; nothing of them was kept"
            )
        return stored(values, layout.dtype)

    def _check_there(self) -> None:
        """Raises StoreError if somebody deleted the store, before a manifest stands where it was."""
        for name, file in self._files.items():
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self.folder / name), os.fstat(file.fileno())):
                    continue
            raise StoreError(f"{self.folder / name} was deleted while it was written: extract again")


def stored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats as they are stored."""
    if dtype == np.int8:
        values = quantise(torch.from_numpy(values)).numpy()
    return np.ascontiguousarray(values, dtype=dtype)


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
    root: str | os.PathLike | None = None,
) -> Iterator[StoreWriter]:
    """Creates a store or goes on with an unfinished one; a complete one is opened with nothing left to append.

    Args:
        folder: of the store.
        recipe: how its features are made.
        names: (N) of the images.
        dtype: of patch descriptors.
        preset: name kept in the manifest, for messages.
        overwrite: start anew, whatever store the folder holds; it stays until the new one is complete.
        precision: that the network multiplies in.
        identity: of a row's photo (`ImageList.identity`), by which other photos of the same names are told apart.
        root: of the photos, for repairs.

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
    manifest = Manifest(
        recipe, len(names), names_digest(names), dtype=dtype, precision=precision, preset=preset, deep=0
    )
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        place, manifest = _begun(folder, manifest, names, identity, overwrite)
        _prepare(place, manifest, names, None if root is None else os.path.relpath(root, folder))
        writer = StoreWriter(place, manifest, names, identity)
        try:
            yield writer
        finally:
            writer.close()
        if place != folder and writer.manifest.rows == writer.manifest.images:
            swap_in(place, folder, OWNED)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other writers away from a store, and removes what dead ones have left.

    Raises:
        StoreError: another process is writing it.
    """
    with contextlib.ExitStack() as held:
        try:
            with told(folder):
                held.enter_context(locked(folder / LOCK, wait=False))
        except BlockingIOError as error:
            raise StoreError(
                f"{folder} is being written by another process: wait for it or choose another folder"
            ) from error
        sweep(folder)
        yield


def clear(folder: Path) -> None:
    """Removes what a writer or repairer that died has left in a whole store; touches nothing where there is nothing."""
    if (folder / LOCK).exists() or any(is_dead(path) for path in folder.iterdir()):
        with alone(folder):
            pass


def _begun(
    folder: Path,
    wanted: Manifest,
    names: Sequence[str],
    identity: Callable[[int], bytes] | None,
    overwrite: bool,
) -> tuple[Path, Manifest]:
    """Where to write, and the manifest of what is written there already."""
    if not is_store(folder):
        return folder, wanted
    new = folder / NEW
    if overwrite:
        with contextlib.suppress(StoreError):  # an interrupted run that was overwriting goes on
            sweep(new)
            return new, _same(new, Manifest.read(new), wanted, names, identity)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        return new, wanted
    finish_store(folder)
    found = Manifest.read(folder)
    if found.rows or not found.images:  # a store that was begun and has no row yet has nothing to lose
        found = _same(folder, found, wanted, names, identity)
    else:
        found = wanted
    shutil.rmtree(new, ignore_errors=True)
    return folder, found


def _prepare(folder: Path, manifest: Manifest, names: Sequence[str], root: str | None) -> None:
    """Writes all but the arrays."""
    if manifest.rows == 0:  # the manifest first: from here on whoever comes sees an empty store of this kind
        manifest.write(folder)
        for path in folder.glob("patches_*.npy"):
            path.unlink()
    write_text(folder / IMAGES, "".join(f"{name}\n" for name in names))
    if root is not None:
        write_text(folder / PHOTOS, f"{root}\n")


def photos_digest(before: str, identity: Callable[[int], bytes] | None, rows: range) -> str:
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
    elif photos_digest("", identity, range(found.rows)) not in ("", found.photos_sha256):
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
    return any(not _LEFT.fullmatch(path.name) and not _BESIDE.fullmatch(path.name) for path in folder.iterdir())


def _open_rows(path: Path, layout: Layout, rows: int) -> io.FileIO:
    """Opens an array file for appending after its first `rows` rows, a whole one for reading."""
    if not rows:
        file = open(path, "wb", buffering=0)
        _write(file, memoryview(layout.header))
        return file
    if not path.exists():
        raise StoreError(f"{path} is missing although {counted(rows, 'row')} were written: start anew with --overwrite")
    whole = rows == layout.shape[0]
    size, end = check_regular(path), layout.size(rows)
    file = open(path, "rb" if whole else "r+b", buffering=0)
    try:
        check_header(file, layout)
        if size < end or (whole and size > end):
            raise ValueError(f"{size} bytes instead of {end}")
    except DAMAGE as error:
        file.close()
        raise StoreError(
            f"{path} does not hold the {counted(rows, 'row')} that were written ({error}): start anew with --overwrite"
        ) from error
    if not whole:
        file.truncate(end)
        file.seek(end)
    return file


def _write(file: io.FileIO, data: memoryview) -> None:
    """Writes all; unbuffered, so that nothing is left to be written when the file is closed on a full disk."""
    data = data.cast("B")
    while len(data):
        data = data[file.write(data) :]


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name.encode(errors="replace").decode().splitlines() != [name]:
            raise StoreError(f"the image name {name!r} is not one line of UTF-8: rename the file")
