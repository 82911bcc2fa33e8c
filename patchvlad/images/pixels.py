"""The pixels of a photo: decoded, upright, in RGB, eight bits, resized."""

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..errors import ConfigError, ImageError, PatchvladError
from ..files.regular import UnfitFileError, check_regular, stand_in
from .scaling import PixelRange, check_contrast, checked_range, eight_bits

# Formats of Pillow that photos come in. Others are not tried: some run programs (EPS), and none holds photos.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP", "DIB", "AVIF", "JPEG2000", "TGA")
LARGEST = 1024  # MB that the file of a photo may have, unless $PATCHVLAD_LARGEST_PHOTO says otherwise
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_COLOURS = {"RGB", "RGBA", "RGBX"}

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


@dataclass(frozen=True)
class Photo:
    """What was read of a photo.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        deep: whether its values had more than 8 bits, and were scaled.
    """

    pixels: np.ndarray
    deep: bool = False


def read_image(path: str | os.PathLike, pixel_range: Sequence[float] | None = None) -> np.ndarray:
    """Reads a photo as (H, W, 3) uint8 RGB, turned upright as its EXIF orientation says.

    Grey becomes three equal channels; transparency and all frames but the first are dropped. Values of more than 8 bits
    are scaled: `pixel_range` becomes black to white, else the photo's own percentiles 1 and 99. Photos of 8 bits stay
    as they are.

    Args:
        path: of the file.
        pixel_range: LOW and HIGH in the units of the file, for photos of more than 8 bits.

    Raises:
        ImageError: the file is missing, no regular file or too large, no image, cut short, larger than Pillow's limit
            against decompression bombs, or without any contrast: all its pixels are equal.
        ConfigError: a pixel range that cannot be.
    """
    return read_photo(path, checked_range(pixel_range)).pixels


def read_photo(path: str | os.PathLike, pixel_range: PixelRange | None = None) -> Photo:
    """The same, and whether it was scaled."""
    with opened_image(path) as opened:
        photo = photo_of(opened, pixel_range, path)
    check_contrast(photo.pixels, path)
    return photo


def photo_of(opened: Image.Image, pixel_range: PixelRange | None, path: str | os.PathLike) -> Photo:
    """What an opened image shows; `path` is where its file lies, or what to call it where there is none."""
    raw = beyond_pillow(opened, path)
    before = opened.getexif().get(ExifTags.Base.Orientation, 1) if raw else 1
    opened.load()  # turns a TIFF upright by itself, and finds EXIF that lies behind the pixels
    turn = _UPRIGHT.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    if raw:
        values = _turned(_decoded_raw(path), turn or _UPRIGHT.get(before))
        return Photo(_rgb(eight_bits(values, pixel_range, path)), deep=True)
    image = opened if turn is None else opened.transpose(turn)
    if image.mode.startswith("I") or image.mode == "F":
        return Photo(_rgb(eight_bits(_grey_values(image, opened), pixel_range, path)), deep=True)
    return Photo(np.asarray(image if image.mode == "RGB" else image.convert("RGB")))


@contextlib.contextmanager
def opened_image(path: str | os.PathLike) -> Iterator[Image.Image]:
    """Opens a photo with Pillow; whatever goes wrong with it, also while it is used, is an ImageError.

    Raises:
        ImageError: the file is missing, no regular file or too large, no image, cut short, or larger than Pillow's
            limit against decompression bombs.
        ConfigError: what is given is no path.
    """
    try:
        if not check_regular(os.fspath(path), _largest()):
            raise ImageError(f"{path} is empty, it has 0 bytes: restore it or leave it out")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of large photos and of damaged EXIF
            with _open(path) as opened:
                yield opened
    except PatchvladError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist: check the path") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder, not a photo: leave it out") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large to be decoded safely ({error}): shrink it first") from error
    except Exception as error:  # decoders raise whatever they meet first in a damaged file
        if isinstance(error, TypeError) and not isinstance(path, str | bytes | os.PathLike):
            raise ConfigError(f"a photo is read from its path, not from {type(path).__name__}") from error
        said = " ".join(str(error).split())
        raise ImageError(f"{path} cannot be read as an image ({said}): repair it or leave it out") from error


def _largest() -> int:
    """Bytes that the file of a photo may have."""
    said = os.environ.get("PATCHVLAD_LARGEST_PHOTO", "")
    if said and not said.isdecimal():
        raise ConfigError(f"PATCHVLAD_LARGEST_PHOTO={said} must be a whole number of MB")
    return (int(said) if said else LARGEST) * 10**6


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(path: str | os.PathLike) -> Image.Image:
    """Opens a file by what is in it, whatever its name; HEIF without a change to Pillow that others would see."""
    try:
        return Image.open(path, formats=_formats())
    except UnidentifiedImageError:
        with open(path, "rb") as file:
            start = file.read(256)
        if start[4:8] != b"ftyp" or start[8:12] not in _HEIF_BRANDS:
            other = stand_in(start)
            if other:
                raise UnfitFileError(other, path) from None
            raise
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ImageError(f"{path} is a HEIF photo: pip install 'patchvlad[heif]' to read it") from error
    opened: Image.Image = HeifImageFile(path)
    if opened.width * opened.height > 2 * (Image.MAX_IMAGE_PIXELS or opened.width * opened.height):
        raise Image.DecompressionBombError(f"{opened.width} x {opened.height} pixels")
    return opened


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (*size, 3) uint8, PIL's bilinear filter with its antialiasing, as torchvision's Resize."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


# --- more than 8 bits -----------------------------------------------------------------------------------------------


def beyond_pillow(opened: Image.Image, path: str | os.PathLike) -> bool:
    """Whether Pillow would round the values of an image that is not loaded to 8 bits, or change their units."""
    if opened.format == "JPEG2000":
        return _bits_of_jpeg2000(path) > 8
    tiles = getattr(opened, "tile", None) or ()
    arguments = [argument for tile in tiles for argument in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    if opened.format == "PPM":
        return any(isinstance(most, int) and most > 255 for most in arguments)
    return opened.mode in _COLOURS and any(isinstance(mode, str) and ";16" in mode for mode in arguments)


def _bits_of_jpeg2000(path: str | os.PathLike) -> int:
    """Bits of the first channel, which the marker SIZ of the code stream says; 8 where there is none."""
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    found = start.find(b"\xff\x4f\xff\x51")
    return (start[found + 42] & 0x7F) + 1 if 0 <= found < len(start) - 42 else 8


def _decoded_raw(path: str | os.PathLike) -> np.ndarray:
    """(H, W) or (H, W, 3) of the values as they stand in a file, by OpenCV."""
    import cv2

    values = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ImageError(f"{path} has more than 8 bits in a form that is not read: convert it to PNG or TIFF")
    return values if values.ndim == 2 else values[..., 2::-1]  # from BGR, without transparency


def _turned(values: np.ndarray, turn: Image.Transpose | None) -> np.ndarray:
    """(H, W, ...) turned as Pillow turns."""
    if turn is None:
        return values
    height, width = values.shape[:2]
    rows = Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width)).transpose(turn)
    order = np.asarray(rows)
    return values.reshape(height * width, *values.shape[2:])[order.ravel()].reshape(*order.shape, *values.shape[2:])


def _grey_values(image: Image.Image, opened: Image.Image) -> np.ndarray:
    """(H, W) of the values of a grey image; TIFF's whole numbers of 32 bits are unsigned unless it says so."""
    values = np.asarray(image)
    tags = getattr(opened, "tag_v2", {})
    if image.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,):  # BitsPerSample, SampleFormat
        return values.view(np.uint32)
    return values


def _rgb(eight: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 -> (H, W, 3)."""
    return np.repeat(eight[..., None], 3, axis=2) if eight.ndim == 2 else eight
