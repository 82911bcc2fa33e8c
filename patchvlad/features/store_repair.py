"""Repair of a store: rows that are not what was written are described again from their photos, all others stay.

A photo must be the one that was described: its file has the checksum that the store keeps. Of stores of 0.1.0, and
where the checksums themselves are damaged, all photos together must have the fingerprint of the manifest. Files are
written beside, and the checksums take their place last: whenever a repair stops, what was damaged is still told.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import ImageError, MismatchError, StoreError
from ..files.atomic import write_text, writing
from ..files.checksums import BLOCK, row_sums
from ..images.lists import ImageList
from ..model.network import PatchNetVLAD
from .extraction import describe_batch, photo_reader, recipe_of
from .layout import GLOBAL, OWN, PHOTO, SUMS, Layout, layouts
from .manifest import FORMAT, Manifest
from .rows import photos_said
from .store import IMAGES, PHOTOS, names_digest
from .store_checking import Inspected, Progress, inspect_store
from .store_writing import alone, photos_digest, stored

TOGETHER = 4  # photos that the network takes at a time


@dataclass(frozen=True)
class Repaired:
    """What a repair did.

    Attributes:
        rows: photos that were described again.
        same: how many of them came out as they had been written, to the bit.
        summed: whether checksums were added to a store of 0.1.0.
    """

    rows: int
    same: int
    summed: bool


def repair_store(
    folder: Path,
    load: Callable[[Manifest], PatchNetVLAD],
    photos: ImageList | None = None,
    progress: Progress | None = None,
) -> Repaired:
    """Describes damaged rows of a store again, and adds checksums where there are none.

    Args:
        folder: of the store.
        load: loads the model that made it; called only if it is needed.
        photos: where its photos are now; None for where they were.
        progress: called after each batch of photos.

    Raises:
        StoreError: the store is incomplete, its manifest is damaged, or it is not known where its photos are.
        ImageError: a photo is missing, or has changed since it was described.
        MismatchError: the model, or what it computes in, is another.
    """
    with alone(folder):
        found = inspect_store(folder)
        if found.manifest.rows < found.manifest.images:
            raise StoreError(f"{folder} is incomplete: run the same 'patchvlad extract' again first, it goes on")
        names = _names(found, photos)
        wrong = _wrong(found)
        described = np.flatnonzero(np.any(list(wrong.values()), axis=0))
        images = _photos(found, names, photos) if len(described) or photos is not None else None
        if images is not None:
            _check_photos(found, images, described)
        read = np.setdiff1d(described, found.manifest.unreadable)
        model = _model(found.manifest, load) if len(read) else None
        same = _rewrite(found, wrong, model, images, progress)
        if found.names is None:
            write_text(folder / IMAGES, "".join(f"{name}\n" for name in names))
        if photos is not None:
            write_text(folder / PHOTOS, f"{os.path.relpath(photos.root, folder)}\n")
        if not found.manifest.summed:
            replace(found.manifest, format=FORMAT).write(folder)
        return Repaired(len(described), same, not found.manifest.summed)


def _names(found: Inspected, photos: ImageList | None) -> Sequence[str]:
    """Names of the photos; where the list is damaged, those of the photos' folder, if they are the same."""
    if found.names is not None:
        return found.names
    with contextlib.suppress(ImageError, OSError):
        there = photos or ImageList.read(_root(found))
        if names_digest(there.names) == found.manifest.images_sha256:
            return there.names
    raise StoreError(
        f"{found.folder / IMAGES} is damaged, and its photos are not those of {_root(found)}: give their list "
        "or folder with --photos, or extract again with --overwrite"
    )


def _wrong(found: Inspected) -> dict[str, np.ndarray]:
    """For each array which rows are made again: those that are damaged, and all whose checksums are."""
    sums = found.wrong.get(SUMS, np.zeros(found.manifest.images, dtype=bool))
    return {name: wrong | sums for name, wrong in found.wrong.items() if name != SUMS}


def _root(found: Inspected) -> Path:
    try:
        return found.folder / (found.folder / PHOTOS).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{found.folder} does not say where its photos are: give their folder or list with --photos"
        ) from error


def _photos(found: Inspected, names: Sequence[str], photos: ImageList | None) -> ImageList:
    root = photos.root if photos is not None else _root(found)
    if not root.is_dir():
        raise StoreError(f"the photos of {found.folder} are not at {root} any more: give their folder with --photos")
    return ImageList(root, tuple(names))


def _check_photos(found: Inspected, images: ImageList, rows: np.ndarray) -> None:
    """Raises ImageError unless the photos of these rows are those that were described."""
    manifest, sums = found.manifest, found.rows.get(SUMS)
    known = np.zeros(manifest.images, dtype=np.uint64)
    if sums is not None:
        known[: len(sums)] = np.where(found.wrong[SUMS][: len(sums)], 0, sums[:, PHOTO])
    rows = np.setdiff1d(rows, manifest.unreadable)
    changed = np.array([row for row in rows if known[row] and images.content(row) != known[row]], dtype=np.int64)
    if len(changed):
        gone = [row for row in changed if not images.path(row).is_file()]
        said = "missing" if len(gone) == len(changed) else "not the same any more as when the store was made"
        raise ImageError(
            f"{photos_said(changed, images.names)} below {images.root}: {said}. Bring back what was described, or "
            "extract again with --overwrite"
        )
    if (len(rows) and not known[rows].all()) or not manifest.summed:
        told = photos_digest("", images.identity, range(manifest.rows))
        if told != manifest.photos_sha256:
            raise ImageError(
                f"the photos below {images.root} are not those that {found.folder} was made of, or cannot be told from "
                "others: give them with --photos, or extract again with --overwrite"
            )


def _model(manifest: Manifest, load: Callable[[Manifest], PatchNetVLAD]) -> PatchNetVLAD:
    model = load(manifest)
    differences = manifest.recipe.differences(recipe_of(model, manifest.recipe.size, manifest.recipe.pixel_range))
    precision = str(model.precision).removeprefix("torch.")
    if precision != manifest.precision:
        differences.append(f"computed in {manifest.precision} against {precision}")
    if differences:
        raise MismatchError(
            f"the store was made in another way than it would be repaired: {'; '.join(differences)}. Give the model "
            "that made it with --model"
        )
    return model


def _rewrite(
    found: Inspected,
    wrong: dict[str, np.ndarray],
    model: PatchNetVLAD | None,
    images: ImageList | None,
    progress: Progress | None,
) -> int:
    """Writes the files that are damaged anew; returns how many rows came out as they had been written."""
    if found.intact and found.manifest.summed:
        return 0
    parts = layouts(replace(found.manifest, format=FORMAT))
    sums = _sums(found, parts, images)
    same = 0
    with contextlib.ExitStack() as opened:  # closed in the other order: the checksums take their place last
        last = opened.enter_context(writing(found.folder / SUMS))
        files = {}
        for name in wrong:
            if wrong[name].any() or name in found.faults:
                files[name] = opened.enter_context(writing(found.folder / name))
                _copy(found.rows[name], parts[name], files[name])
        for rows, made in _made(found, wrong, model, images, progress):
            before = sums[rows].copy()
            for name, values in made.items():
                columns = parts[name].sums
                for row, value, new in zip(rows, values, row_sums(values), strict=True):
                    if wrong[name][row]:
                        files[name].seek(parts[name].size(int(row)))
                        files[name].write(value.data)
                        sums[row, columns] = new
            sums[rows, OWN:] = row_sums(sums[rows, :OWN])
            same += int((sums[rows] == before).all(axis=1).sum())
        last.write(parts[SUMS].header)
        last.write(sums.data)
    return same


def _sums(found: Inspected, parts: dict[str, Layout], images: ImageList | None) -> np.ndarray:
    """Checksums (B, S) of the rows as they are, with those of the photos where they are known."""
    sums = np.zeros(parts[SUMS].shape, dtype=np.uint64)
    if SUMS in found.rows:
        sums[: len(found.rows[SUMS])] = found.rows[SUMS]
        unknown = np.flatnonzero(found.wrong[SUMS])
    else:
        for name, rows in found.rows.items():
            for start, block in _blocks(rows, parts[name]):
                sums[start : start + len(block), parts[name].sums] = row_sums(block)
        unknown = np.arange(len(sums))
    sums[unknown, PHOTO] = 0
    if images is not None:
        for row in np.setdiff1d(unknown, found.manifest.unreadable):
            sums[row, PHOTO] = images.content(int(row))
    sums[:, OWN:] = row_sums(sums[:, :OWN])
    return sums


def _blocks(rows: np.ndarray, layout: Layout) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, 16 * BLOCK // layout.row_size)
    return ((start, rows[start : start + step]) for start in range(0, len(rows), step))


def _copy(rows: np.ndarray, layout: Layout, file: IO[bytes]) -> None:
    """Writes the rows that are there, and zeros for those that are not."""
    file.write(layout.header)
    for _, block in _blocks(rows, layout):
        file.write(np.ascontiguousarray(block).data)
    for _ in range(len(rows), layout.shape[0]):
        file.write(bytes(layout.row_size))


def _made(
    found: Inspected,
    wrong: dict[str, np.ndarray],
    model: PatchNetVLAD | None,
    images: ImageList | None,
    progress: Progress | None,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Some rows that are damaged, ascending, and what each array holds of them, (N, ...) as it is stored."""
    parts, unreadable = layouts(found.manifest), set(found.manifest.unreadable)
    damaged = np.flatnonzero(np.any(list(wrong.values()), axis=0))
    blank = np.array([row for row in damaged if row in unreadable], dtype=np.int64)
    if len(blank):
        yield blank, {name: np.zeros((len(blank), *parts[name].shape[1:]), parts[name].dtype) for name in wrong}
    damaged = np.setdiff1d(damaged, blank)
    for start in range(0, len(damaged), TOGETHER):
        rows = damaged[start : start + TOGETHER]
        assert model is not None and images is not None
        read = photo_reader(images, found.manifest)
        global_, patches = describe_batch(model, [read(int(row)) for row in rows])
        arrays = {GLOBAL: global_, **{f"patches_{size}.npy": values for size, values in patches.items()}}
        yield rows, {name: stored(values, parts[name].dtype) for name, values in arrays.items()}
        if progress:
            progress(min(start + TOGETHER, len(damaged)), len(damaged))
