"""Ground truth in .npz: the reference's utmQ, utmDb and posDistThr, and beside them what we add."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError
from ..files.arrays import DAMAGE
from ..files.atomic import writing
from ..images.names import finder
from ..images.sides import PerhapsNames, Sides
from .ground_truth import UNITS, GroundTruth, TruthFile, check_counts


def read(path: Path, names: PerhapsNames, radius: float | None) -> GroundTruth:
    """Reads positions and checks that they are of the images given, if any; `radius` overrides the file's."""
    truth = _read(path, radius)
    own = Sides(truth.query_names, truth.database_names)
    for (side, given), known in zip(names.items(), own, strict=True):
        if given is not None and known is not None and len(given) == len(known):
            row_of = finder(path, side, given, known, exchanging=False)
            other = [name for row, name in enumerate(known) if row_of(name) != row]
            if other:
                raise GroundTruthError(
                    f"{path} is of other {side}, or in another order: {other[0]} is not where it should be. "
                    "Use the image list that the ground truth was made for"
                )
    check_counts(path, truth, names)
    queries, database = (known if given is None else tuple(given) for given, known in zip(names, own, strict=True))
    return replace(truth, query_names=queries, database_names=database)


def _read(path: Path, radius: float | None) -> GroundTruth:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as values:
            queries, database = values["utmQ"].astype(np.float64), values["utmDb"].astype(np.float64)
            radius = float(values["posDistThr"].item()) if radius is None else radius
            more = {name: values[name] for name in values.files if name in _OURS}
    except DAMAGE as error:
        raise GroundTruthError(
            f"{path} is not a ground truth .npz with utmQ, utmDb and posDistThr ({error})"
        ) from error
    try:
        unit = str(more.get("unit", "m"))
        if unit not in UNITS:
            raise GroundTruthError(f"the unit {unit!r} is none of {', '.join(UNITS)}")
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
    except (GroundTruthError, ValueError, TypeError, IndexError) as error:
        raise GroundTruthError(f"{path}: {error}") from error
    return replace(truth, query_names=names[0], database_names=names[1])


_OURS = ("unit", "namesQ", "namesDb", "headingQ", "headingDb", "headingLimit")


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
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)  # type: ignore[arg-type]
    with writing(path) as file:
        file.write(held.getvalue())


def _columns(positions: np.ndarray) -> np.ndarray:
    """Positions along one axis, as frame numbers are, become a column."""
    return positions[:, None] if positions.ndim == 1 else positions


NPZ = TruthFile(read, write)
