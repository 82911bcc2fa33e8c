"""Ground truth in .npz: the reference's utmQ, utmDb and posDistThr, and beside them what we add."""

import functools
import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError, counted
from ..files.archives import read_archive
from ..files.arrays import DAMAGE
from ..files.atomic import writing
from ..images.names import finder
from ..images.sides import PerhapsNames, Sides
from .exclusion import ARRAYS, Exclusion
from .ground_truth import UNITS, GroundTruth, TruthFile, check_counts
from .located import in_metres

POSE = 7  # columns of a pose: tx, ty, tz, and a quaternion


def read(path: Path, names: PerhapsNames, radius: float | None, poses: bool = False) -> GroundTruth:
    """Reads positions and checks that they are of the images given, if any.

    Args:
        path: the file.
        names: of the images.
        radius: metres; overrides the file's.
        poses: whether positions are poses `tx ty tz q`, of which the first three columns count.
    """
    truth = _read(path, radius, poses)
    own = Sides(truth.query_names, truth.database_names)
    wanted = Sides(*(known if given is None else tuple(given) for given, known in zip(names, own, strict=True)))
    if own.queries is None or own.database is None or wanted.queries is None or wanted.database is None:
        check_counts(path, truth, names)
        return replace(truth, query_names=wanted.queries, database_names=wanted.database)
    met = Sides(
        _met(path, "queries", wanted.queries, own.queries), _met(path, "database", wanted.database, own.database)
    )
    try:
        return replace(truth, query_names=met.queries, database_names=met.database).of(*wanted)
    except GroundTruthError as error:
        raise GroundTruthError(
            f"{path} is of other images ({error}): use the image list that the ground truth was made for"
        ) from error


def _met(path: Path, kind: str, wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names that a file knows, as they are wanted; those of others have a character that no name has."""
    row_of = finder(path, kind, wanted, known, exchanging=False)
    rows = [row_of(name) for name in known]
    return tuple(f"\n{name}" if row is None else wanted[row] for row, name in zip(rows, known, strict=True))


def by_row(path: Path) -> bool:
    """Whether the file does not name its images."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not {"namesQ.npy", "namesDb.npy"} <= set(archive.namelist())
    except DAMAGE:
        return False  # which reading it will say


def _read(path: Path, radius: float | None, poses: bool) -> GroundTruth:
    more, (queries, database), radius = _arrays(path, radius)
    try:
        unit = str(more.get("unit", "m"))
        if unit not in UNITS:
            raise GroundTruthError(f"the unit {unit!r} is none of {', '.join(UNITS)}")
        if "unit" not in more:  # not of ours: positions as others write them
            queries, database = (
                _positions(side, name, poses) for side, name in ((queries, "utmQ"), (database, "utmDb"))
            )
            queries, database = in_metres(Sides(queries, database), radius, path)
        truth = GroundTruth.from_positions(
            _columns(queries),
            _columns(database),
            radius,
            unit=unit,
            headings=(more["headingQ"], more["headingDb"]) if {"headingQ", "headingDb"} <= more.keys() else None,
            heading_limit=float(more["headingLimit"]) if "headingLimit" in more else None,
        )
        names = [tuple(map(str, more[name])) if name in more else None for name in ("namesQ", "namesDb")]
        check_counts("it", truth, Sides(names[0], names[1]))
        left_out = {name.removeprefix(_EXCLUDED): more[name] for name in more if name.startswith(_EXCLUDED)}
        if left_out:
            truth = truth.without(Exclusion.from_arrays(left_out, Sides(len(truth), truth.database)))
    except (GroundTruthError, ValueError, TypeError, IndexError) as error:
        raise GroundTruthError(f"{path}: {error}") from error
    return replace(truth, query_names=names[0], database_names=names[1])


def _arrays(path: Path, radius: float | None) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray], float]:
    """Our own arrays, both sides' positions, and the radius, the file's unless one is given.

    Raises:
        GroundTruthError: it is no archive, or lacks one of them.
    """
    needed = ("utmQ", "utmDb", *(("posDistThr",) if radius is None else ()))
    try:
        found, inside = read_archive(path, (*needed, *_OURS))
        absent = [name for name in needed if name not in found]
        if absent:
            raise ValueError(f"it has no {', '.join(absent)}, but {', '.join(inside[:8]) or 'nothing'}")
        strange = [name for name in ("utmQ", "utmDb") if found[name].dtype.kind not in "fiu"]
        if strange:
            raise ValueError(f"{strange[0]} holds {found[strange[0]].dtype}, not numbers")
        sides = found["utmQ"].astype(np.float64), found["utmDb"].astype(np.float64)
        radius = float(found["posDistThr"].item()) if radius is None else radius
    except DAMAGE as error:
        raise GroundTruthError(f"{path} is not a ground truth .npz with utmQ, utmDb and posDistThr: {error}") from error
    return {name: found[name] for name in _OURS if name in found}, sides, radius


_EXCLUDED = "excluded_"  # before the names of an exclusion's arrays
_OURS = (
    *("unit", "namesQ", "namesDb", "headingQ", "headingDb", "headingLimit"),
    *(f"{_EXCLUDED}{name}" for name in ARRAYS),
)


def write(path: Path, truth: GroundTruth) -> None:
    """Writes the positions of a truth that has them.

    Raises:
        GroundTruthError: it has none.
    """
    if truth.points is None or truth.radius is None:
        raise GroundTruthError(f"{path}: an .npz holds positions, and here positives are listed: write a .csv")
    arrays: dict[str, np.ndarray | str | float | None] = {
        "utmQ": truth.points[0],
        "utmDb": truth.points[1],
        "posDistThr": truth.radius,
        "unit": truth.unit,
    }
    if truth.query_names is not None and truth.database_names is not None:
        arrays |= {"namesQ": np.array(truth.query_names), "namesDb": np.array(truth.database_names)}
    if truth.headings is not None:
        arrays |= {"headingQ": truth.headings[0], "headingDb": truth.headings[1], "headingLimit": truth.heading_limit}
    if truth.exclusion:
        arrays |= {f"{_EXCLUDED}{name}": values for name, values in truth.exclusion.arrays().items()}
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)  # type: ignore[arg-type]
    with writing(path) as file:
        file.write(held.getvalue())


def _positions(side: np.ndarray, name: str, poses: bool) -> np.ndarray:
    """(N, d) positions, d at most 3: of poses `tx ty tz q`, if they are such, the first three columns."""
    columns = side.shape[1] if side.ndim == 2 else 1
    if poses:
        if columns != POSE:
            raise GroundTruthError(f"{name} has {counted(columns, 'column')}, and poses are tx ty tz and a quaternion")
        return side[:, :3]
    if columns > 3:
        kind = "as poses have. Use 'patchvlad ground-truth --from FILE --poses'" if columns == POSE else "not"
        raise GroundTruthError(f"{name} has {columns} columns, {kind}: positions have two or three")
    return side


def _columns(positions: np.ndarray) -> np.ndarray:
    """Positions along one axis, as frame numbers are, become a column."""
    return positions[:, None] if positions.ndim == 1 else positions


NPZ = TruthFile(read, write, by_row=by_row)
POSES = TruthFile(functools.partial(read, poses=True), by_row=by_row)  # positions are poses `tx ty tz q`
