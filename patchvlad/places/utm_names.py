"""Positions in file names: `@easting@northing@zone@letter@lat@lon@panorama@tile@heading@...@.jpg`.

The convention of VPR-datasets-downloader (Berton et al. 2022). Aerial sets write degrees, `@longitude@latitude@.png`,
perhaps behind a word or a time, and tiles of a map by two corners, `@map@longitude@latitude@longitude@latitude@.png`,
whose middle counts; which numbers are degrees is found out in `located`, of all names together.
"""

import functools
import math
import os
from collections.abc import Callable

import numpy as np

from ..errors import GroundTruthError
from ..images.lists import ImageList
from ..images.sides import Sides
from . import geodesy
from .located import Located

SHORT = 0.1  # of the distance to the origin: corners of a tile are nearer to each other
STAMPS = 1e9  # and more: seconds since 1970, and no easting


def is_utm_name(name: str | os.PathLike) -> bool:
    """Whether a file name holds a position."""
    return len(os.path.basename(name).split("@")) > 3


def locate(images: Sides[ImageList], progress: Callable[[int, int], None] | None = None) -> Sides[Located]:
    """Positions of both sides."""
    return images.map(from_names)


def from_names(images: ImageList) -> Located:
    """Positions of the images; fields of their names may be empty.

    Raises:
        GroundTruthError: a name holds no position, or an invalid zone.
    """
    utm, zones, degrees, headings = [], [], [], []
    for name in images.names:
        fields = _fields(name)
        if fields is None:
            raise GroundTruthError(
                f"{images.root / name}: the name holds no position; it should read @easting@northing@...@.jpg"
            )
        try:
            position, zone = _position(fields)
        except ValueError as error:
            raise GroundTruthError(f"{images.root / name}: {error}") from error
        utm.append(position)
        zones.append(zone)
        degrees.append([_number(fields[4]), _number(fields[5])])
        headings.append(_number(fields[8]))
    known = np.array(degrees, dtype=np.float64).reshape(-1, 2) if np.isfinite(degrees).all() else None
    utm_points = np.array(utm, dtype=np.float64).reshape(-1, 2)
    return Located(str(images.root), images.names, utm_points, tuple(zones), known, np.array(headings))


def _fields(name: str) -> list[str] | None:
    """The first nine fields at least, from the easting on, without the word or time before it; None of other names."""
    fields = name.rsplit("/", 1)[-1].split("@")[1:-1]  # the last is the suffix
    if len(fields) > 2 and fields[0].strip() and not abs(_number(fields[0])) < STAMPS:
        fields = fields[1:]
    return None if len(fields) < 2 else fields + [""] * (9 - len(fields))


def _position(fields: list[str]) -> tuple[tuple[float, float], str]:
    """Easting and northing, and the zone.

    Raises:
        ValueError: the third and fourth field are no zone and letter, nor the other corner of a tile.
    """
    first = _number(fields[0]), _number(fields[1])
    second = _number(fields[2]), _number(fields[3])
    if all(map(math.isfinite, (*first, *second))):
        if max(abs(a - b) for a, b in zip(first, second, strict=True)) > SHORT * max(map(abs, first)):
            raise ValueError(f"{fields[2]!r}, {fields[3]!r} are neither a UTM zone and letter nor a corner of a tile")
        return ((first[0] + second[0]) / 2, (first[1] + second[1]) / 2), ""
    return first, _zone(fields[2], fields[3])


_zone = functools.lru_cache(geodesy.zone_of_band)


def _number(text: str) -> float:
    """NaN where there is none."""
    if not text:
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan
