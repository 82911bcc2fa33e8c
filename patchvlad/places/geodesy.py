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
    """(N,) metres of UTM per metre on the ground; infinite where the projection does not reach."""
    import pyproj

    factors = pyproj.Proj(_crs(zone)).get_factors(degrees[:, 1], degrees[:, 0])
    return np.nan_to_num(np.asarray(factors.meridional_scale), nan=np.inf)


def zone_of_band(digits: str, band: str = "") -> str:
    """ "32N" of ("32", "U"), MGRS's latitude band, of which N to X lie in the north.

    "32" where there is no letter, "" where there is no zone.

    Raises:
        ValueError: there are digits, but of no zone, or something else than a letter beside them.
    """
    band = band.strip().upper()
    if not re.fullmatch("[A-Z]?", band):
        raise ValueError(f"{band!r} is not the letter of a UTM zone: bands are C to X, or N and S")
    if not digits.strip():
        return ""
    found = re.fullmatch(r"0*(\d{1,2})(?:\.0)?", digits.strip())
    if found is None or not 1 <= int(found[1]) <= 60:
        raise ValueError(f"{digits!r} is no UTM zone: zones are 1 to 60")
    return found[1] + ("" if not band else "N" if band >= "N" else "S")


def zone_of_text(text: str) -> str:
    """ "32N" of "32N", "32 north", "UTM 32N", "EPSG:32632", or "32U" with MGRS's band; S is the southern hemisphere.

    "32" of "32" and "32.0", "" of nothing.

    Raises:
        ValueError: it is no zone.
    """
    plain = text.strip().upper().removeprefix("WGS 84 / ").removeprefix("WGS84 / ")
    code = re.fullmatch(r"(?:EPSG:)?32([67])(\d\d)", plain)
    if code is not None and 1 <= int(code[2]) <= 60:
        return f"{int(code[2])}{'N' if code[1] == '6' else 'S'}"
    found = re.fullmatch(r"(?:UTM)?\s*(?:ZONE)?\s*0*(\d{1,2})(?:\.0)?\s*(NORTH|SOUTH|[C-HJ-NP-X])?", plain)
    if plain in ("", "NAN", "NONE"):
        return ""
    if found is None or not 1 <= int(found[1]) <= 60:
        raise ValueError(f"{text!r} is no UTM zone: it should read 32N, or 32S in the southern hemisphere")
    if not found[2]:
        return found[1]
    return found[1] + (found[2][0] if found[2] in ("N", "S", "NORTH", "SOUTH") else "N" if found[2] > "N" else "S")


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
