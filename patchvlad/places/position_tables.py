"""Positions and labels in tables: a csv with a line per photo.

Columns: `image`, and `lat` and `lon`, or `easting` and `northing` (and `zone`), or `x` and `y` (metres of another
frame), or `place`; `heading` if there.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError
from ..files import csv_rows
from ..files.csv_rows import Row, to_number
from ..images.lists import ImageList
from ..images.names import finder
from . import geodesy
from .located import OWN, Located

log = logging.getLogger(__name__)

ALIASES = {  # our names of columns, and others, the preferred ones first
    "image": (
        *("filename", "file_name", "image_name", "image_path", "filepath", "file_path", "file", "path", "img", "name"),
    ),
    "lat": ("latitude", "gps_latitude", "gpslatitude", "gps_lat"),
    "lon": ("longitude", "lng", "long", "gps_longitude", "gpslongitude", "gps_lon", "gps_lng"),
    "easting": ("utm_easting", "utm_east", "utm_e"),
    "northing": ("utm_northing", "utm_north", "utm_n"),
    "zone": ("utm_zone",),
    "heading": ("bearing", "azimuth", "compass_angle"),
    "place": ("place_id", "label"),
}
BAND_S = 3.5e6, 4.45e6  # northings of MGRS's band S, 32 to 40 degrees north


def read_table(path: Path, needed: Sequence[str]) -> list[Row]:
    """The lines of a csv, see `files.csv_rows.read_table`; columns under the names that are used here."""
    return csv_rows.read_table(path, needed, ALIASES)


def columns_of(path: Path) -> list[str]:
    """The columns of a csv, under the names that are used here."""
    return csv_rows.columns_of(path, ALIASES)


def read_tables(paths: Sequence[Path]) -> tuple[list[Row], str]:
    """The lines of several csv, and their names for messages.

    Raises:
        GroundTruthError: one cannot be read or names no images, or there is no line.
    """
    rows = [row for path in paths for row in read_table(path, ("image",))]
    source = ", ".join(str(path) for path in paths)
    if not rows:
        raise GroundTruthError(f"{source} lists no photo: it needs one line per photo, below the names of its columns")
    return rows, source


def rows_of(rows: Sequence[Row], source: str, images: ImageList, kind: str) -> list[Row]:
    """The line of each image.

    Args:
        rows: of tables that name the images.
        source: the tables, for messages.
        images: whose lines are wanted.
        kind: "queries" or "database", for messages.

    Raises:
        GroundTruthError: an image has no line, or two that differ.
    """
    row_of = finder(source, kind, images.names, [row["image"] for row in rows], images.root)
    line: dict[int, Row] = {}
    for values in rows:
        found = row_of(values["image"])
        if found is not None and line.setdefault(found, values) != values:
            raise GroundTruthError(f"{source} has two lines for {values['image']} that differ: leave one out")
    lacking = [name for row, name in enumerate(images.names) if row not in line]
    if lacking:
        raise GroundTruthError(
            f"{source} has no line for {len(lacking)} of {len(images)} images of the {kind}, such as {lacking[0]}"
        )
    return [line[row] for row in range(len(images))]


def located(rows: Sequence[Row], source: str, names: Sequence[str]) -> Located:
    """Where the images of these lines were taken.

    Args:
        rows: (N) lines.
        source: the tables, for messages.
        names: (N) of the images, for messages.

    Raises:
        GroundTruthError: the lines hold no positions, or an invalid zone.
    """
    headings = np.array([to_number(row, "heading") for row in rows])
    columns = set.intersection(*(set(row) for row in rows))
    if {"easting", "northing"} <= columns:
        utm = np.array([[to_number(row, "easting"), to_number(row, "northing")] for row in rows])
        return Located(source, tuple(names), utm, _zones(rows, source, utm), None, headings)
    if {"lat", "lon"} <= columns:
        degrees = np.array([[to_number(row, "lat"), to_number(row, "lon")] for row in rows])
        return Located(source, tuple(names), None, (), degrees, headings)
    if {"x", "y"} <= columns:
        own = np.array([[to_number(row, "x"), to_number(row, "y")] for row in rows])
        return Located(source, tuple(names), own, (OWN,) * len(rows), None, headings)
    raise GroundTruthError(
        f"{source} has the columns {', '.join(rows[0])}: positions need lat and lon, easting and northing, or x and y "
        "in metres, the same for all images of a list"
    )


def _zones(rows: Sequence[Row], source: str, utm: np.ndarray) -> tuple[str, ...]:
    try:
        said = [row.get("zone", "") for row in rows]
        zone = {text: geodesy.zone_of_text(text) for text in dict.fromkeys(said)}
    except ValueError as error:
        raise GroundTruthError(f"{source}: {error}") from error
    for text in zone:
        north = utm[[one == text for one in said], 1] if text.upper().endswith("S") else utm[:0, 1]
        if ((north > BAND_S[0]) & (north < BAND_S[1])).any():
            log.warning("%s: zone %s is taken for the southern hemisphere, not for MGRS's band S", source, zone[text])
            break
    return tuple(zone[text] for text in said)


def is_labelled(columns: Collection[str]) -> bool:
    """Whether a table of these columns holds labels of places, and no positions on Earth."""
    return "place" in columns and not {"easting", "northing"} <= set(columns) and not {"lat", "lon"} <= set(columns)


def labels(rows: Sequence[Row], source: str, names: Sequence[str]) -> list[str]:
    """The place label of each image.

    Raises:
        GroundTruthError: an image has none.
    """
    for row, name in zip(rows, names, strict=True):
        if not row.get("place"):
            raise GroundTruthError(f"{source} names no place for {name}: give it one, or leave it out")
    return [row["place"] for row in rows]
