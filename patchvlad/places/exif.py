"""Positions in EXIF: GPS latitude and longitude, and the direction of the photo where it is given."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import ExifTags

from ..images.lists import ImageList
from ..images.pixels import opened_image
from ..images.sides import Sides
from .located import Located

NEEDED = (
    *(ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef),
    *(ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef),
)


def locate(images: Sides[ImageList], progress: Callable[[int, int], None] | None = None) -> Sides[Located]:
    """Positions of both sides, read in one go."""
    every = from_exif(ImageList.join(list(images)), progress)
    assert every.degrees is not None

    def part(side: ImageList, rows: slice) -> Located:
        degrees, headings = every.degrees, every.headings[rows]
        assert degrees is not None
        return replace(
            every,
            source=str(side.root),
            names=side.names,
            degrees=degrees[rows],
            headings=headings,
            absent=every.absent[rows],
        )

    first = len(images.queries)
    return Sides(part(images.queries, slice(0, first)), part(images.database, slice(first, None)))


def from_exif(images: ImageList, progress: Callable[[int, int], None] | None = None) -> Located:
    """Positions of the images; NaN for photos that do not know theirs.

    Args:
        images: photos with EXIF.
        progress: called with (photos read, photos in all).

    Raises:
        ImageError: a photo cannot be read.
    """
    degrees, headings, absent = [], [], []
    with ThreadPoolExecutor() as pool:
        for row, found in enumerate(pool.map(_gps, (images.path(row) for row in range(len(images))))):
            degrees.append(found[:2])
            headings.append(found[2])
            absent.append(found[3])
            if progress:
                progress(row + 1, len(images))
    points = np.array(degrees, dtype=np.float64).reshape(-1, 2)
    return Located(str(images.root), images.names, None, (), points, np.array(headings), tuple(absent))


def _gps(path: Path) -> tuple[float, float, float, str]:
    """Latitude, longitude, direction of one photo, NaN where it does not say; and why it says no position."""
    with opened_image(path) as opened:
        exif = opened.getexif()
        tags = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude = _sexagesimal(tags.get(ExifTags.GPS.GPSLatitude), tags.get(ExifTags.GPS.GPSLatitudeRef), "NS")
    longitude = _sexagesimal(tags.get(ExifTags.GPS.GPSLongitude), tags.get(ExifTags.GPS.GPSLongitudeRef), "EW")
    why = ""
    if latitude == longitude == 0:  # what cameras write that have not found out
        latitude = longitude = np.nan
        why = "its EXIF says latitude 0 and longitude 0, as cameras do that have no fix"
    elif not np.isfinite((latitude, longitude)).all():
        why = _why(len(exif) + len(tags), tags)
    return latitude, longitude, _number(tags.get(ExifTags.GPS.GPSImgDirection)), why


def _why(count: int, tags: Mapping[int, object]) -> str:
    """What a photo's EXIF of so many tags lacks."""
    if not count:
        return "it has no EXIF"
    if not tags:
        return "its EXIF has no GPS tags"
    absent = [tag.name for tag in NEEDED if tags.get(tag) in (None, "", b"", ())]
    return f"its EXIF has no {', '.join(absent)}" if absent else "its GPS tags are not degrees, minutes and seconds"


def _sexagesimal(parts: object, hemisphere: object, letters: str) -> float:
    """Degrees, minutes and seconds as degrees, by the hemisphere's letter, the first or second of `letters`."""
    text = hemisphere.decode("latin-1") if isinstance(hemisphere, bytes) else str(hemisphere or "")
    letter = text.strip("\0 ").upper()[:1]
    if not isinstance(parts, tuple | list) or not 1 <= len(parts) <= 3 or not letter or letter not in letters:
        return np.nan
    value = sum(_number(part) / 60**power for power, part in enumerate(parts))
    return -value if letter == letters[1] else value


def _number(value: object) -> float:
    """Of a text or a fraction; NaN where it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return np.nan
