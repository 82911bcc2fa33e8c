"""Pictures as callers hold them, brought to one batch or refused by name: channels and range are not guessed."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError, ImageError, PatchvladError
from ..images.pixels import beyond_pillow, photo_of, resize

OVERSHOOT = 0.2  # beyond [0, 1], as bicubic resizing leaves it; normalised pictures lie further out
_FORMS = "give (H, W, 3) uint8 RGB arrays as of read_image, or a tensor (N, 3, H, W) of RGB in [0, 1]"

Picture = np.ndarray | Image.Image


def batch_of(images: Tensor | Sequence[Picture], size: tuple[int, int] | None) -> Tensor:
    """Images -> (N, 3, H, W) floating RGB in [0, 1], resized to `size` (height, width) if given; see `describe`.

    Raises:
        ConfigError: what is given is not a batch of pictures, or its sizes differ.
        ImageError: a picture of PIL cannot be decoded.
    """
    if size is not None:
        size = checked_size(size)
    if isinstance(images, Tensor):
        batch = _checked_tensor(images)
        if size is not None and len(batch) and tuple(batch.shape[2:]) != size:
            batch = F.interpolate(batch, size, mode="bilinear", antialias=True)
        return batch
    if isinstance(images, np.ndarray) and images.ndim < 4:
        raise ConfigError(
            f"one array of shape {images.shape} is not a batch: give a list of pictures, [picture] of one"
        )
    if isinstance(images, str | bytes | os.PathLike | Image.Image) or not hasattr(images, "__len__"):
        raise ConfigError(f"a {type(images).__name__} is not a batch: give a list of pictures; {_FORMS}")
    if not len(images):
        return torch.zeros(0, 3, *(size or (0, 0)))
    return stack([_pixels(image, f"picture {number}") for number, image in enumerate(images)], size)


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """(height, width) as it is.

    Raises:
        ConfigError: it is not two whole numbers from 1.
    """
    whole = isinstance(size, Sequence) and len(size) == 2 and all(isinstance(side, int | np.integer) for side in size)
    if not whole or min(size) < 1:
        raise ConfigError(f"the size {size!r} cannot be: it is (height, width), two whole numbers from 1")
    return int(size[0]), int(size[1])


def stack(images: Sequence[np.ndarray], size: tuple[int, int] | None = None) -> Tensor:
    """N arrays (H, W, 3) uint8 RGB -> (N, 3, H, W) float32 in [0, 1], resized to `size` (height, width) if given."""
    arrays = [image if size is None else resize(image, size) for image in images]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ConfigError(f"images of one batch differ in size ({sorted(shapes)}): give a size to resize them to")
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div_(255)


def _checked_tensor(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 3, H, W) floating in [0, 1]: grey is repeated, transparency dropped, uint8 divided by 255."""
    if images.layout != torch.strided:
        raise ConfigError(f"a tensor of layout {images.layout} is not a batch of pictures: {_FORMS}")
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
        raise ConfigError(f"a tensor of shape {tuple(images.shape)} is not a batch of pictures: {_FORMS}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ConfigError(
            f"a tensor of {str(images.dtype).removeprefix('torch.')} is not a batch of pictures: {_FORMS}"
        )
    if images.numel():
        if images.dtype == torch.uint8:
            images = images.float().div(255)
        low, high = (float(value) for value in torch.aminmax(images.detach()))
        _check_range(low, high, "the tensor")
    elif len(images):
        raise ConfigError(f"a tensor of shape {tuple(images.shape)} has no pixel: {_FORMS}")
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]


def _check_range(low: float, high: float, what: str) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ConfigError(f"{what} holds NaN or infinity: {_FORMS}")
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
        advice = "divide by 255, or give uint8" if low >= 0 else "give it as it was before it was normalised"
        raise ConfigError(f"{what} holds numbers from {low:g} to {high:g}, which must lie in [0, 1]: {advice}")


def _pixels(image: Picture, what: str) -> np.ndarray:
    """A picture -> (H, W, 3) uint8 RGB."""
    if isinstance(image, Image.Image):
        return _of_pil(image, what)
    if not isinstance(image, np.ndarray):
        raise ConfigError(f"{what} is a {type(image).__name__}: {_FORMS}")
    array = image[..., None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ConfigError(f"{what} is an array of shape {image.shape}: {_FORMS}")
    if array.dtype.kind == "f":
        _check_range(float(array.min()), float(array.max()), what)
        array = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ConfigError(f"{what} is an array of {array.dtype}: {_FORMS}; read_image scales files of more than 8 bits")
    return np.ascontiguousarray(array.repeat(3, axis=2) if array.shape[2] == 1 else array[..., :3])


def _of_pil(picture: Image.Image, what: str) -> np.ndarray:
    """A picture of PIL, upright, as read_image reads its file."""
    path = getattr(picture, "filename", "")
    deep = picture.mode.startswith(("I", "F")) or (picture.format != "JPEG2000" and beyond_pillow(picture, path))
    if deep:
        raise ConfigError(f"{what} has more than 8 bits (mode {picture.mode}): read its file by read_image")
    try:
        return photo_of(picture, None, path or what).pixels
    except PatchvladError:
        raise
    except Exception as error:  # as in opened_image
        raise ImageError(f"{what} cannot be decoded ({error}): repair its file or leave it out") from error


def check_room(shape: Sequence[int], stride: int, name: str) -> None:
    """Raises ConfigError unless a picture of (..., H, W) pixels makes at least one cell of a feature map."""
    height, width = shape[-2:]
    if min(height, width) < stride:
        raise ConfigError(f"pictures of {width} x {height} pixels are too small for {name}: {stride} at least")
