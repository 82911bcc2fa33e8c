"""When photos were taken: in a table, in EXIF, or in their names."""

import datetime
import logging
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import ExifTags

from ..errors import GroundTruthError
from ..images.lists import ImageList
from ..images.pixels import opened_image
from ..images.sides import Sides
from .position_tables import read_table, rows_of

log = logging.getLogger(__name__)

COLUMNS = ("time", "timestamp", "datetime", "date")  # of tables
_UNITS = {19: 1e9, 16: 1e6, 13: 1e3, 10: 1.0}  # digits of a time since 1970 in nano-, micro-, milli-, and seconds
_SINCE_1970 = re.compile(r"(?:.*\D)?(\d{19}|\d{16}|\d{13}|\d{10}(?:[._]\d{1,9})?)")
_DATE = re.compile(
    r"(?:.*\D)?((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_.T ]?(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)(?:[-_.,](\d{1,6}))?\D*"
)


def times_of(images: Sides[ImageList], source: Path | str | None = None) -> Sides[np.ndarray]:
    """Seconds of both sides, (Q,) and (B,).

    Args:
        images: photos.
        source: a csv with the columns image and time (seconds since any moment, or ISO 8601), "exif", or "names"; None
            takes names where all of them hold a time, else EXIF.

    Raises:
        GroundTruthError: a photo has no time there.
    """
    if source is None:
        source = "names" if all(math.isfinite(_in_name(name)) for side in images for name in side.names) else "exif"
        log.info("times of photos are taken from %s", "their names" if source == "names" else "EXIF")
    if source == "names":
        found = images.map(lambda side: np.array([_in_name(name) for name in side.names], dtype=np.float64))
    elif source == "exif":
        found = images.map(_in_exif)
    else:
        found = Sides(*(_in_table(Path(source), kind, side) for kind, side in images.items()))
    for side, times in zip(images, found, strict=True):
        unknown = np.flatnonzero(~np.isfinite(times))
        if len(unknown):
            raise GroundTruthError(
                f"{source}: {side.path(int(unknown[0]))} has no time there ({len(unknown)} of {len(side)} have none): "
                "give a csv with the columns image and time, or exif, or names"
            )
    return found


def seconds_of(text: str) -> float:
    """Seconds of a number since any moment, in nano-, micro-, milli- or seconds, or of an ISO 8601 date and time."""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        try:
            return datetime.datetime.fromisoformat(text).timestamp()
        except ValueError:
            return math.nan
    return value / _UNITS.get(len(text.split(".")[0]), 1.0)


def _in_table(path: Path, kind: str, images: ImageList) -> np.ndarray:
    rows = read_table(path, ("image",))
    column = next((name for name in COLUMNS if rows and name in rows[0]), None)
    if column is None:
        raise GroundTruthError(f"{path} has no column {' or '.join(COLUMNS)}: it needs image and time")
    lines = rows_of(rows, str(path), images, kind)
    return np.array([seconds_of(row[column]) for row in lines], dtype=np.float64)


def _in_name(name: str) -> float:
    """Seconds of a time in a file name, such as 1403636579763555584 or IMG_20150821_123456; NaN where there is none."""
    stem = PurePosixPath(name).stem
    date = _DATE.fullmatch(stem)
    if date is not None:
        fraction = float(f"0.{date[7]}") if date[7] else 0.0
        try:
            moment = datetime.datetime(*(int(part) for part in date.groups()[:6]), tzinfo=datetime.UTC)  # type: ignore
        except ValueError:
            return math.nan
        return moment.timestamp() + fraction
    found = _SINCE_1970.fullmatch(stem)
    return seconds_of(found[1].replace("_", ".")) if found else math.nan


def _in_exif(images: ImageList) -> np.ndarray:
    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(_taken, (images.path(row) for row in range(len(images))))), dtype=np.float64)


def _taken(path: Path) -> float:
    with opened_image(path) as opened:
        exif = opened.getexif()
        tags = exif.get_ifd(ExifTags.IFD.Exif)
    text = tags.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    fraction = str(tags.get(ExifTags.Base.SubsecTimeOriginal) or "").strip("\0 ")
    try:
        moment = datetime.datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return math.nan
    return moment.replace(tzinfo=datetime.UTC).timestamp() + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)
