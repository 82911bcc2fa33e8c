"""The one loop from images to features: threads decode and resize ahead, the network describes, the store appends."""

import copy
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..errors import ConfigError, ImageError, MismatchError, counted
from ..files.room import check_room
from ..images.lists import ImageList, check_is_list
from ..images.pixels import Photo, resize
from ..images.scaling import PixelRange, is_faint
from ..model.checkpoints import fingerprint
from ..model.inputs import checked_size, stack
from ..model.network import PatchNetVLAD
from .manifest import FeatureRecipe, Manifest
from .store import FeatureStore
from .store_writing import StoreWriter, open_writer

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (images done, images in all)


def extract(
    model: PatchNetVLAD,
    images: ImageList,
    folder: str | os.PathLike,
    size: tuple[int, int] | None = (480, 640),
    batch: int = 4,
    workers: int = 2,
    dtype: str = "float32",
    overwrite: bool = False,
    skip_unreadable: bool = False,
    preset: str = "",
    progress: Progress | None = None,
) -> FeatureStore:
    """Describes images into a feature store; goes on where an interrupted run stopped, and ends equal to a whole one.

    Args:
        model: from `load_model`, on the device to compute on.
        images: which photos, and the pixel range of those that have more than 8 bits.
        folder: where the store is, or will be.
        size: (height, width) to resize to; None keeps the photos' own size, which then all must share.
        batch: photos the network takes at a time.
        workers: threads that decode and resize ahead of the network.
        dtype: of the stored patch descriptors, `float32`, `float16` or `int8`.
        overwrite: start anew, whatever store the folder holds.
        skip_unreadable: photos that cannot be read keep their row, with zeros, and are never retrieved.
        preset: name kept in the store, for messages.
        progress: called after each batch.

    Raises:
        ImageError: a photo is missing, unreadable or without any contrast (unless skipped); all batches before its own
            are kept. Or none could be read.
        ConfigError: sizes differ though none is given to resize to, or leave no room for the largest patch.
        MismatchError: the folder holds features made by another model, size, preset or pixel range, or of other photos.
    """
    check_is_list(images)
    if batch < 1 or workers < 1:
        raise ConfigError(f"batch {batch} and workers {workers} must be at least 1")
    _refuse_missing(images, skip_unreadable)
    reader, size = _reader(images, size, skip_unreadable)
    recipe = recipe_of(model, size, images.pixel_range)
    precision = str(model.precision).removeprefix("torch.")
    settings = recipe, images.names, dtype, preset, overwrite, precision
    with open_writer(folder, *settings, identity=images.identity, root=images.root) as writer:
        check_room(writer.folder, writer.needed)
        done = writer.manifest.rows
        if 0 < done < len(images):
            log.info("%s: going on after %d of %d images", folder, done, len(images))
        if progress:
            progress(done, len(images))
        seen = Seen()
        read = _reading(reader, images, skip_unreadable)
        for rows, photos in _read_ahead(read, range(done, len(images)), batch, workers):
            _append(writer, model, size, rows, photos)
            seen.look(images, rows, photos)
            if progress:
                progress(rows[-1] + 1, len(images))
        seen.tell(writer.folder)
    return _finished(FeatureStore(folder), images)


def _finished(store: FeatureStore, images: ImageList) -> FeatureStore:
    """A whole store, in which at least one photo is described; says where a pixel range had nothing to do."""
    if len(store.unreadable) == len(store):
        raise _none_readable(images)
    if images.pixel_range is not None and store.manifest.deep == 0:
        log.warning("%s: no photo has more than 8 bits, so --pixel-range changes nothing", images.root)
    return store


def _none_readable(images: ImageList) -> ImageError:
    return ImageError(f"none of the {counted(len(images), 'image')} below {images.root} can be read: check the folder")


@dataclass
class Seen:
    """What a run has to say at its end of the photos that it read."""

    faint: list[str] = field(default_factory=list)

    def look(self, images: ImageList, rows: range, read: "list[_Read]") -> None:
        """Looks at the photos of some rows."""
        self.faint += [
            images.names[row]
            for row, one in zip(rows, read, strict=True)
            if one.photo is not None and is_faint(one.photo.pixels)
        ]

    def tell(self, folder: os.PathLike) -> None:
        """Names photos that show next to nothing."""
        if self.faint:
            more = f" and {len(self.faint) - 3} more" if len(self.faint) > 3 else ""
            log.warning(
                "%s: %s next to no contrast (night, fog, a covered lens?) and may match anything: %s%s",
                *(folder, counted(len(self.faint), "photo has", "photos have"), ", ".join(self.faint[:3]), more),
            )


@dataclass(frozen=True)
class _Read:
    """A photo, None if it cannot be read, and the checksum of its file."""

    photo: Photo | None
    content: int = 0


def _append(writer: StoreWriter, model: PatchNetVLAD, size: tuple[int, int], rows: range, read: list[_Read]) -> None:
    """Describes the photos of some rows, with zeros for those that could not be read."""
    unreadable = [row for row, one in zip(rows, read, strict=True) if one.photo is None]
    blank = np.zeros((*size, 3), dtype=np.uint8)
    global_, patches = describe_batch(model, [blank if one.photo is None else one.photo.pixels for one in read])
    for row in unreadable:
        for values in (global_, *patches.values()):
            values[row - rows[0]] = 0
    deep = sum(one.photo.deep for one in read if one.photo is not None)
    writer.append(global_, patches, unreadable, [one.content for one in read], deep)


def _refuse_missing(images: ImageList, skip_unreadable: bool) -> None:
    missing = images.missing()
    if missing and not skip_unreadable:
        raise ImageError(
            f"{len(missing)} of {len(images)} images are missing below {images.root}, the first is {missing[0]}: "
            "check the root of a list and links that lead nowhere, or skip them with --skip-unreadable"
        )


def _reader(
    images: ImageList, size: tuple[int, int] | None, skip_unreadable: bool
) -> tuple[Callable[[int], Photo], tuple[int, int]]:
    """What reads the photo of a row at the size that all have, and that size."""
    if size is None:
        own = _own_size(images, skip_unreadable)
        return lambda row: _read_exactly(images, row, own), own
    size = checked_size(size)
    return lambda row: _resized(images.photo(row), size), size


def _resized(photo: Photo, size: tuple[int, int]) -> Photo:
    return replace(photo, pixels=resize(photo.pixels, size))


def photo_reader(images: ImageList, manifest: Manifest) -> Callable[[int], np.ndarray]:
    """What reads the photo of a row (H, W, 3) as it was read for a store.

    Raises:
        MismatchError: when a photo of more than 8 bits is read for a store of 0.1.0, which scaled it otherwise.
    """
    images = images.scaled(manifest.recipe.pixel_range)

    def read(row: int) -> np.ndarray:
        photo = images.photo(row)
        if photo.deep and manifest.deep is None:
            raise MismatchError(
                f"{images.path(row)} has more than 8 bits, and patchvlad 0.1.0 scaled it otherwise: extract again with "
                "--overwrite"
            )
        return resize(photo.pixels, manifest.recipe.size)

    return read


def recipe_of(model: PatchNetVLAD, size: tuple[int, int], pixel_range: PixelRange | None = None) -> FeatureRecipe:
    """What identifies features that `model` makes of images of that (height, width), scaled by that pixel range."""
    with torch.inference_mode():  # on the meta device only shapes are computed
        meta = copy.deepcopy(model.backbone).to("meta")
        blank = torch.empty(1, 3, *size, device="meta", dtype=next(meta.parameters()).dtype)
        try:
            height, width = meta(blank).shape[2:]
        except RuntimeError as error:
            raise ConfigError(
                f"images of {size[1]} x {size[0]} pixels are too small for {model.backbone.name}"
            ) from error
    grids = {p: grid.patch_stride for p, grid in model.grids((height, width)).items()}
    return FeatureRecipe(
        fingerprint=fingerprint(model),
        model=model.name,
        size=(size[0], size[1]),
        pooling=model.pooling,
        grids=tuple(grids.items()),
        map_size=(height, width),
        stride=model.backbone.stride,
        dim=model.dim,
        patch_dim=model.patch_dim,
        pixel_range=pixel_range,
    )


@torch.inference_mode()
def describe_batch(model: PatchNetVLAD, arrays: list[np.ndarray]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """N arrays (H, W, 3) uint8 of one size -> (N, D) and for each patch size (N, P, D'), float32."""
    parameter = next(model.parameters())
    try:
        global_, patches = model(stack(arrays).to(parameter.device, parameter.dtype))
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"the GPU's memory is too small for {counted(len(arrays), 'photo')} at a time: lower --batch"
        ) from error
    return global_.float().cpu().numpy(), {p: values.float().cpu().numpy() for p, values in patches.items()}


def _reading(reader: Callable[[int], Photo], images: ImageList, skip_unreadable: bool) -> Callable[[int], _Read]:
    """What reads a row's photo, and sums its file, whose bytes are in memory then."""

    def read(row: int) -> _Read:
        try:
            return _Read(reader(row), images.content(row))
        except ImageError as error:
            if not skip_unreadable:
                raise
            log.warning("skipped: %s", error)
            return _Read(None)

    return read


def _read_ahead(
    read: Callable[[int], _Read], rows: range, batch: int, workers: int
) -> Iterator[tuple[range, list[_Read]]]:
    """Yields batches in order while `workers` threads read at most two batches ahead."""
    chunks = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    pending: deque[tuple[range, list[Future[_Read]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for chunk in chunks:
                pending.append((chunk, [pool.submit(read, row) for row in chunk]))
                if len(pending) > 2:
                    first, futures = pending.popleft()
                    yield first, [future.result() for future in futures]
            while pending:
                first, futures = pending.popleft()
                yield first, [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _own_size(images: ImageList, skip_unreadable: bool) -> tuple[int, int]:
    """(height, width) of the first image, or of the first that can be read."""
    for row in range(len(images)):
        try:
            return images.photo(row).pixels.shape[:2]
        except ImageError:
            if not skip_unreadable:
                raise
    raise _none_readable(images)


def _read_exactly(images: ImageList, row: int, size: tuple[int, int]) -> Photo:
    photo = images.photo(row)
    if photo.pixels.shape[:2] != size:
        height, width = photo.pixels.shape[:2]
        raise ConfigError(
            f"{images.path(row)} is {width} x {height} pixels, the first image {size[1]} x {size[0]}: "
            "without resizing all must be equal; set imageresizew and imageresizeh in the config"
        )
    return photo
