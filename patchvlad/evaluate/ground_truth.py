"""Which database images show the place of a query: the positives."""

import csv
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError


@dataclass(frozen=True)
class GroundTruth:
    """Positives of every query, by row.

    Attributes:
        positives: for each query the (n,) int64 rows of its positives in the database, ascending; empty where none.
        database: number of database images.
        protocol: how a positive is defined, in words.
    """

    positives: tuple[np.ndarray, ...]
    database: int
    protocol: str

    def __len__(self) -> int:
        return len(self.positives)

    @property
    def without_positives(self) -> int:
        """Queries that cannot be answered."""
        return sum(len(rows) == 0 for rows in self.positives)

    @classmethod
    def from_positions(cls, queries: np.ndarray, database: np.ndarray, radius: float) -> "GroundTruth":
        """Positives are within `radius` metres, the border included.

        Args:
            queries, database: (Q, 2) and (B, 2) easting and northing in metres.
        """
        for name, values in (("query", queries), ("database", database)):
            if values.ndim != 2 or not np.isfinite(values).all():
                raise GroundTruthError(f"{name} positions must be finite numbers in rows of equal length")
        if queries.shape[1] != database.shape[1]:
            raise GroundTruthError(
                f"query positions have {queries.shape[1]} columns, database ones {database.shape[1]}"
            )
        if not radius >= 0:
            raise GroundTruthError(f"the radius must be at least 0 m, not {radius}")
        from scipy.spatial import cKDTree

        found = cKDTree(database).query_ball_point(queries, radius, return_sorted=True)
        positives = tuple(np.array(rows, dtype=np.int64) for rows in found)
        return cls(positives, len(database), f"positives within {radius:g} m")

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        query_names: Sequence[str] | None = None,
        database_names: Sequence[str] | None = None,
        radius: float | None = None,
    ) -> "GroundTruth":
        """Reads the reference's .npz (utmQ, utmDb, posDistThr) or a csv with columns query and positives.

        Args:
            path: the file.
            query_names, database_names: the images that rows stand for. A csv needs them; of an .npz they check the
                lengths. A csv's names may lead through folders above the images' root ("queries/1.jpg" for "1.jpg").
            radius: in metres, overrides the file's posDistThr.
        """
        path = Path(path)
        if not path.is_file():
            raise GroundTruthError(f"{path} does not exist: give an .npz (utmQ, utmDb, posDistThr) or a .csv")
        if path.suffix.lower() == ".csv":
            if query_names is None or database_names is None:
                raise GroundTruthError(f"{path} names its images: reading it needs the names of queries and database")
            listed = _from_csv(path, query_names, database_names)
            if radius is not None:
                raise GroundTruthError(f"{path} lists positives by name: a radius does not apply")
            return listed
        truth = _from_npz(path, radius)
        for kind, names, count in (("queries", query_names, len(truth)), ("database", database_names, truth.database)):
            if names is not None and len(names) != count:
                raise GroundTruthError(
                    f"{path} has positions of {count} images for the {kind}, but {len(names)} were given: "
                    "use the image list that the ground truth was made for"
                )
        return truth


# What reading a file that is no .npz, or a damaged one, raises: NumPy's own, zipfile's, and what a lone .npy leads to.
_NPZ_ERRORS = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error),
    *(TypeError, AttributeError),
)


def _from_npz(path: Path, radius: float | None) -> GroundTruth:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as values:
            queries, database = values["utmQ"].astype(np.float64), values["utmDb"].astype(np.float64)
            radius = float(values["posDistThr"].item()) if radius is None else radius
    except _NPZ_ERRORS as error:
        raise GroundTruthError(f"{path} is no ground truth .npz with utmQ, utmDb and posDistThr ({error})") from error
    try:
        return GroundTruth.from_positions(_columns(queries), _columns(database), radius)
    except GroundTruthError as error:
        raise GroundTruthError(f"{path}: {error}") from error


def _columns(positions: np.ndarray) -> np.ndarray:
    """Positions along one axis, as frame numbers are, become a column."""
    return positions[:, None] if positions.ndim == 1 else positions


def _from_csv(path: Path, query_names: Sequence[str], database_names: Sequence[str]) -> GroundTruth:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"query", "positives"} <= set(reader.fieldnames or ()):
                raise GroundTruthError(f"{path} needs the columns query and positives, it has {reader.fieldnames}")
            rows = [((line["query"] or "").strip(), _listed(line["positives"] or "")) for line in reader]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise GroundTruthError(f"{path} cannot be read as a csv ({error})") from error
    query_row = _finder(path, "queries", query_names, [query for query, _ in rows])
    database_row = _finder(path, "database", database_names, [name for _, names in rows for name in names])
    positives: list[set[int]] = [set() for _ in query_names]
    for query, names in rows:
        row = query_row(query)
        if row is not None:
            positives[row] |= {found for found in map(database_row, names) if found is not None}
    arrays = tuple(np.array(sorted(rows), dtype=np.int64) for rows in positives)
    return GroundTruth(arrays, len(database_names), f"positives listed in {path.name}")


def _listed(positives: str) -> list[str]:
    return [name.strip() for name in positives.split(";") if name.strip()]


def _finder(path: Path, kind: str, names: Sequence[str], mentioned: Sequence[str]) -> Callable[[str], int | None]:
    """Returns a function from a name in the truth to a row, None for a name that stands for no image.

    The truth's names may have one folder prefix more than the images': the one under which most names meet is taken.
    """
    row_of = {name: row for row, name in enumerate(names)}
    prefixes = {""}
    for name in mentioned[:1000]:
        parts = name.split("/")
        prefixes |= {"/".join(parts[:i]) + "/" for i in range(1, len(parts)) if "/".join(parts[i:]) in row_of}

    def met(prefix: str) -> int:
        return sum(name.startswith(prefix) and name[len(prefix) :] in row_of for name in mentioned)

    prefix = max(sorted(prefixes), key=met)
    if mentioned and not met(prefix):
        raise GroundTruthError(
            f"{path} names no image of the {kind}: it has {mentioned[0]!r}, among the {kind} is {names[0]!r}. "
            "Names must be equal but for leading folders"
        )
    return lambda name: row_of.get(name[len(prefix) :]) if name.startswith(prefix) else None
