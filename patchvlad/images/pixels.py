"""The pixels of a photo: decoded, upright, in RGB, resized."""

import contextlib
import os
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image

from ..errors import ImageError

# What turns a photo upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a photo as (H, W, 3) uint8 RGB, turned upright as its EXIF orientation says.

    Grey becomes three equal channels, 16-bit values keep their upper eight bits, transparency and all frames but the
    first are dropped.

    Raises:
        ImageError: the file is missing, no image, cut short, or larger than Pillow's limit against decompression bombs.
    """
    with opened_image(path) as opened:
        opened.load()  # turns a TIFF upright by itself, and finds EXIF that lies behind the pixels
        turn = _UPRIGHT.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
        image = opened if turn is None else opened.transpose(turn)
        if image.mode.startswith("I") or image.mode == "F":
            return np.repeat(_eight_bits(np.asarray(image))[..., None], 3, axis=2)
        return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def opened_image(path: str | os.PathLike) -> Iterator[Image.Image]:
    """Opens a photo with Pillow; whatever goes wrong with it, also while it is used, is an ImageError.

    Raises:
        ImageError: the file is missing, no image, cut short, or larger than Pillow's limit against decompression bombs.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of large photos and of damaged EXIF
            with Image.open(path) as opened:
                yield opened
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist: check the path") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large to be decoded safely ({error}): shrink it first") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ImageError(f"{path} cannot be read as an image ({error}): repair it or leave it out") from error


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """(H, W) of 16-bit, 32-bit or floating grey -> uint8; values beyond 16 bits are clipped."""
    if values.dtype.kind == "f" and values.size and values.max() <= 1:
        values = values * 65535
    return (np.clip(np.nan_to_num(values), 0, 65535).astype(np.uint32) >> 8).astype(np.uint8)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (*size, 3) uint8, PIL's bilinear filter with its antialiasing, as torchvision's Resize."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
