"""Ground truth in .mat: the `dbStruct` of NetVLAD's authors (Arandjelovic et al. 2016), for Pittsburgh and Tokyo 24/7.

Its fields are the names and UTM positions of both sides (dbImageFns, utmDb, qImageFns, utmQ), and posDistThr in metres.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GroundTruthError
from ..files.arrays import DAMAGE
from ..files.matlab import read_variables
from ..images.sides import PerhapsNames, Sides
from .ground_truth import GroundTruth, TruthFile
from .located import in_metres
from .radii import RADIUS
from .rows_by_name import rows_of

FIELDS = ("dbImageFns", "utmDb", "qImageFns", "utmQ")


def read(path: Path, names: PerhapsNames, radius: float | None) -> GroundTruth:
    """Reads positions of the images given, by name; of all images where none are given."""
    try:
        content = _content(path)
        own = Sides(_names(content["qImageFns"]), _names(content["dbImageFns"]))
        points = Sides(_positions(content["utmQ"], len(own.queries)), _positions(content["utmDb"], len(own.database)))
        radius = _radius(content) if radius is None else radius
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise GroundTruthError(
            f"{path} is not a ground truth .mat with a dbStruct of {', '.join(FIELDS)} and posDistThr: {reason}"
        ) from error
    rows = [rows_of(path, kind, given, mine) for (kind, given), mine in zip(names.items(), own, strict=True)]
    try:
        queries, database = in_metres(Sides(points.queries[rows[0]], points.database[rows[1]]), radius, path)
        truth = GroundTruth.from_positions(queries, database, radius)
    except GroundTruthError as error:
        raise GroundTruthError(f"{path}: {error}") from error
    return truth.named(*(mine if given is None else tuple(given) for given, mine in zip(names, own, strict=True)))


def _content(path: Path) -> dict[str, Any]:
    """The fields of dbStruct by name."""
    variables = read_variables(path)
    if "dbStruct" not in variables:
        raise ValueError(f"it has no dbStruct, but {', '.join(list(variables)[:8]) or 'nothing'}")
    record = variables["dbStruct"]
    if isinstance(record, list):
        raise ValueError(f"it has {len(record)} of them")
    absent = [name for name in FIELDS if not isinstance(record, dict) or name not in record]
    if absent:
        raise ValueError(f"its dbStruct has no {', '.join(absent)}")
    return record


def _names(cells: Any) -> tuple[str, ...]:
    """Names of images, of a cell array of texts."""
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        raise ValueError("its names are not a cell array of texts")
    names = tuple(cell.replace("\\", "/") for cell in cells)
    if not names or len(set(names)) < len(names):
        raise ValueError("it names no images" if not names else "it names an image twice")
    return names


def _positions(utm: Any, count: int) -> np.ndarray:
    """(N, 2) easting and northing, which stand in columns."""
    points = np.asarray(utm)
    if points.dtype.kind not in "fiu" or points.shape not in ((2, count), (count, 2)):
        raise ValueError(f"positions of shape {points.shape} for {count} images")
    return np.asarray(points.T if points.shape == (2, count) else points, dtype=np.float64)


def _radius(content: dict[str, Any]) -> float:
    said = np.ravel(content.get("posDistThr", ()))
    return float(said[0]) if len(said) else RADIUS


MAT = TruthFile(read)
