"""Mapillary Street-level Sequences: train_val|test/<city>/{query,database}/ with csv files and images/.

`raw.csv`, `postprocessed.csv` and `subtask_index.csv` have a line per photo, which is images/KEY.jpg.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import ConfigError, GroundTruthError, counted
from ..files.csv_rows import Row, to_number
from ..images.lists import ImageList
from ..images.sides import Sides
from .located import Located
from .nearby import apart, check_headings
from .position_tables import read_table
from .radii import Reading
from .training import Places

TRAINING = (
    *("trondheim", "london", "boston", "melbourne", "amsterdam", "helsinki", "tokyo", "toronto", "saopaulo", "moscow"),
    *("zurich", "paris", "bangkok", "budapest", "austin", "berlin", "ottawa", "phoenix", "goa", "amman", "nairobi"),
    "manila",
)
VALIDATION = ("cph", "sf")
TEST = ("miami", "athens", "buenosaires", "stockholm", "bengaluru", "kampala")

# --- where photos were taken ----------------------------------------------------------------------------------------


def locate(images: Sides[ImageList], progress: Callable[[int, int], None] | None = None) -> Sides[Located]:
    """Positions of both sides; cities, whose UTM zones differ and are not told, are moved apart."""
    found = {kind: _located(side, kind) for kind, side in images.items()}
    order = {city: row for row, city in enumerate(sorted({city for side in found.values() for city in side.zones}))}

    def moved(side: Located) -> Located:
        assert side.utm is not None
        regions = np.array([order[city] for city in side.zones], dtype=np.int64)
        return replace(side, utm=apart(side.utm, regions), zones=("of each city",) * len(side.zones))

    return Sides(*map(moved, found.values()))


def _located(images: ImageList, kind: str) -> Located:
    """For `<city>/query/images/KEY.jpg` the line of KEY in `<city>/query/postprocessed.csv`; zones are cities."""
    folders = sorted({(images.root / name).parent.parent for name in images.names})
    known: dict[tuple[Path, str], Row] = {}
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
    points, nowhere = np.array(utm, dtype=np.float64).reshape(-1, 2), np.full(len(utm), np.nan)
    return Located(str(images.root), images.names, points, tuple(cities), None, nowhere)


# --- which photos are used ------------------------------------------------------------------------------------------


def used_rows(folder: Path, panoramas: bool, validating: bool) -> list[Row]:
    """Rows of postprocessed.csv that are used: no panoramas unless wanted, and in validation those of the task `all`.

    Raises:
        GroundTruthError: a table is missing, or tables do not meet.
    """
    rows = read_table(folder / "postprocessed.csv", ("key", "easting", "northing", "night", "view_direction"))
    raw = {row["key"]: row for row in read_table(folder / "raw.csv", ("key", "pano"))}
    kept = []
    tasks = _tasks(folder, len(rows)) if validating else [True] * len(rows)
    for number, row in enumerate(rows):
        if row["key"] not in raw:
            raise GroundTruthError(f"{folder / 'raw.csv'} has no row for the key {row['key']}: fetch it again")
        if (panoramas or not is_true(raw[row["key"]]["pano"])) and tasks[number]:
            kept.append(row)
    return kept


def is_true(text: str) -> bool:
    """Of a column of truth values, as pandas and others write them."""
    return text.lower() in ("true", "1", "1.0")


def training_database(root: Path) -> ImageList:
    """The database photos of the training cities that are there: what the reference fits its whitening to.

    As there, panoramas count, and where there is a subtask_index.csv only photos of the task `all`.

    Raises:
        GroundTruthError: no training city is there, or a table is missing.
    """
    cities = [city for city in TRAINING if (root / "train_val" / city / "database").is_dir()]
    if not cities:
        raise GroundTruthError(f"{root / 'train_val'} holds none of the training cities {', '.join(TRAINING)}")
    names = []
    for city in cities:
        folder = Path("train_val", city, "database")
        rows = read_table(root / folder / "postprocessed.csv", ("key",))
        tasks = _tasks(root / folder, len(rows))
        names += [
            (folder / "images" / f"{row['key']}.jpg").as_posix() for row, used in zip(rows, tasks, strict=True) if used
        ]
    return ImageList(root, tuple(names))


def _tasks(folder: Path, count: int) -> list[bool]:
    """Which rows are of the task `all`; every one where that is not told."""
    path = folder / "subtask_index.csv"
    if not path.is_file():
        return [True] * count
    tasks = [is_true(row["all"]) for row in read_table(path, ("all",))]
    if len(tasks) != count:
        raise GroundTruthError(
            f"{folder}: subtask_index.csv has {counted(len(tasks), 'row')}, postprocessed.csv {count}: fetch them again"
        )
    return tasks


# --- training -------------------------------------------------------------------------------------------------------


def read_training(root: Path, reading: Reading) -> tuple[Places, Places]:
    """The reference's reading: its city lists, night and sideways queries weighted up, validation within 25 m."""
    present = {folder.name for part in ("train_val", "test") for folder in (root / part).glob("*") if folder.is_dir()}
    found = []
    for cities, published, option in (
        (reading.cities, TRAINING, "--cities"),
        (reading.validation_cities, VALIDATION, "--validation-cities"),
    ):
        chosen = cities or tuple(city for city in published if city in present)
        absent = [city for city in chosen if city not in present]
        if absent or not chosen:
            raise GroundTruthError(
                f"{root} holds none of the cities {', '.join(absent or published)}: choose from "
                f"{', '.join(sorted(present)) or 'none'} with {option}"
            )
        found.append(chosen)
    check_headings([], reading.heading_limit)
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
        folder = root / ("test" if city in TEST else "train_val") / city
        for role in ("query", "database"):
            listed = used_rows(folder / role, reading.panoramas and not validating, validating)
            if not listed:
                raise GroundTruthError(
                    f"{folder / role} has no usable photos: its csv files are empty, or all photos are panoramas "
                    "(--panoramas uses these)"
                )
            names += [(folder / role / "images" / f"{row['key']}.jpg").relative_to(root).as_posix() for row in listed]
            positions += [(to_number(row, "easting"), to_number(row, "northing")) for row in listed]
            regions += [number] * len(listed)
            roles += [role] * len(listed)
            rare += [(is_true(row["night"]), row["view_direction"] == "Sideways") for row in listed]
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
