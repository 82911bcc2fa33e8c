"""Latitude and longitude, UTM, and metres from the Earth's centre (WGS84; pyproj does the mathematics)."""

import functools
import re
from collections.abc import Sequence

import numpy as np

EARTH_CENTRED = "EPSG:4978"


def earth_centred(degrees: np.ndarray) -> np.ndarray:
    """(N, 2) latitude and longitude -> (N, 3) metres from the Earth's centre, on the ellipsoid.

    Straight distances between these are those along the ground to a millionth within kilometres, everywhere, with none
    of the borders that UTM zones and the date line are.
    """
    return _project(degrees, EARTH_CENTRED)


def to_utm(degrees: np.ndarray, zone: str) -> np.ndarray:
    """(N, 2) latitude and longitude -> (N, 2) easting and northing in a zone such as "32N"."""
    return _project(degrees, _crs(zone))


def from_utm(utm: np.ndarray, zones: Sequence[str]) -> np.ndarray:
    """(N, 2) easting and northing, each in its zone -> (N, 2) latitude and longitude."""
    degrees = np.empty_like(utm)
    every = np.array(zones)
    for zone in sorted(set(zones)):
        here = every == zone
        longitude, latitude = _transformer(_crs(zone), "EPSG:4326").transform(*utm[here].T)
        degrees[here] = np.column_stack([latitude, longitude])
    return degrees


def zone_of_middle(degrees: np.ndarray) -> str:
    """The UTM zone of the mean direction from the Earth's centre, so that no border and no date line matters."""
    latitude, longitude = np.radians(degrees).T
    east = np.degrees(np.arctan2(np.sin(longitude).mean(), np.cos(longitude).mean()))
    return f"{int((east + 180) // 6) % 60 + 1}{'N' if np.mean(latitude) >= 0 else 'S'}"


def scale(degrees: np.ndarray, zone: str) -> np.ndarray:
    """(N,) metres of UTM a metre on the ground; infinite where the projection does not reach."""
    import pyproj

    factors = pyproj.Proj(_crs(zone)).get_factors(degrees[:, 1], degrees[:, 0])
    return np.nan_to_num(np.asarray(factors.meridional_scale), nan=np.inf)


def zone_name(digits: str, letter: str = "") -> str:
    """ "32N" of ("32", "U") or ("32U", ""): the letter is MGRS's latitude band, and N to X lie in the north.

    "32" where there is no letter, "" where there is no zone.
    """
    found = re.fullmatch(r"0*(\d{1,2})\s*([A-Za-z]?)", f"{digits}{letter}".strip())
    if found is None or not 1 <= int(found[1]) <= 60:
        return ""
    return found[1] + ("" if not found[2] else "N" if found[2].upper() >= "N" else "S")


def _crs(zone: str) -> str:
    return f"EPSG:{(32600 if zone[-1] == 'N' else 32700) + int(zone[:-1])}"


def _project(degrees: np.ndarray, target: str) -> np.ndarray:
    heights = (np.zeros(len(degrees)),) if target == EARTH_CENTRED else ()
    source = "EPSG:4979" if heights else "EPSG:4326"
    return np.column_stack(_transformer(source, target).transform(degrees[:, 1], degrees[:, 0], *heights))


@functools.cache
def _transformer(source: str, target: str):
    import pyproj

    return pyproj.Transformer.from_crs(source, target, always_xy=True)
