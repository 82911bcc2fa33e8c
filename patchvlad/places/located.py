"""Where photos were taken, and all photos in one frame, in metres.

Degrees and UTM of different zones become UTM of the zone in the photos' middle, where its scale is true to a
thousandth; for photos that lie further apart, metres from the Earth's centre, whose straight distances are those along
the ground to a thousandth up to 1,000 km, everywhere.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np

from ..errors import GroundTruthError
from ..images.sides import Sides
from . import geodesy
from .degrees import order_of_degrees

log = logging.getLogger(__name__)

TRUE_SCALE = 1e-3  # by which a metre of UTM may differ from one on the ground
WIDE = 400e3  # metres of easting, more than photos of one town and of its zone have
SMALLEST = 0.1  # metres of a radius: what is smaller beside degrees is degrees too
OWN = "of its own"  # in place of a zone: metres of a frame that is not UTM
FAR, NEAR = 500e3, 50e3  # metres: database and queries are further apart than this, and would be nearer swapped


@dataclass(frozen=True)
class Located:
    """Where N photos were taken, as their source says it: in UTM, in degrees, or both.

    Attributes:
        source: file or folder, for messages.
        names: (N) of the photos, for messages.
        utm: (N, 2) easting and northing in metres, or None.
        zones: (N) such as "32N"; "32" where the hemisphere is not known, "" where the zone is not; OWN of metres in
            another frame than UTM.
        degrees: (N, 2) latitude and longitude, WGS84, or None.
        headings: (N,) degrees clockwise from north, NaN where unknown.
        absent: (N) why a photo has no position, in words; empty where nothing is known of that.
    """

    source: str
    names: tuple[str, ...]
    utm: np.ndarray | None
    zones: tuple[str, ...]
    degrees: np.ndarray | None
    headings: np.ndarray
    absent: tuple[str, ...] = ()

    def check(self) -> "Located":
        """Raises GroundTruthError for a photo without a position, or one that is not on Earth."""
        values = self.utm if self.utm is not None else self.degrees
        assert values is not None
        for row in np.flatnonzero(~np.isfinite(values).all(axis=1))[:1]:
            missing = int((~np.isfinite(values).all(axis=1)).sum())
            why = f", as {self.absent[row]}" if self.absent else ""
            raise GroundTruthError(
                f"{self.source}: {self.names[row]} has no position ({missing} of {len(values)} have none){why}: "
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


def in_one_frame(located: Sides[Located]) -> tuple[Sides[np.ndarray], str]:
    """Both sides as points of one frame, in metres.

    Returns:
        (Q, 2) and (B, 2) of UTM, or (Q, 3) and (B, 3) from the Earth's centre; the frame in words.

    Raises:
        GroundTruthError: a photo has no position, or the zones of UTM are unknown where they must be known.
    """
    both = degrees_said(located).map(Located.check)
    source = located.queries.source
    if all(side.utm is not None for side in both):
        zones = sorted({zone for side in both for zone in side.zones}, key=len)
        if all(zone in (zones[-1], zones[-1].rstrip("NS")) for zone in zones) and (len(zones) <= 1 or zones[0]):
            queries, database = (side.utm for side in both if side.utm is not None)
            _warn_if_strange(queries, database, source, bool(zones and zones[-1]))
            return Sides(queries, database), f"UTM zone {zones[-1]}" if zones and zones[-1] else "UTM"
    degrees = both.map(_degrees)
    _warn_of_nowhere(both, degrees)
    _warn_if_swapped_degrees(degrees.queries, degrees.database, source)
    every = np.concatenate(list(degrees))
    if not len(every):
        return Sides(np.zeros((0, 2)), np.zeros((0, 2))), "UTM"
    zone = geodesy.zone_of_middle(every)
    if np.abs(geodesy.scale(every, zone) - 1).max() <= TRUE_SCALE:
        return degrees.map(lambda values: geodesy.to_utm(values, zone)), f"UTM zone {zone}"
    return degrees.map(geodesy.earth_centred), "metres from the Earth's centre"


def degrees_said(located: Sides[Located]) -> Sides[Located]:
    """The same, with degrees that were taken for easting and northing as degrees, which is said in a line.

    Both sides are looked at together, as one of them may have a single photo; where they are not alike, one by one.
    """
    judged = [side.utm for side in located if side.utm is not None and OWN not in side.zones]
    order = order_of_degrees(np.concatenate(judged)) if judged else None
    made, said = [], {}
    for side in located:
        if side.utm is None or OWN in side.zones:
            made.append(side)
            continue
        columns = order or order_of_degrees(side.utm)
        made.append(side if columns is None else replace(side, utm=None, zones=(), degrees=side.utm[:, list(columns)]))
        if columns is not None:
            said[side.source] = "latitude, longitude" if columns == (0, 1) else "longitude, latitude"
    for source, columns_said in said.items():
        log.info(
            "%s: eastings and northings are degrees, by their range and spread: read as %s. Otherwise give a csv with "
            "the columns image and lat, lon, or x, y for metres of a frame of its own",
            source,
            columns_said,
        )
    return Sides(*made)


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


def in_metres(sides: Sides[np.ndarray], radius: float, source: object) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a file that should hold metres, (Q, d) and (B, d): degrees become metres, which is said.

    Raises:
        GroundTruthError: they are degrees, and so is the radius.
    """
    if any(side.ndim != 2 or side.shape[1] != 2 for side in sides):
        return sides.queries, sides.database

    def located(side: np.ndarray) -> Located:
        names = tuple(f"row {row}" for row in range(len(side)))
        return Located(str(source), names, side, ("",) * len(side), None, np.full(len(side), np.nan))

    said = degrees_said(sides.map(located))
    if any(side.degrees is None for side in said):
        return sides.queries, sides.database
    if radius < SMALLEST:
        raise GroundTruthError(f"positions are degrees, and a radius of {radius:g} is not in metres: give --radius")
    points, _ = in_one_frame(said)
    return points.queries, points.database


def _warn_of_nowhere(sides: Sides[Located], degrees: Sides[np.ndarray]) -> None:
    """Photos at latitude and longitude 0, in the Gulf of Guinea, where many a tool puts those it knows nothing of."""
    nowhere = degrees.map(lambda values: np.flatnonzero((values == 0).all(axis=1)))
    if all(len(rows) == len(values) for rows, values in zip(nowhere, degrees, strict=True)):
        return  # this is said of all positions that are equal
    for side, rows in zip(sides, nowhere, strict=True):
        if len(rows):
            log.warning(
                "%s: %d of %d photos, such as %s, lie at latitude 0 and longitude 0: such photos have no position, and "
                "are better left out",
                *(side.source, len(rows), len(side.names), side.names[rows[0]]),
            )


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


def _gap(queries: np.ndarray, database: np.ndarray) -> float:
    """Metres between the middles of two sets."""
    return float(np.linalg.norm(np.median(queries, axis=0) - np.median(database, axis=0)))
