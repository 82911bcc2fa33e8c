"""Files of ground truth: the reference's .npz, csv of query and positives, VPR-Bench's .npy."""

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from natsort import natsorted

from ..arrays import DAMAGE, read_object_array
from ..atomic import replacing, write_text
from ..errors import GroundTruthError
from .ground_truth import UNITS, GroundTruth, check_counts
from .names import finder, read_table

log = logging.getLogger(__name__)

# --- .npz: the reference's utmQ, utmDb and posDistThr, and what we add ----------------------------------------------


def from_npz(path: Path, radius: float | None) -> GroundTruth:
    """Reads positions; `radius` overrides the file's."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as values:
            queries, database = values["utmQ"].astype(np.float64), values["utmDb"].astype(np.float64)
            radius = float(values["posDistThr"].item()) if radius is None else radius
            more = {name: values[name] for name in values.files if name in _OURS}
    except DAMAGE as error:
        raise GroundTruthError(f"{path} is no ground truth .npz with utmQ, utmDb and posDistThr ({error})") from error
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
        check_counts("it", truth, names[0], names[1])
    except (GroundTruthError, ValueError, TypeError, IndexError) as error:
        raise GroundTruthError(f"{path}: {error}") from error
    return replace(truth, query_names=names[0], database_names=names[1])


_OURS = ("unit", "namesQ", "namesDb", "headingQ", "headingDb", "headingLimit")


def write_npz(path: Path, truth: GroundTruth) -> None:
    """Writes the positions of a truth that has them."""
    assert truth.points is not None
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
    with replacing(path) as partial:
        partial.write_bytes(held.getvalue())


def _columns(positions: np.ndarray) -> np.ndarray:
    """Positions along one axis, as frame numbers are, become a column."""
    return positions[:, None] if positions.ndim == 1 else positions


# --- .csv: query and positives --------------------------------------------------------------------------------------


def from_csv(path: Path, query_names: Sequence[str] | None, database_names: Sequence[str] | None) -> GroundTruth:
    """Reads positives by name; without names given, those that the file mentions."""
    rows = [(row["query"], _listed(row["positives"])) for row in read_table(path, ("query", "positives"))]
    mentioned = [name for _, names in rows for name in names]
    for name in mentioned:
        if re.search(r"\.\w{3,4}\s*[,|\s]\s*\S*\.\w{3,4}$", name):
            raise GroundTruthError(f"{path}: {name!r} looks like several positives: they are separated by ;")
    if not rows:
        raise GroundTruthError(f"{path} is empty: it needs a line for each query")
    complete = database_names is not None
    query_names = tuple(dict.fromkeys(name for name, _ in rows)) if query_names is None else query_names
    database_names = tuple(natsorted(set(mentioned))) if database_names is None else database_names
    query_row = finder(path, "queries", query_names, [query for query, _ in rows])
    database_row = finder(path, "database", database_names, mentioned)
    row_of = {query: query_row(query) for query, _ in rows}
    image_of = {name: database_row(name) for name in dict.fromkeys(mentioned)}
    for kind, found in (("queries", row_of), ("database", image_of)):
        strange = [name for name, row in found.items() if row is None]
        if strange:
            log.warning(
                "%s: %d of %d names, such as %s, are not of the %s", path, len(strange), len(found), strange[0], kind
            )
    silent = sorted(set(range(len(query_names))) - {row for row in row_of.values() if row is not None})
    if silent:
        log.warning("%s has no line for %d queries, such as %s", path, len(silent), query_names[silent[0]])
    positives: list[set[int]] = [set() for _ in query_names]
    for query, names in rows:
        row = row_of[query]
        if row is not None:
            positives[row] |= {found for found in map(image_of.get, names) if found is not None}
    truth = GroundTruth.from_rows(
        [sorted(rows) for rows in positives], len(database_names), f"positives listed in {path.name}"
    )
    return replace(truth.named(query_names, database_names), complete=complete)


def _listed(positives: str) -> list[str]:
    return [name.strip() for name in positives.split(";") if name.strip()]


def write_csv(path: Path, truth: GroundTruth, query_names: Sequence[str], database_names: Sequence[str]) -> None:
    """Writes positives by name."""
    broken = [name for name in (*query_names, *database_names) if ";" in name]
    if broken:
        raise GroundTruthError(f"{path}: a .csv cannot hold names with a semicolon, such as {broken[0]}: write an .npz")
    held = io.StringIO(newline="")
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(("query", "positives"))
    for name, rows in zip(query_names, truth.positives, strict=True):
        writer.writerow((name, ";".join(database_names[row] for row in rows)))
    write_text(path, held.getvalue())


# --- .npy: VPR-Bench's (query row, positive rows) -------------------------------------------------------------------


def from_vpr_bench(path: Path, query_names: Sequence[str], database_names: Sequence[str]) -> GroundTruth:
    """Reads positives by row."""
    positives: list[list[int]] = [[] for _ in query_names]
    try:
        said = [(_whole(query), [_whole(row) for row in rows]) for query, rows in read_object_array(path)]
    except (ValueError, TypeError) as error:
        raise GroundTruthError(
            f"{path} is no ground truth of VPR-Bench, an array of (query row, positive rows) ({error})"
        ) from error
    counted = Counter(query for query, _ in said)
    if len(said) != len(query_names) or sorted(counted) != list(range(len(query_names))):
        raise GroundTruthError(
            f"{path} has {len(said)} queries, rows {min(counted, default=0)} to {max(counted, default=0)}, but "
            f"{len(query_names)} were given: use the image list that the ground truth was made for"
        )
    for query, rows in said:
        positives[query] = rows
    try:
        truth = GroundTruth.from_rows(positives, len(database_names), f"positives listed in {path.name}")
    except GroundTruthError as error:
        raise GroundTruthError(f"{path}: {error}") from error
    return truth.named(query_names, database_names)


def _whole(number: object) -> int:
    """A whole number, which may be written as 3.0."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not -1 <= number < 2**53 or number % 1:
        raise ValueError(f"a row that is no number of an image ({type(number).__name__})")
    return int(number)
