"""Where photos were taken, in metres: from file names, EXIF, tables and MSLS; all photos in one frame.

Degrees and UTM of different zones become UTM of the zone in the photos' middle, where its scale is true to a
thousandth; for photos that lie further apart, metres from the Earth's centre, whose straight distances are those along
the ground to a thousandth up to 1,000 km, everywhere.
"""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from ..errors import GroundTruthError
from ..features.images import ImageList
from . import geodesy
from .names import finder, read_table, to_number

log = logging.getLogger(__name__)

TRUE_SCALE = 1e-3  # by which a metre of UTM may differ from one on the ground
BAND_S = 3.5e6, 4.45e6  # northings of MGRS's band S, 32 to 40 degrees north
WIDE = 400e3  # metres of easting, more than photos of one town and of its zone have
FAR, NEAR = 500e3, 50e3  # metres: database and queries are further apart than this, and would be nearer swapped


@dataclass(frozen=True)
class Located:
    """Where N photos were taken, as their source says it: in UTM, in degrees, or both.

    Attributes:
        source: file or folder, for messages.
        names: (N) of the photos, for messages.
        utm: (N, 2) easting and northing in metres, or None.
        zones: (N) such as "32N"; "32" where the hemisphere is not known, "" where the zone is not.
        degrees: (N, 2) latitude and longitude, WGS84, or None.
        headings: (N,) degrees clockwise from north, NaN where unknown.
    """

    source: str
    names: tuple[str, ...]
    utm: np.ndarray | None
    zones: tuple[str, ...]
    degrees: np.ndarray | None
    headings: np.ndarray

    def check(self) -> "Located":
        """Raises GroundTruthError for a photo without a position, or one that is not on Earth."""
        values = self.utm if self.utm is not None else self.degrees
        assert values is not None
        for row in np.flatnonzero(~np.isfinite(values).all(axis=1))[:1]:
            missing = int((~np.isfinite(values).all(axis=1)).sum())
            raise GroundTruthError(
                f"{self.source}: {self.names[row]} has no position ({missing} of {len(values)} have none): "
                "give it one, or leave it out"
            )
        if self.utm is None:
            for row in np.flatnonzero((np.abs(values) > (90, 180)).any(axis=1))[:1]:
                swapped = " Latitude and longitude seem to be swapped." if abs(values[row, 1]) <= 90 else ""
                raise GroundTruthError(
                    f"{self.source}: {self.names[row]} lies at {values[row, 0]:g}, {values[row, 1]:g}, which is no "
                    f"latitude and longitude in degrees.{swapped}"
                )
        return self


def in_one_frame(queries: Located, database: Located) -> tuple[np.ndarray, np.ndarray, str]:
    """Both as points of one frame, in metres.

    Returns:
        (Q, 2) and (B, 2) of UTM, or (Q, 3) and (B, 3) from the Earth's centre; the frame in words.

    Raises:
        GroundTruthError: a photo has no position, or the zones of UTM are unknown where they must be known.
    """
    both = (queries.check(), database.check())
    if all(side.utm is not None for side in both):
        zones = sorted({zone for side in both for zone in side.zones}, key=len)
        if all(zone in (zones[-1], zones[-1].rstrip("NS")) for zone in zones) and (len(zones) <= 1 or zones[0]):
            points = [side.utm for side in both if side.utm is not None]
            _warn_if_strange(points[0], points[1], queries.source, bool(zones and zones[-1]))
            return points[0], points[1], f"UTM zone {zones[-1]}" if zones and zones[-1] else "UTM"
    degrees = _degrees(queries), _degrees(database)
    _warn_if_swapped_degrees(degrees[0], degrees[1], queries.source)
    every = np.concatenate(degrees)
    if not len(every):
        return np.zeros((0, 2)), np.zeros((0, 2)), "UTM"
    zone = geodesy.zone_of_middle(every)
    if np.abs(geodesy.scale(every, zone) - 1).max() <= TRUE_SCALE:
        return geodesy.to_utm(degrees[0], zone), geodesy.to_utm(degrees[1], zone), f"UTM zone {zone}"
    earth = [geodesy.earth_centred(values) for values in degrees]
    return earth[0], earth[1], "metres from the Earth's centre"


# --- sources --------------------------------------------------------------------------------------------------------


def from_names(images: ImageList) -> Located:
    """UTM in file names: `@easting@northing@zone@letter@lat@lon@panorama@tile@heading@...@.jpg`; fields may be empty.

    The convention of VPR-datasets-downloader (Berton et al. 2022).
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
        zones.append(geodesy.zone_of_band(values.get(2, ""), values.get(3, "")))
        degrees.append([_number(values.get(4, "")), _number(values.get(5, ""))])
        headings.append(_number(values.get(8, "")))
    known = _pairs(degrees) if np.isfinite(degrees).all() else None
    return Located(str(images.root), images.names, _pairs(utm), tuple(zones), known, np.array(headings))


def from_exif(images: ImageList, progress: Callable[[int, int], None] | None = None) -> Located:
    """GPS in EXIF: latitude and longitude, and the direction of the photo where it is given.

    Raises:
        GroundTruthError: a photo cannot be read or knows no position.
    """
    degrees, headings = [], []
    with ThreadPoolExecutor() as pool:
        for row, found in enumerate(pool.map(_gps, (images.path(row) for row in range(len(images))))):
            degrees.append(found[:2])
            headings.append(found[2])
            if progress:
                progress(row + 1, len(images))
    return Located(str(images.root), images.names, None, (), _pairs(degrees), np.array(headings))


def from_table(tables: Sequence[Path], images: ImageList, kind: str) -> Located:
    """A csv with columns image and either lat and lon, or easting and northing (and zone); heading if there.

    Args:
        tables: csv files that name the images.
        images: whose positions are wanted.
        kind: "queries" or "database", for messages.
    """
    rows = [row for path in tables for row in read_table(path, ("image",))]
    source = ", ".join(str(path) for path in tables)
    if not rows:
        raise GroundTruthError(f"{source} lists no photo: it needs a line for each, below the names of its columns")
    row_of = finder(source, kind, images.names, [row["image"] for row in rows], images.root)
    line: dict[int, dict[str, str]] = {}
    for values in rows:
        found = row_of(values["image"])
        if found is not None and line.setdefault(found, values) != values:
            raise GroundTruthError(f"{source} has two lines for {values['image']} that differ: leave one out")
    lacking = [name for row, name in enumerate(images.names) if row not in line]
    if lacking:
        raise GroundTruthError(
            f"{source} has no line for {len(lacking)} of {len(images)} images of the {kind}, such as {lacking[0]}"
        )
    chosen = [line[row] for row in range(len(images))]
    headings = np.array([to_number(values, "heading") for values in chosen])
    columns = set.intersection(*(set(values) for values in chosen))
    if {"easting", "northing"} <= columns:
        utm = [[to_number(values, "easting"), to_number(values, "northing")] for values in chosen]
        try:
            zones = tuple(geodesy.zone_of_text(values.get("zone", "")) for values in chosen)
        except ValueError as error:
            raise GroundTruthError(f"{source}: {error}") from error
        for values, zone, (_, north) in zip(chosen, zones, utm, strict=True):
            if values.get("zone", "").upper().endswith("S") and BAND_S[0] < north < BAND_S[1]:
                log.warning("%s: zone %s is taken for the southern hemisphere, not for MGRS's band S", source, zone)
                break
        return Located(source, images.names, _pairs(utm), zones, None, headings)
    if {"lat", "lon"} <= columns:
        degrees = [[to_number(values, "lat"), to_number(values, "lon")] for values in chosen]
        return Located(source, images.names, None, (), _pairs(degrees), headings)
    raise GroundTruthError(
        f"{source} has the columns {', '.join(chosen[0])}: positions need lat and lon, or easting and northing, the "
        "same for all images of a list"
    )


def from_msls(images: ImageList, kind: str) -> Located:
    """MSLS: for `<city>/query/images/KEY.jpg` the line of KEY in `<city>/query/postprocessed.csv`."""
    folders = sorted({(images.root / name).parent.parent for name in images.names})
    known: dict[tuple[Path, str], dict[str, str]] = {}
    for folder in folders:
        table = folder / "postprocessed.csv"
        if not table.is_file():
            raise GroundTruthError(
                f"{table} does not exist: for MSLS the {kind} must lie in <city>/query/images or "
                "<city>/database/images, and root must lead there"
            )
        known |= {(folder, row["key"]): row for row in read_table(table, ("key", "easting", "northing"))}
    utm, cities = [], []
    for name in images.names:
        path = images.root / name
        row = known.get((path.parent.parent, path.stem))
        if row is None:
            raise GroundTruthError(f"{path.parent.parent / 'postprocessed.csv'} has no line for {path.stem}")
        utm.append([to_number(row, "easting"), to_number(row, "northing")])
        cities.append(path.parent.parent.parent.name)
    nowhere = np.full(len(utm), np.nan)
    return Located(str(images.root), images.names, _pairs(utm), tuple(cities), None, nowhere)


def apart(queries: Located, database: Located) -> tuple[Located, Located]:
    """Cities of MSLS, whose zones differ and are not told, moved 10,000 km apart each: they are searched one by one."""
    order = {city: row for row, city in enumerate(sorted({*queries.zones, *database.zones}))}

    def moved(side: Located) -> Located:
        assert side.utm is not None
        offset = np.array([[1e7 * order[city], 0.0] for city in side.zones]).reshape(-1, 2)
        return replace(side, utm=side.utm + offset, zones=("of each city",) * len(side.zones))

    return moved(queries), moved(database)


# --- EXIF and UTM ---------------------------------------------------------------------------------------------------


def _gps(path: Path) -> tuple[float, float, float]:
    """Latitude, longitude, direction of one photo; NaN where it does not say."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            with Image.open(path) as opened:
                tags = opened.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    except FileNotFoundError as error:
        raise GroundTruthError(f"{path} does not exist: check the path") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GroundTruthError(f"{path} cannot be read as an image ({error}): repair it or leave it out") from error
    latitude = _sexagesimal(tags.get(ExifTags.GPS.GPSLatitude), tags.get(ExifTags.GPS.GPSLatitudeRef), "NS")
    longitude = _sexagesimal(tags.get(ExifTags.GPS.GPSLongitude), tags.get(ExifTags.GPS.GPSLongitudeRef), "EW")
    if latitude == longitude == 0:  # what cameras write that have not found out
        latitude = longitude = np.nan
    return latitude, longitude, _number(tags.get(ExifTags.GPS.GPSImgDirection))


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


def _pairs(values: list) -> np.ndarray:
    return np.array(values, dtype=np.float64).reshape(-1, 2)


def _degrees(side: Located) -> np.ndarray:
    """(N, 2) latitude and longitude of positions in whatever zones."""
    if side.degrees is not None:
        return side.degrees
    assert side.utm is not None
    unknown = [name for name, zone in zip(side.names, side.zones, strict=True) if zone[-1:] not in ("N", "S")]
    if unknown:
        raise GroundTruthError(
            f"{side.source}: these photos lie in different UTM zones, and {unknown[0]} does not say in which, with the "
            "letter of its hemisphere: name all zones, or give latitudes and longitudes"
        )
    return geodesy.from_utm(side.utm, side.zones)


def _warn_if_swapped_degrees(queries: np.ndarray, database: np.ndarray, source: str) -> None:
    """Two sets of photos on two continents, that would lie in one town if one's columns were swapped."""
    if not len(queries) or not len(database) or (np.abs(queries[:, 1]) > 90).any():
        return
    there = geodesy.earth_centred(database)
    given, swapped = (_gap(geodesy.earth_centred(side), there) for side in (queries, queries[:, ::-1]))
    if given > FAR and swapped < NEAR:
        log.warning(
            "%s: queries and database lie %.0f km apart, and would meet if latitude and longitude were swapped in one "
            "of them: check the columns",
            source,
            given / 1000,
        )


def _warn_if_strange(queries: np.ndarray, database: np.ndarray, source: str, zoned: bool) -> None:
    """Likewise for easting and northing; and for those that can hardly be metres of one zone."""
    if not len(queries) or not len(database):
        return
    given, swapped = _gap(queries, database), _gap(queries[:, ::-1], database)
    if given > FAR and swapped < NEAR:
        log.warning(
            "%s: queries and database lie %.0f km apart, and would meet if easting and northing were swapped in one of "
            "them: check the columns",
            source,
            given / 1000,
        )
    if zoned:
        return
    if np.ptp(np.concatenate([queries, database])[:, 0]) > WIDE:
        log.warning("%s: eastings differ by more than a UTM zone is wide: name the zones if there are several", source)
    every = np.abs(np.concatenate([queries, database]))
    if (every <= (90, 180)).all() and (every % 1).any() and np.ptp(every, axis=0).max() < 1:
        log.warning("%s: eastings and northings this small look like degrees: metres are expected", source)


def _gap(queries: np.ndarray, database: np.ndarray) -> float:
    """Metres between the middles of two sets."""
    return float(np.linalg.norm(np.median(queries, axis=0) - np.median(database, axis=0)))


def is_utm_name(name: str | os.PathLike) -> bool:
    """Whether a file name holds a position in UTM."""
    return len(os.path.basename(name).split("@")) > 3
