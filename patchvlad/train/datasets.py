"""Readers of training places: one function for each layout on disk, each giving (training, validation).

MSLS              train_val|test/<city>/{query,database}/: raw, postprocessed, subtask_index.csv and images/
GSV-Cities        Dataframes/<City>.csv, Images/<City>/*.jpg
csv of positions  image and easting, northing or lat, lon; heading, time, split and role if there
csv of labels     image and place; split and role if there
folder of photos  positions in their names (@easting@northing@...) or in EXIF
"""

import datetime
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import ConfigError, GroundTruthError, ImageError
from ..evaluate import geodesy, msls
from ..evaluate.names import read_table, to_number
from ..evaluate.positions import Located, from_exif, from_names, in_one_frame, is_utm_name
from ..features.images import ImageList
from .places import Places, hold_out, in_halves, label_positions

MSLS_TRAINING = (
    *("trondheim", "london", "boston", "melbourne", "amsterdam", "helsinki", "tokyo", "toronto", "saopaulo", "moscow"),
    *("zurich", "paris", "bangkok", "budapest", "austin", "berlin", "ottawa", "phoenix", "goa", "amman", "nairobi"),
    "manila",
)
MSLS_VALIDATION = ("cph", "sf")
MSLS_TEST = ("miami", "athens", "buenosaires", "stockholm", "bengaluru", "kampala")
PAUSE = 60.0  # seconds between positives where photos have times: those of one passage are near-duplicates


@dataclass(frozen=True)
class Reading:
    """How places are read.

    Attributes:
        positive_radius, negative_radius: metres.
        validation_radius: metres within which a validation query is answered rightly.
        heading_limit: degrees between positives at most; None for no limit.
        validation: share of the photos held out where the dataset names no validation part.
        cities, validation_cities: of MSLS or GSV-Cities; the published lists where empty.
        panoramas: whether MSLS's panoramas are used.
        seed: of the draw of what is held out.
    """

    positive_radius: float = 10.0
    negative_radius: float = 25.0
    validation_radius: float = 25.0
    heading_limit: float | None = None
    validation: float = 0.1
    cities: tuple[str, ...] = ()
    validation_cities: tuple[str, ...] = ()
    panoramas: bool = False
    seed: int = 0


def read_places(dataset: str | os.PathLike, reading: Reading | None = None) -> tuple[Places, Places]:
    """Reads a dataset, whatever its layout.

    Returns:
        places to train on, places to validate on; the latter may have no queries.

    Raises:
        GroundTruthError: no such dataset, a layout that is none of the known ones, or contents that cannot be.
        ConfigError: an option that does not go with the dataset.
    """
    reading = reading or Reading()
    if not 0 <= reading.validation < 1:
        raise ConfigError(f"a share of {reading.validation:g} cannot be held out: it must be at least 0 and below 1")
    path = Path(dataset)
    if path.is_file():
        return _read_csv(path, reading)
    for marker, reader in LAYOUTS.items():
        if (path / marker).is_dir():
            return reader(path, reading)
    if not path.exists():
        raise GroundTruthError(f"{path} does not exist: {KNOWN}")
    return _read_folder(path, reading)


KNOWN = (
    "give a csv with columns image and place, or image, easting and northing, or image, lat and lon; a folder of "
    "MSLS (train_val/<city>/...); one of GSV-Cities (Dataframes/*.csv, Images/); or a folder of photos with positions "
    "in their names (@easting@northing@...) or EXIF"
)


# --- Mapillary Street-level Sequences -------------------------------------------------------------------------------


def read_msls(root: Path, reading: Reading) -> tuple[Places, Places]:
    """The reference's reading: its city lists, night and sideways queries weighted up, validation within 25 m."""
    present = {folder.name for part in ("train_val", "test") for folder in (root / part).glob("*") if folder.is_dir()}
    found = []
    for cities, published, option in (
        (reading.cities, MSLS_TRAINING, "--cities"),
        (reading.validation_cities, MSLS_VALIDATION, "--validation-cities"),
    ):
        chosen = cities or tuple(city for city in published if city in present)
        absent = [city for city in chosen if city not in present]
        if absent or not chosen:
            raise GroundTruthError(
                f"{root} holds none of the cities {', '.join(absent or published)}: choose from "
                f"{', '.join(sorted(present)) or 'none'} with {option}"
            )
        found.append(chosen)
    training, validation = found
    if set(training) & set(validation):
        raise ConfigError(f"{', '.join(sorted(set(training) & set(validation)))}: a city cannot be on both sides")
    return (
        _join_cities(root, training, reading, validating=False),
        _join_cities(root, validation, reading, validating=True),
    )


def _join_cities(root: Path, cities: Sequence[str], reading: Reading, validating: bool) -> Places:
    names: list[str] = []
    positions, regions, roles, rare = [], [], [], []
    for number, city in enumerate(cities):
        folder = root / ("test" if city in MSLS_TEST else "train_val") / city
        for role in ("query", "database"):
            listed = msls.used_rows(folder / role, reading.panoramas, validating)
            if not listed:
                raise GroundTruthError(
                    f"{folder / role} has no usable photos: its csv files are empty, or all photos are panoramas "
                    "(--panoramas uses these)"
                )
            names += [(folder / role / "images" / f"{row['key']}.jpg").relative_to(root).as_posix() for row in listed]
            positions += [(to_number(row, "easting"), to_number(row, "northing")) for row in listed]
            regions += [number] * len(listed)
            roles += [role] * len(listed)
            rare += [(msls.is_true(row["night"]), row["view_direction"] == "Sideways") for row in listed]
    is_query = np.array(roles) == "query"
    made = Places.make(
        ImageList(root, tuple(names)),
        np.array(positions),
        np.flatnonzero(is_query),
        np.flatnonzero(~is_query),
        regions=np.array(regions),
        positive_radius=reading.validation_radius if validating else reading.positive_radius,
        negative_radius=max(reading.validation_radius, reading.negative_radius),
    )
    return made if validating else replace(made, weights=rare_weights(np.array(rare)[is_query], made.trainable))


def rare_weights(rare: np.ndarray, trainable: np.ndarray) -> np.ndarray:
    """(Q, n) bool, is the query of the n rare kinds (night, sideways) -> (Q,) weights: 1 + Q / count for each kind.

    Counts are of queries with positives, as in the reference.
    """
    weights = np.ones(len(rare))
    for kind in rare.T:
        count = int(kind[trainable].sum())
        if count:
            weights[kind] += len(trainable) / count
    return weights


# --- GSV-Cities -----------------------------------------------------------------------------------------------------


def read_gsv_cities(root: Path, reading: Reading) -> tuple[Places, Places]:
    """Places by their ids; file names are put together from the table, as its authors do."""
    tables = {path.stem: path for path in sorted((root / "Dataframes").glob("*.csv"))}
    absent = [city for city in (*reading.cities, *reading.validation_cities) if city not in tables]
    if absent or not tables:
        raise GroundTruthError(
            f"{root / 'Dataframes'} has no table of {', '.join(absent) or 'any city'}: choose from "
            f"{', '.join(tables) or 'none'}"
        )
    columns = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")

    def of_cities(cities: Sequence[str]) -> Places:
        names, labels = [], []
        for city in cities:
            for row in read_table(tables[city], columns):
                number = int(to_number(row, "place_id"))
                labels.append(f"{city} {number}")
                names.append(
                    f"Images/{city}/{row['city_id']}_{number % 10**5:07d}_{row['year']:0>4}_{row['month']:0>2}_"
                    f"{row['northdeg']:0>3}_{to_number(row, 'lat')}_{to_number(row, 'lon')}_{row['panoid']}.jpg"
                )
        return Places.make(ImageList(root, tuple(names)), label_positions(labels))

    training = of_cities(reading.cities or [city for city in tables if city not in reading.validation_cities])
    if reading.validation_cities:
        return training, in_halves(of_cities(reading.validation_cities))
    training, validation = hold_out(training, reading.validation, reading.seed)
    return training, in_halves(validation)


LAYOUTS: dict[str, Callable[[Path, Reading], tuple[Places, Places]]] = {
    "train_val": read_msls,
    "Dataframes": read_gsv_cities,
}


# --- photos that know where they were taken -------------------------------------------------------------------------


def _read_folder(path: Path, reading: Reading) -> tuple[Places, Places]:
    """A folder of photos with their positions in their names or in EXIF."""
    try:
        images = ImageList.read(path)
        located = from_names(images) if is_utm_name(images.names[0]) else from_exif(images)
        positions, _, _ = in_one_frame(located, located)
    except (ImageError, GroundTruthError) as error:
        raise GroundTruthError(f"{path} has none of the known layouts: {KNOWN} ({error})") from error
    known = bool(np.isfinite(located.headings).all())
    if reading.heading_limit is not None and not known:
        raise ConfigError(f"{path}: some photos have no heading, so headings cannot be limited")
    every = Places.make(
        images,
        positions,
        headings=located.headings if known else None,
        positive_radius=reading.positive_radius,
        negative_radius=reading.negative_radius,
        heading_limit=reading.heading_limit,
    )
    training, validation = hold_out(every, reading.validation, reading.seed)
    return training, _wider(validation, reading)


# --- csv ------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, reading: Reading) -> tuple[Places, Places]:
    """One line a photo; what it needs is in KNOWN, and photos lie relative to the csv's folder."""
    if path.suffix.lower() != ".csv":
        raise GroundTruthError(f"{path} is no dataset: {KNOWN}")
    rows = read_table(path, ("image",))
    if not rows:
        raise GroundTruthError(f"{path} lists no photo: {KNOWN}")
    columns = set(rows[0])
    times, labelled = None, False
    if {"easting", "northing"} <= columns:
        positions = np.array([(to_number(row, "easting"), to_number(row, "northing")) for row in rows])
    elif {"lat", "lon"} <= columns:
        degrees = np.array([(to_number(row, "lat"), to_number(row, "lon")) for row in rows])
        names = tuple(row["image"] for row in rows)
        headings = np.array([to_number(row, "heading") for row in rows])
        Located(str(path), names, None, (), degrees, headings).check()
        positions = geodesy.earth_centred(degrees)
    elif "place" in columns:
        positions, labelled = label_positions(row["place"] for row in rows), True
    else:
        raise GroundTruthError(f"{path} has the columns {', '.join(rows[0])}, which say nothing of places: {KNOWN}")
    if reading.heading_limit is not None and "heading" not in columns:
        raise ConfigError(f"{path} has no column heading, so headings cannot be limited to {reading.heading_limit:g}")
    if "time" in columns:
        times = np.array([_seconds(row) for row in rows])
    roles = _words(rows, "role", {"query": "query", "database": "database", "": ""}, path)
    splits = _words(rows, "split", dict(SPLITS), path)
    given = {"query", "database"} <= set(roles)
    images = ImageList(path.parent, tuple(row["image"] for row in rows))
    every = Places.make(
        images,
        positions,
        np.flatnonzero([role != "database" for role in roles]),
        np.flatnonzero([role != "query" for role in roles]),
        headings=np.array([to_number(row, "heading") for row in rows]) if "heading" in columns else None,
        times=times,
        positive_radius=reading.positive_radius,
        negative_radius=reading.negative_radius,
        heading_limit=reading.heading_limit,
        pause=PAUSE if times is not None else 0.0,
    )
    if "validation" in splits:
        sides = [every.subset(np.flatnonzero([s == side for s in splits])) for side in ("train", "validation")]
        training, validation = sides
    else:
        usable = every.subset(np.flatnonzero([s == "train" for s in splits]))
        training, validation = hold_out(usable, reading.validation, reading.seed)
    if labelled and not given:
        validation = in_halves(validation)
    if not labelled:
        validation = _wider(validation, reading)
    return training, validation


def _wider(validation: Places, reading: Reading) -> Places:
    """With the radius within which a validation query is answered."""
    radius = reading.validation_radius
    return replace(validation, positive_radius=radius, negative_radius=max(radius, reading.negative_radius))


SPLITS = {"train": "train", "": "train", "val": "validation", "validation": "validation", "test": "test"}


def _seconds(row: dict[str, str]) -> float:
    """Seconds of a number or of an ISO 8601 date and time."""
    try:
        return float(row["time"])
    except ValueError:
        pass
    try:
        return datetime.datetime.fromisoformat(row["time"]).timestamp()
    except ValueError:
        return math.nan


def _words(rows: list[dict[str, str]], column: str, meaning: dict[str, str], path: Path) -> list[str]:
    said = [row.get(column, "").lower() for row in rows]
    for number, word in enumerate(said, 2):
        if word not in meaning:
            choices = ", ".join(key for key in meaning if key)
            raise GroundTruthError(f"{path}, line {number}: {column} {word!r}: choose from {choices}")
    return [meaning[word] for word in said]
