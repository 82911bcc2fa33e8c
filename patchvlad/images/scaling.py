"""Pixel values of more than 8 bits (thermal, depth, floats) brought to eight, and whether a photo shows anything.

    v -> round(255 (v - LOW) / (HIGH - LOW)), clipped to [0, 255]

LOW and HIGH are the percentiles 1 and 99 of the photo's own finite values, so that a few dead pixels decide nothing; or
one range for a whole set, which a traverse needs: otherwise the same wall gets another grey in every photo.
"""

import logging
import math
import threading
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError, ImageError

log = logging.getLogger(__name__)

PERCENTILES = (1.0, 99.0)
FAINT = 8  # levels of 256 between the percentiles of a channel: below this a photo is noise, fog or night
PixelRange = tuple[float, float]  # LOW and HIGH, in the units of the file

_saying = threading.Lock()
_said: set[PixelRange | None] = set()  # ways of scaling that this process has told of


def checked_range(pixel_range: Sequence[float] | None) -> PixelRange | None:
    """Two numbers as they are, None for a range of each photo's own.

    Raises:
        ConfigError: they are not two finite numbers, the lower one first.
    """
    if pixel_range is None:
        return None
    try:
        low, high = (float(value) for value in pixel_range)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a pixel range is two numbers, LOW and HIGH, not {pixel_range!r}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"the pixel range {low:g} to {high:g} cannot be: give the lower value first, then the higher")
    return low, high


def eight_bits(values: np.ndarray, pixel_range: PixelRange | None, path: object) -> np.ndarray:
    """(H, W) or (H, W, C) of whole or floating numbers -> uint8 of the same shape; says once a process how.

    No number (NaN) becomes 0, like all that is below LOW; infinity becomes 255.

    Raises:
        ImageError: all values are equal, none is a finite number, or none lies within the range.
    """
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    if not finite.size:
        raise ImageError(f"{path} has no contrast: none of its values is a finite number: {_REMEDY}")
    least, most = float(finite.min()), float(finite.max())
    if least == most:
        raise ImageError(f"{path} has no contrast: all its values are {least:g}: {_REMEDY}")
    low, high = pixel_range or (float(value) for value in np.percentile(finite, PERCENTILES))
    if low == high:  # hardly anything differs, but something does
        low, high = least, most
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    found = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0), 0, 255).round().astype(np.uint8)
    if found.min() == found.max():
        raise ImageError(
            f"{path} has no contrast between {low:g} and {high:g}: its values are {least:g} to {most:g}. Give another "
            "--pixel-range, or leave the photo out"
        )
    _say(path, pixel_range, (low, high))
    return found


_REMEDY = "leave it out, or skip it with --skip-unreadable"


def _say(path: object, pixel_range: PixelRange | None, found: PixelRange) -> None:
    """Tells of the first photo that is scaled in a way how all such are."""
    with _saying:
        if pixel_range in _said:
            return
        _said.add(pixel_range)
    if pixel_range is not None:
        log.info("%s and others have more than 8 bits: %g to %g becomes black to white", path, *pixel_range)
        return
    log.warning(
        "%s and others have more than 8 bits: each photo is scaled by its own percentiles %g and %g, here %g to %g. "
        "Give --pixel-range LOW HIGH to scale all alike, which photos of one drive need",
        *(path, *PERCENTILES, *found),
    )


# --- contrast -------------------------------------------------------------------------------------------------------


def check_contrast(pixels: np.ndarray, path: object) -> None:
    """Raises ImageError if all pixels of (H, W, 3) are equal: such a photo shows no place, and matches any."""
    height, width = pixels.shape[:2]
    few = pixels[:: height // 8 + 1, :: width // 8 + 1]  # of nearly all photos these tell already
    if (few != pixels[0, 0]).any() or (pixels != pixels[0, 0]).any():
        return
    colour = ", ".join(map(str, pixels[0, 0]))
    raise ImageError(f"{path} has no contrast: all its pixels are ({colour}): {_REMEDY}")


def is_faint(pixels: np.ndarray) -> bool:
    """Whether (H, W, 3) uint8 has next to no contrast: such a photo is used, but whoever uses it says so."""
    height, width = pixels.shape[:2]
    few = pixels[:: height // 96 + 1, :: width // 96 + 1].reshape(-1, pixels.shape[2])
    low, high = np.percentile(few, PERCENTILES, axis=0)
    return bool((high - low).max() < FAINT)
