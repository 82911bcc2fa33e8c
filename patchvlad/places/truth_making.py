"""Ground truth from whatever there is: file names, EXIF, tables, labels, frame numbers, and files of other tools."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError, counted
from ..images.lists import ImageList
from ..images.row_order import RowOrder
from ..images.sides import Sides
from . import position_tables as tables
from .ground_truth import GroundTruth
from .located import Located, in_one_frame
from .radii import RADIUS
from .registry import SOURCES
from .utm_names import is_utm_name


def make_ground_truth(
    queries: ImageList,
    database: ImageList,
    source: str | Sequence[Path] | None = None,
    *,
    radius: float | None = None,
    heading_limit: float | None = None,
    frames: float | None = None,
    frame_step: int = 1,
    row_order: str | None = None,
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
        row_order: of folders, which order the rows of a file without names are in, "natural" or "sorted"; None where
            both are the same, or lists give it.
        progress: called with (photos read, photos in all) where EXIF is read.

    Raises:
        GroundTruthError: the source does not say where an image was taken, or is none.
    """
    if frames is not None:
        if source is not None or radius is not None or heading_limit is not None:
            raise GroundTruthError("frame correspondence needs no other source, and knows no radius and no headings")
        truth = _from_frames(queries, database, frames, frame_step).named(queries.names, database.names)
        truth.check_telling(database.root)
        return truth
    if frame_step != 1:
        raise GroundTruthError("a step of frames means nothing without frames: give both")
    if source is None:
        source = "names" if is_utm_name(queries.names[0]) else "exif"
        try:
            return make_ground_truth(
                queries, database, source, radius=radius, heading_limit=heading_limit, progress=progress
            )
        except GroundTruthError as error:
            looked = "EXIF" if source == "exif" else "file names"
            raise GroundTruthError(
                f"{error}. Positions were looked for in {looked}: say with --from where they are"
            ) from error
    images = Sides(queries, database)
    if not isinstance(source, str):
        order = RowOrder(row_order, images.map(lambda side: side.given))
        return _from_files(source, images, radius, heading_limit, order)
    said = {"names": "file names", "exif": "EXIF GPS", "msls": "MSLS"}.get(source, source)
    return _within(SOURCES[source](images, progress), images, radius, heading_limit, said)


def _within(
    located: Sides[Located], images: Sides[ImageList], radius: float | None, heading_limit: float | None, source: str
) -> GroundTruth:
    points, frame = in_one_frame(located)
    truth = GroundTruth.from_positions(
        points.queries,
        points.database,
        RADIUS if radius is None else radius,
        headings=(located.queries.headings, located.database.headings),
        heading_limit=heading_limit,
    )
    named = truth.named(images.queries.names, images.database.names)
    named.check_telling(located.database.source)
    return replace(named, protocol=f"{truth.protocol} ({source}, {frame})")


def _from_files(
    files: Sequence[Path],
    images: Sides[ImageList],
    radius: float | None,
    heading_limit: float | None,
    order: RowOrder,
) -> GroundTruth:
    csvs = [path for path in files if path.suffix.lower() == ".csv"]
    columns = {name for path in csvs for name in tables.columns_of(path)}
    if {"query", "positives"} <= columns or len(csvs) < len(files):
        return _from_truth(files, images, radius, heading_limit, order)
    said = ", ".join(path.name for path in csvs)
    if "place" in columns and columns & {"lat", "easting"} and len(csvs) > 1:
        raise GroundTruthError(f"{said} hold labels and positions: give tables of one kind")
    labelled = tables.is_labelled(columns)
    if labelled and (radius is not None or heading_limit is not None):
        raise GroundTruthError(f"{said} holds labels: neither a radius nor headings apply")
    rows, source = tables.read_tables(csvs)
    lines = {kind: tables.rows_of(rows, source, side, kind) for kind, side in images.items()}
    if labelled:
        sides = (tables.labels(lines[kind], source, side.names) for kind, side in images.items())
        truth = GroundTruth.from_labels(*sides).named(images.queries.names, images.database.names)
        truth.check_telling(said)
        return replace(truth, protocol=f"{truth.protocol} ({said})")
    located = Sides(*(tables.located(lines[kind], source, side.names) for kind, side in images.items()))
    return _within(located, images, radius, heading_limit, said)


def _from_truth(
    files: Sequence[Path],
    images: Sides[ImageList],
    radius: float | None,
    heading_limit: float | None,
    order: RowOrder,
) -> GroundTruth:
    """A file that says by itself what the positives are."""
    if len(files) > 1:
        raise GroundTruthError(f"{files[0]} is a ground truth by itself: give no other file beside it")
    truth = GroundTruth.read(files[0], images.queries.names, images.database.names, radius, order)
    if heading_limit is None or truth.heading_limit == heading_limit:
        return truth
    raise GroundTruthError(f"{files[0]} says no headings, so they cannot be limited to {heading_limit:g} degrees")


def _from_frames(queries: ImageList, database: ImageList, frames: float, step: int) -> GroundTruth:
    last = (len(queries) - 1) * step
    if last - frames > len(database) - 1:
        raise GroundTruthError(
            f"{counted(len(queries), 'query', 'queries')} in steps of {step} reach frame {last}, "
            f"but the database has {counted(len(database), 'image')}: "
            "frame correspondence needs lists of the same drive in the same order"
        )
    numbers = [np.arange(len(images), dtype=np.float64)[:, None] for images in (queries, database)]
    truth = GroundTruth.from_positions(numbers[0] * step, numbers[1], frames, unit="frames")
    steps = f", every query {step} frames after the last" if step != 1 else ""
    return replace(truth, protocol=truth.protocol + steps)
