"""Ground truth from whatever there is: file names, EXIF, tables, labels, frame numbers, and files of other tools."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError, counted
from ..images.lists import ImageList
from ..images.row_order import RowOrder
from ..images.sides import Sides
from . import pose_positions, truth_npz
from . import position_tables as tables
from .ground_truth import GroundTruth, kind_of
from .located import Located, in_one_frame
from .radii import RADIUS
from .registry import LABELS, SOURCES
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
    poses: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> GroundTruth:
    """Finds the positives of every query.

    Args:
        queries, database: the images.
        source: "names" (UTM in file names), "exif" (GPS), "msls", "folders" (one per place), or files: csv of positions
            or labels, poses (TUM's trajectory with rgb.txt, COLMAP's images.txt, kapture's folder, ...), or a ground
            truth, see `GroundTruth.read`. None takes names where they hold positions, else EXIF.
        radius: metres within which images are positives; None is 25, or what an .npz says.
        heading_limit: degrees by which headings of positives differ at most.
        frames: instead of a source: the images of both lists are frames of the same drive in the same order, and
            positives are at most so many frames apart.
        frame_step: database frames from one query to the next.
        row_order: of folders, which order the rows of a file without names are in, "natural" or "sorted"; None where
            both are the same, or lists give it.
        poses: whether positions in an .npz are poses `tx ty tz q`, of which the first three columns count.
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
            looked = {"exif": "EXIF", "names": "file names"}[source]
            raise GroundTruthError(
                f"{error}. Positions were looked for in {looked}: say with --from where they are"
            ) from error
    images = Sides(queries, database)
    if not isinstance(source, str):
        order = RowOrder(row_order, images.map(lambda side: side.given))
        return _from_files(source, images, radius, heading_limit, order, poses)
    if source in LABELS:
        return _of_labels(LABELS[source](images), images, source, radius is not None or heading_limit is not None)
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
    poses: bool,
) -> GroundTruth:
    kinds = [kind_of(path) for path in files]
    csvs = [path for path, kind in zip(files, kinds, strict=True) if kind == ".csv" or (not kind and _is_table(path))]
    if not any(kinds) and not csvs:
        return _of_poses(files, images, radius, heading_limit)
    columns = {name for path in csvs for name in tables.columns_of(path)}
    if poses or {"query", "positives"} <= columns or len(csvs) < len(files):
        return _from_truth(files, images, radius, heading_limit, order, poses)
    said = ", ".join(path.name for path in csvs)
    if "place" in columns and columns & {"lat", "easting"} and len(csvs) > 1:
        raise GroundTruthError(f"{said} hold labels and positions: give tables of one kind")
    rows, source = tables.read_tables(csvs)
    lines = {kind: tables.rows_of(rows, source, side, kind) for kind, side in images.items()}
    if tables.is_labelled(columns):
        sides = Sides(*(tables.labels(lines[kind], source, side.names) for kind, side in images.items()))
        return _of_labels(sides, images, said, radius is not None or heading_limit is not None)
    located = Sides(*(tables.located(lines[kind], source, side.names) for kind, side in images.items()))
    return _within(located, images, radius, heading_limit, said)


def _is_table(path: Path) -> bool:
    """Whether a text file is a table, with the names of columns in its first line."""
    if path.is_dir():
        return False
    columns = tables.columns_of(path)
    return "image" in columns or {"query", "positives"} <= set(columns)


def _of_labels(sides: Sides[Sequence[str]], images: Sides[ImageList], said: str, limited: bool) -> GroundTruth:
    if limited:
        raise GroundTruthError(f"{said} holds labels: neither a radius nor headings apply")
    truth = GroundTruth.from_labels(*sides).named(images.queries.names, images.database.names)
    truth.check_telling(said)
    return replace(truth, protocol=f"{truth.protocol} ({said})")


def _of_poses(
    files: Sequence[Path], images: Sides[ImageList], radius: float | None, heading_limit: float | None
) -> GroundTruth:
    if heading_limit is not None:
        raise GroundTruthError(f"{files[0]} holds poses, whose headings are not read: give no --heading-limit")
    points, said = pose_positions.locate(files, images)
    truth = GroundTruth.from_positions(points.queries, points.database, RADIUS if radius is None else radius)
    truth = replace(truth.named(images.queries.names, images.database.names), protocol=f"{truth.protocol} ({said})")
    truth.check_telling(files[0])
    return truth


def _from_truth(
    files: Sequence[Path],
    images: Sides[ImageList],
    radius: float | None,
    heading_limit: float | None,
    order: RowOrder,
    poses: bool,
) -> GroundTruth:
    """A file that says by itself what the positives are."""
    if len(files) > 1:
        raise GroundTruthError(f"{files[0]} is a ground truth by itself: give no other file beside it")
    if poses and kind_of(files[0]) != ".npz":
        raise GroundTruthError(f"{files[0]} is not an .npz: --poses says what its utmQ and utmDb hold")
    names, file = images.map(lambda side: side.names), truth_npz.POSES if poses else None
    truth = GroundTruth.read(files[0], names.queries, names.database, radius, order, file)
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
