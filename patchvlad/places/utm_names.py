"""Positions in file names: `@easting@northing@zone@letter@lat@lon@panorama@tile@heading@...@.jpg`.

The convention of VPR-datasets-downloader (Berton et al. 2022).
"""

import os
from collections.abc import Callable

import numpy as np

from ..errors import GroundTruthError
from ..images.lists import ImageList
from ..images.sides import Sides
from . import geodesy
from .located import Located


def is_utm_name(name: str | os.PathLike) -> bool:
    """Whether a file name holds a position in UTM."""
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
        fields = name.rsplit("/", 1)[-1].split("@")[1:]
        if len(fields) < 3:
            raise GroundTruthError(
                f"{images.root / name}: the name holds no position; it should read @easting@northing@...@.jpg"
            )
        values = dict(enumerate(fields[:-1]))  # the last is the suffix
        utm.append([_number(values.get(0, "")), _number(values.get(1, ""))])
        try:
            zones.append(geodesy.zone_of_band(values.get(2, ""), values.get(3, "")))
        except ValueError as error:
            raise GroundTruthError(f"{images.root / name}: {error}") from error
        degrees.append([_number(values.get(4, "")), _number(values.get(5, ""))])
        headings.append(_number(values.get(8, "")))
    known = np.array(degrees, dtype=np.float64).reshape(-1, 2) if np.isfinite(degrees).all() else None
    utm_points = np.array(utm, dtype=np.float64).reshape(-1, 2)
    return Located(str(images.root), images.names, utm_points, tuple(zones), known, np.array(headings))


def _number(text: str) -> float:
    """NaN where there is none."""
    try:
        return float(text)
    except ValueError:
        return np.nan
