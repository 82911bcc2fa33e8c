"""Ground truth from whatever there is: file names, EXIF, tables, labels, frame numbers, and files of other tools."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError
from ..features.images import ImageList
from . import positions
from .ground_truth import GroundTruth
from .names import finder, read_table
from .positions import Located

RADIUS = 25.0  # metres, as in the papers
KINDS = ("names", "exif", "msls")


def make_ground_truth(
    queries: ImageList,
    database: ImageList,
    source: str | Sequence[Path] | None = None,
    *,
    radius: float | None = None,
    heading_limit: float | None = None,
    frames: float | None = None,
    frame_step: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> GroundTruth:
    """Finds the positives of every query.

    Args:
        queries, database: the images.
        source: "names" (UTM in file names), "exif" (GPS), "msls", or files: csv of positions (lat and lon, or easting
            and northing) or of labels (place), csv of query and positives, the reference's .npz, VPR-Bench's .npy.
            None takes names where they hold positions, else EXIF.
        radius: metres within which images are positives; None is 25, or what an .npz says.
        heading_limit: degrees by which headings of positives differ at most.
        frames: instead of a source: the images of both lists are frames of the same drive in the same order, and
            positives are at most so many frames apart.
        frame_step: database frames from one query to the next.
        progress: called with (photos read, photos in all) where EXIF is read.

    Raises:
        GroundTruthError: the source does not say where an image was taken, or is none.
    """
    if frames is not None:
        if source is not None or radius is not None or heading_limit is not None:
            raise GroundTruthError("frame correspondence needs no other source, and knows no radius and no headings")
        return _from_frames(queries, database, frames, frame_step).named(queries.names, database.names)
    if frame_step != 1:
        raise GroundTruthError("a step of frames means nothing without frames: give both")
    if source is None:
        source = "names" if positions.is_utm_name(queries.names[0]) else "exif"
        try:
            return make_ground_truth(
                queries, database, source, radius=radius, heading_limit=heading_limit, progress=progress
            )
        except GroundTruthError as error:
            looked = "EXIF" if source == "exif" else "file names"
            raise GroundTruthError(
                f"{error}. Positions were looked for in {looked}: say with --from where they are"
            ) from error
    if not isinstance(source, str):
        return _from_files(source, queries, database, radius, heading_limit)
    if source == "names":
        located = positions.from_names(queries), positions.from_names(database)
    elif source == "msls":
        located = positions.apart(positions.from_msls(queries, "queries"), positions.from_msls(database, "database"))
    elif source == "exif":
        every = positions.from_exif(ImageList.join([queries, database]), progress)
        located = _part(every, queries, slice(0, len(queries))), _part(every, database, slice(len(queries), None))
    else:
        raise GroundTruthError(f"unknown source {source!r}: choose from {', '.join(KINDS)}, or give files")
    said = {"names": "file names", "exif": "EXIF GPS", "msls": "MSLS"}[source]
    return _within(located, queries, database, radius, heading_limit, said)


def _within(
    located: tuple[Located, Located],
    queries: ImageList,
    database: ImageList,
    radius: float | None,
    heading_limit: float | None,
    source: str,
) -> GroundTruth:
    query_points, database_points, frame = positions.in_one_frame(*located)
    truth = GroundTruth.from_positions(
        query_points,
        database_points,
        RADIUS if radius is None else radius,
        headings=(located[0].headings, located[1].headings),
        heading_limit=heading_limit,
    )
    return replace(truth.named(queries.names, database.names), protocol=f"{truth.protocol} ({source}, {frame})")


def _from_files(
    files: Sequence[Path], queries: ImageList, database: ImageList, radius: float | None, heading_limit: float | None
) -> GroundTruth:
    tables = [path for path in files if path.suffix.lower() == ".csv"]
    columns = {name for path in tables for row in read_table(path, ())[:1] for name in row}
    listed = {"query", "positives"} <= columns or len(tables) < len(files)
    if listed:
        if len(files) > 1:
            raise GroundTruthError(f"{files[0]} is a ground truth by itself: give no other file beside it")
        truth = GroundTruth.read(files[0], queries.names, database.names, radius)
        if heading_limit is None or truth.heading_limit == heading_limit:
            return truth
        raise GroundTruthError(f"{files[0]} says no headings, so they cannot be limited to {heading_limit:g} degrees")
    said = ", ".join(path.name for path in tables)
    if "place" in columns and columns & {"lat", "easting"} and len(tables) > 1:
        raise GroundTruthError(f"{said} hold labels and positions: give tables of one kind")
    if "place" in columns and not columns & {"lat", "easting"}:
        if radius is not None or heading_limit is not None:
            raise GroundTruthError(f"{said} holds labels: neither a radius nor headings apply")
        sides = [_labels(tables, images, kind) for images, kind in ((queries, "queries"), (database, "database"))]
        truth = GroundTruth.from_labels(*sides).named(queries.names, database.names)
        return replace(truth, protocol=f"{truth.protocol} ({said})")
    located = positions.from_table(tables, queries, "queries"), positions.from_table(tables, database, "database")
    return _within(located, queries, database, radius, heading_limit, said)


def _labels(tables: Sequence[Path], images: ImageList, kind: str) -> list[str]:
    """The place of each image."""
    rows = [row for path in tables for row in read_table(path, ("image", "place"))]
    source = ", ".join(str(path) for path in tables)
    row_of = finder(source, kind, images.names, [row["image"] for row in rows], images.root)
    label: dict[int | None, str] = {}
    for row in rows:
        if label.setdefault(row_of(row["image"]), row["place"]) != row["place"] and row_of(row["image"]) is not None:
            raise GroundTruthError(f"{source} names two places for {row['image']}: {row['place']} is the second")
    for number, name in enumerate(images.names):
        if not label.get(number):
            raise GroundTruthError(f"{source} names no place for {name} of the {kind}: give it one, or leave it out")
    return [label[number] for number in range(len(images))]


def _from_frames(queries: ImageList, database: ImageList, frames: float, step: int) -> GroundTruth:
    last = (len(queries) - 1) * step
    if last - frames > len(database) - 1:
        raise GroundTruthError(
            f"{len(queries)} queries in steps of {step} reach frame {last}, but the database has {len(database)} "
            "images: frame correspondence needs lists of the same drive in the same order"
        )
    numbers = [np.arange(len(images), dtype=np.float64)[:, None] for images in (queries, database)]
    truth = GroundTruth.from_positions(numbers[0] * step, numbers[1], frames, unit="frames")
    steps = f", every query {step} frames after the last" if step != 1 else ""
    return replace(truth, protocol=truth.protocol + steps)


def _part(located: Located, images: ImageList, rows: slice) -> Located:
    """Some photos of a list that was joined of two."""
    assert located.degrees is not None
    return replace(
        located,
        source=str(images.root),
        names=images.names,
        degrees=located.degrees[rows],
        headings=located.headings[rows],
    )
