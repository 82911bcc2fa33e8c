"""Ground truth in .csv: a line per query, with its positives by name, separated by semicolons."""

import csv
import io
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from natsort import natsorted

from ..errors import GroundTruthError, counted
from ..files.atomic import write_text
from ..images.names import finder
from ..images.sides import PerhapsNames
from .ground_truth import GroundTruth, TruthFile
from .position_tables import columns_of, read_table

log = logging.getLogger(__name__)


def read(path: Path, names: PerhapsNames, _: float | None) -> GroundTruth:
    """Reads positives by name; without names given, those that the file mentions."""
    query_names, database_names = names
    columns = columns_of(path)
    if "image" in columns and "query" not in columns:
        raise GroundTruthError(
            f"{path} has no column query, positives; it has {', '.join(columns)}: make a ground truth of it with "
            f"'patchvlad ground-truth --from {path}'"
        )
    rows = [(row["query"], _listed(row["positives"])) for row in read_table(path, ("query", "positives"))]
    mentioned = [name for _, listed in rows for name in listed]
    for name in mentioned:
        if re.search(r"\.\w{3,4}\s*[,|\s]\s*\S*\.\w{3,4}$", name):
            raise GroundTruthError(f"{path}: {name!r} looks like several positives: they are separated by ;")
    if not rows:
        raise GroundTruthError(f"{path} is empty: it needs one line per query")
    complete = database_names is not None
    query_names = tuple(dict.fromkeys(name for name, _ in rows)) if query_names is None else query_names
    database_names = tuple(natsorted(set(mentioned))) if database_names is None else database_names
    query_row = finder(path, "queries", query_names, [query for query, _ in rows])
    database_row = finder(path, "database", database_names, mentioned)
    row_of = {query: query_row(query) for query, _ in rows}
    image_of = {name: database_row(name) for name in dict.fromkeys(mentioned)}
    _warn_of_strangers(path, row_of, image_of, query_names)
    positives: list[set[int]] = [set() for _ in query_names]
    for query, listed in rows:
        row = row_of[query]
        if row is not None:
            positives[row] |= {found for found in map(image_of.get, listed) if found is not None}
    truth = GroundTruth.from_rows(
        [sorted(rows) for rows in positives], len(database_names), f"positives listed in {path.name}"
    )
    return replace(truth.named(query_names, database_names), complete=complete)


def _warn_of_strangers(
    path: Path, row_of: Mapping[str, int | None], image_of: Mapping[str, int | None], query_names: Sequence[str]
) -> None:
    """Says which names of the file are no images, and which queries it leaves out."""
    for kind, found in (("queries", row_of), ("database", image_of)):
        strange = [name for name, row in found.items() if row is None]
        if strange:
            log.warning(
                "%s: %d of %d names, such as %s, are not of the %s", path, len(strange), len(found), strange[0], kind
            )
    silent = sorted(set(range(len(query_names))) - {row for row in row_of.values() if row is not None})
    if silent:
        log.warning(
            "%s has no line for %s, such as %s", path, counted(len(silent), "query", "queries"), query_names[silent[0]]
        )


def _listed(positives: str) -> list[str]:
    return [name.strip() for name in positives.split(";") if name.strip()]


def write(path: Path, truth: GroundTruth) -> None:
    """Writes positives by name.

    Raises:
        GroundTruthError: the truth knows no names, or some that the file cannot hold.
    """
    query_names, database_names = truth.query_names, truth.database_names
    if query_names is None or database_names is None:
        raise GroundTruthError(f"{path}: a .csv names its images: give their lists")
    broken = [name for name in (*query_names, *database_names) if ";" in name]
    if broken:
        raise GroundTruthError(f"{path}: a .csv cannot hold names with a semicolon, such as {broken[0]}: write an .npz")
    held = io.StringIO(newline="")
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(("query", "positives"))
    for name, rows in zip(query_names, truth.positives, strict=True):
        writer.writerow((name, ";".join(database_names[row] for row in rows)))
    write_text(path, held.getvalue())


CSV = TruthFile(read, write, lists_positives=True)
