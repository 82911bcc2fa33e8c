"""Training places from whatever there is: a layout of `places/registry.py`, a csv, or photos that know where they are.

MSLS              train_val|test/<city>/{query,database}/: raw, postprocessed, subtask_index.csv and images/
GSV-Cities        Dataframes/<City>.csv, Images/<City>/*.jpg
csv of positions  image and easting, northing (zone), x, y or lat, lon; heading, time, split and role if there
csv of labels     image and place; split and role if there
folder of photos  positions in their names (@easting@northing@...) or in EXIF; else a folder per place
"""

import datetime
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import ConfigError, GroundTruthError, ImageError
from ..files.csv_rows import Row
from ..images.list_files import as_on_disk
from ..images.lists import ImageList
from ..images.sides import Sides
from . import position_tables as tables
from .exif import from_exif
from .folder_labels import labels
from .located import Located, in_one_frame
from .nearby import label_points
from .radii import Reading
from .registry import LAYOUTS
from .training import Places, hold_out, in_halves
from .utm_names import from_names, is_utm_name

log = logging.getLogger(__name__)

PAUSE = 60.0  # seconds between positives where photos have times: those of one passage are near-duplicates


def read_places(dataset: str | os.PathLike, reading: Reading | None = None) -> tuple[Places, Places]:
    """Reads a dataset, whatever its layout.

    Returns:
        places to train on, places to validate on; the latter may have no queries.

    Raises:
        GroundTruthError: no such dataset, another layout than the known ones, or contents that cannot be.
        ConfigError: an option that does not go with the dataset.
    """
    reading = reading or Reading()
    training, validation = (
        replace(places, images=places.images.scaled(reading.pixel_range))
        for places in _read_places(Path(dataset), reading)
    )
    for said, places in ((dataset, training), (f"{dataset}, validation", validation)):
        places.check_telling(said)
    return training, validation


def _read_places(path: Path, reading: Reading) -> tuple[Places, Places]:
    if not 0 <= reading.validation < 1:
        raise ConfigError(f"a share of {reading.validation:g} cannot be held out: it must be at least 0 and below 1")
    if path.is_file():
        return _read_csv(path, reading)
    for marker in LAYOUTS:
        if (path / marker).is_dir():
            return LAYOUTS[marker](path, reading)
    if not path.exists():
        raise GroundTruthError(f"{path} does not exist: {KNOWN}")
    return _read_folder(path, reading)


KNOWN = (
    "give a csv with columns image and place, or image, easting and northing (or x and y), or image, lat and lon; a "
    "folder of MSLS (train_val/<city>/...); one of GSV-Cities (Dataframes/*.csv, Images/); or a folder of photos with "
    "positions in their names (@easting@northing@...) or EXIF, or with a folder per place"
)


def _read_folder(path: Path, reading: Reading) -> tuple[Places, Places]:
    """A folder of photos with their positions in their names or in EXIF, or with a folder per place."""
    try:
        images = ImageList.read(path)
        located = from_names(images) if is_utm_name(images.names[0]) else from_exif(images)
        if located.degrees is not None and located.utm is None and np.isnan(located.degrees).all():
            labelled = _read_folders(images, reading)
            if labelled is not None:
                return labelled
        positions = _points(located)
    except (ImageError, GroundTruthError) as error:
        raise GroundTruthError(f"{path} has none of the known layouts: {KNOWN} ({error})") from error
    every = Places.make(
        images,
        positions,
        headings=located.headings,
        positive_radius=reading.positive_radius,
        negative_radius=reading.negative_radius,
        heading_limit=reading.heading_limit,
    )
    training, validation = hold_out(every, reading.validation, reading.seed)
    return training, _wider(validation, reading)


def _read_folders(images: ImageList, reading: Reading) -> tuple[Places, Places] | None:
    """Photos whose folders are places, which is said; None where they do not all lie in several folders."""
    places = [name.rpartition("/")[0] for name in images.names]
    count = len(set(places))
    if "" in places or count < 2 or count == len(places) or reading.heading_limit is not None:
        return None
    log.info(
        "%s: no photo says where it was taken, so each of the %d folders is taken for a place, such as %s",
        *(images.root, count, places[0]),
    )
    (points,) = label_points(labels(images))
    training, validation = hold_out(Places.make(images, points), reading.validation, reading.seed)
    return training, in_halves(validation)


def _points(located: Located) -> np.ndarray:
    """(N, d) metres of one set of photos in one frame."""
    points, _ = in_one_frame(Sides(located, located))
    return points.queries


def _read_csv(path: Path, reading: Reading) -> tuple[Places, Places]:
    """One line per photo; what it needs is in KNOWN, and photos lie relative to the csv's folder."""
    if path.suffix.lower() != ".csv":
        raise GroundTruthError(f"{path} is not a dataset: {KNOWN}")
    rows, source = tables.read_tables([path])
    names = tuple(row["image"] for row in rows)
    kinds = ({"easting", "northing"}, {"lat", "lon"}, {"x", "y"}, {"place"})
    if not any(kind <= rows[0].keys() for kind in kinds):
        raise GroundTruthError(f"{path} has the columns {', '.join(rows[0])}, which say nothing of places: {KNOWN}")
    labelled = tables.is_labelled(rows[0])
    if labelled:
        (positions,) = label_points(tables.labels(rows, source, names))
    else:
        positions = _points(tables.located(rows, source, names))
    roles = _words(rows, "role", {"query": "query", "database": "database", "": ""}, path)
    times = np.array([_seconds(row) for row in rows]) if "time" in rows[0] else None
    every = Places.make(
        ImageList(path.parent, as_on_disk(path.parent, names)),
        positions,
        np.flatnonzero([role != "database" for role in roles]),
        np.flatnonzero([role != "query" for role in roles]),
        headings=np.array([tables.to_number(row, "heading") for row in rows]),
        times=times,
        positive_radius=reading.positive_radius,
        negative_radius=reading.negative_radius,
        heading_limit=reading.heading_limit,
        pause=PAUSE if times is not None else 0.0,
    )
    training, validation = _split(every, _words(rows, "split", dict(SPLITS), path), reading)
    if not labelled:
        return training, _wider(validation, reading)
    return training, validation if {"query", "database"} <= set(roles) else in_halves(validation)


def _split(every: Places, splits: Sequence[str], reading: Reading) -> tuple[Places, Places]:
    """Training and validation as the column `split` says, else by holding out."""
    if "validation" in splits:
        training, validation = (
            every.subset(np.flatnonzero([split == side for split in splits])) for side in ("train", "validation")
        )
        return training, validation
    usable = every.subset(np.flatnonzero([split == "train" for split in splits]))
    return hold_out(usable, reading.validation, reading.seed)


def _wider(validation: Places, reading: Reading) -> Places:
    """With the radius within which a validation query is answered."""
    radius = reading.validation_radius
    return replace(validation, positive_radius=radius, negative_radius=max(radius, reading.negative_radius))


SPLITS = {"train": "train", "": "train", "val": "validation", "validation": "validation", "test": "test"}


def _seconds(row: Row) -> float:
    """Seconds of a number or of an ISO 8601 date and time."""
    try:
        return float(row["time"])
    except ValueError:
        pass
    try:
        return datetime.datetime.fromisoformat(row["time"]).timestamp()
    except ValueError:
        return math.nan


def _words(rows: list[Row], column: str, meaning: dict[str, str], path: Path) -> list[str]:
    said = [row.get(column, "").lower() for row in rows]
    for number, word in enumerate(said, 2):
        if word not in meaning:
            choices = ", ".join(key for key in meaning if key)
            raise GroundTruthError(f"{path}, line {number}: {column} {word!r}: choose from {choices}")
    return [meaning[word] for word in said]
