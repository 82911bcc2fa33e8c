"""Which database images show the place of a query: the positives. Made from positions or labels, read, written."""

import codecs
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError, counted
from ..files.regular import check_file
from ..images.row_order import RowOrder
from ..images.sides import Names, PerhapsNames, Sides
from .exclusion import Exclusion
from .nearby import check_headings, label_points, looking_alike, pairs_within, split
from .registry import TRUTH_FILES
from .telling import warn_of_truth

FARTHEST = 1e15  # metres: labels and regions are put far apart, and squares of distances must be numbers
FIRST_BYTES = {
    **{b"PK\x03\x04": ".npz", b"PK\x05\x06": ".npz", b"\x93NUMPY": ".npy"},
    **{b"MATLAB 5.0": ".mat", b"MATLAB 7.3": ".mat", b"\x89HDF\r\n\x1a\n": ".mat"},
}
UNITS = ("m", "frames", "labels")


@dataclass(frozen=True)
class GroundTruth:
    """Positives of every query, by row.

    Attributes:
        positives: for each query the (n,) int64 rows of its positives in the database, ascending; empty where none.
        database: number of database images.
        protocol: how a positive is defined, in words.
        query_names, database_names: the images that rows stand for; None where the file does not name them.
        points: (Q, d) and (B, d) positions in `unit`, or None where positives are listed.
        unit: of the points: "m", "frames" (numbers along a drive), or "labels" (equal where the place is).
        complete: whether the database is known to hold these images and no others.
        exclusion: what has been left out of the positives, if anything.
    """

    positives: tuple[np.ndarray, ...]
    database: int
    protocol: str
    query_names: tuple[str, ...] | None = None
    database_names: tuple[str, ...] | None = None
    points: tuple[np.ndarray, np.ndarray] | None = None
    radius: float | None = None
    unit: str = "m"
    headings: tuple[np.ndarray, np.ndarray] | None = None
    heading_limit: float | None = None
    complete: bool = True
    exclusion: Exclusion | None = None

    def __len__(self) -> int:
        return len(self.positives)

    @property
    def without_positives(self) -> int:
        """Queries that cannot be answered."""
        return sum(len(rows) == 0 for rows in self.positives)

    @property
    def answerable(self) -> np.ndarray:
        """(Q,) bool: queries with a positive."""
        return np.array([len(rows) > 0 for rows in self.positives], dtype=bool)

    @classmethod
    def from_positions(
        cls,
        queries: np.ndarray,
        database: np.ndarray,
        radius: float,
        *,
        headings: tuple[np.ndarray, np.ndarray] | None = None,
        heading_limit: float | None = None,
        unit: str = "m",
    ) -> "GroundTruth":
        """Positives are within `radius`, the border included.

        Args:
            queries, database: (Q, d) and (B, d) positions in metres, or frame numbers.
            radius: in the same unit.
            headings: (Q,) and (B,) degrees clockwise from north.
            heading_limit: degrees by which the headings of positives differ at most.
            unit: "m", "frames", or "labels".

        Raises:
            GroundTruthError: a number that is not finite, another shape, or a heading that is needed and unknown.
        """
        for name, values in (("query", queries), ("database", database)):
            if values.ndim != 2 or not (np.abs(values) < FARTHEST).all():
                raise GroundTruthError(f"{name} positions must be finite numbers in rows of equal length")
        if queries.shape[1] != database.shape[1]:
            raise GroundTruthError(
                f"query positions have {queries.shape[1]} columns, database ones {database.shape[1]}"
            )
        if not 0 <= radius < np.inf:
            raise GroundTruthError(f"the radius must be at least 0 m, not {radius}")
        check_headings(headings or (), heading_limit)
        found, counts = pairs_within(queries, database, radius)
        reach = f"{radius:g} {unit.removesuffix('s') if radius == 1 else unit}"
        protocol = f"positives within {reach}" if unit != "labels" else "positives of the same label"
        if heading_limit is None or headings is None:
            headings = None
        else:
            query = np.repeat(np.arange(len(counts)), counts)
            alike = looking_alike(headings[0][query], headings[1][found], heading_limit)
            found, counts = found[alike], np.bincount(query[alike], minlength=len(counts))
            protocol += f" and {heading_limit:g} degrees of heading"
        return cls(
            tuple(split(found, counts)),
            len(database),
            protocol,
            points=(queries, database),
            radius=radius,
            unit=unit,
            headings=headings,
            heading_limit=heading_limit,
        )

    @classmethod
    def from_labels(cls, queries: Sequence[str], database: Sequence[str]) -> "GroundTruth":
        """Positives have the same place label."""
        query_points, database_points = label_points(queries, database)
        return cls.from_positions(query_points, database_points, 0, unit="labels")

    @classmethod
    def from_rows(cls, positives: Sequence[Sequence[int]], database: int, protocol: str) -> "GroundTruth":
        """Positives listed by row.

        Raises:
            GroundTruthError: a row that the database does not have.
        """
        arrays = tuple(np.unique(np.array(rows, dtype=np.int64)) for rows in positives)
        for query, rows in enumerate(arrays):
            if len(rows) and (rows[0] < 0 or rows[-1] >= database):
                wrong = rows[-1] if rows[-1] >= database else rows[0]
                raise GroundTruthError(
                    f"query {query} has the positive {wrong}, but the database has {counted(database, 'image')}: "
                    "use the image list that the ground truth was made for"
                )
        return cls(arrays, database, protocol)

    def of(self, query_names: Sequence[str], database_names: Sequence[str]) -> "GroundTruth":
        """The same of these images, all or some of its own, in their order.

        Raises:
            GroundTruthError: it does not know one of them.
        """
        rows = []
        own: Names = Sides(self.query_names or (), self.database_names or ())
        for known, wanted in zip(own, (query_names, database_names), strict=True):
            row_of = {name: row for row, name in enumerate(known)}
            strange = [name for name in wanted if name not in row_of]
            if strange:
                raise GroundTruthError(f"the ground truth says nothing of {strange[0]}")
            rows.append(np.array([row_of[name] for name in wanted], dtype=np.int64))
        new_row = np.full(self.database, -1, dtype=np.int64)
        new_row[rows[1]] = np.arange(len(rows[1]))
        positives = (new_row[self.positives[row]] for row in rows[0])
        chosen = lambda pair: None if pair is None else (pair[0][rows[0]], pair[1][rows[1]])  # noqa: E731
        return replace(
            self,
            positives=tuple(np.sort(some[some >= 0]) for some in positives),
            database=len(rows[1]),
            query_names=tuple(query_names),
            database_names=tuple(database_names),
            points=chosen(self.points),
            headings=chosen(self.headings),
            exclusion=self.exclusion and self.exclusion.of(own, Sides(tuple(query_names), tuple(database_names))),
        )

    def without(self, exclusion: Exclusion) -> "GroundTruth":
        """The same without some positives, such as each photo itself where both sides hold it."""
        if not exclusion:
            return self
        kept = (rows[~np.isin(rows, exclusion.rows(query))] for query, rows in enumerate(self.positives))
        said = exclusion.describe()
        protocol = self.protocol if said in self.protocol else f"{self.protocol}; {said}"
        return replace(self, positives=tuple(kept), protocol=protocol, exclusion=exclusion)

    def named(self, query_names: Sequence[str], database_names: Sequence[str]) -> "GroundTruth":
        """The same of images of these names.

        Raises:
            GroundTruthError: there are more or fewer of them.
        """
        check_counts("the ground truth", self, Sides(query_names, database_names))
        return replace(self, query_names=tuple(query_names), database_names=tuple(database_names))

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        query_names: Sequence[str] | None = None,
        database_names: Sequence[str] | None = None,
        radius: float | None = None,
        order: RowOrder | None = None,
        file: "TruthFile | None" = None,
    ) -> "GroundTruth":
        """Reads a ground truth: .npz (the reference's or ours), .csv of query and positives, .npy (VPR-Bench,
        GSV-Cities), or .mat (dbStruct of Pittsburgh and Tokyo 24/7). Its first bytes say which it is, not its name.

        Args:
            path: the file.
            query_names, database_names: the images that rows stand for. A .npy needs them, of an .npz they check the
                lengths, and the names if it has any. A csv's names may lead through other folders than the images'
                ("queries/1.jpg" for "1.jpg"); without names given, those of the csv count, and the database may hold
                more.
            radius: in metres or frames, overrides an .npz's posDistThr.
            order: of the images that rows of a file without names stand for; None takes them as they are given.
            file: how to read it; None decides by its first bytes.

        Raises:
            GroundTruthError: no such file, another kind of file, or one of other images.
        """
        path = Path(path)
        if not path.exists():
            raise GroundTruthError(f"{path} does not exist: give an .npz (utmQ, utmDb, posDistThr) or a .csv")
        kind = kind_of(path)
        if not kind:
            raise GroundTruthError(
                f"{path} is not one of the ground-truth files, which are {', '.join(TRUTH_FILES)}. Positions and poses "
                f"become one with 'patchvlad ground-truth --from {path}'"
            )
        file = file or TRUTH_FILES[kind]
        assert file is not None
        if file.lists_positives and radius is not None:
            raise GroundTruthError(f"{path} lists positives: a radius does not apply")
        names: PerhapsNames = Sides(query_names, database_names)
        truth = file.read(path, names, radius)
        if order is not None and file.by_row(path):
            rows = order.names(path, names)
            if query_names is not None and database_names is not None:
                truth = replace(truth, query_names=rows.queries, database_names=rows.database)
                truth = truth.of(query_names, database_names)
        if truth.complete:
            truth.check_telling(path)
        return truth

    def check_telling(self, source: object) -> None:
        """Warns of a truth that tells nothing, as most of the database is positive; `source` is where it is from."""
        warn_of_truth(source, self.positives, self.database, self.points or (), self.protocol, self.unit)

    def write(self, path: str | os.PathLike) -> None:
        """Writes an .npz that the reference reads, with names and headings beside its own three arrays, or a .csv.

        Raises:
            GroundTruthError: another suffix, or what the format cannot hold.
        """
        path = Path(path)
        check_writable(path)
        TRUTH_FILES[path.suffix.lower()].write(path, self)

    def describe(self) -> str:
        """How many queries have how many positives, in a line for each range, and which have none."""
        counts = np.array([len(rows) for rows in self.positives], dtype=np.int64)
        lines = [
            f"{counted(len(self), 'query', 'queries')}, {counted(self.database, 'database image')}, {self.protocol}"
        ]
        for first, last in ((0, 0), (1, 1), (2, 5), (6, 20), (21, None)):
            many = int(((counts >= first) & (counts <= (np.inf if last is None else last))).sum())
            said = f"{first}" if first == last else f"{first} to {last}" if last else f"{first} and more"
            if many:
                positives = f"{said:>11} positive{' ' if last == 1 else 's'}"
                lines.append(f"{positives}: {many:6} {'query' if many == 1 else 'queries'}")
        if self.query_names is not None and self.without_positives:
            none = [name for name, many in zip(self.query_names, counts, strict=True) if not many]
            lines.append(f"without any: {', '.join(none[:5])}{', ...' if len(none) > 5 else ''}")
        return "\n".join(lines)


@dataclass(frozen=True)
class TruthFile:
    """How files of one kind are read and written.

    Attributes:
        read: (path, names of the images, radius or None) -> GroundTruth.
        write: (path, GroundTruth); None where files of the kind are not written.
        lists_positives: whether a radius means nothing.
        by_row: (path) -> whether the file gives rows, and does not name the images that they stand for.
    """

    read: Callable[[Path, PerhapsNames, float | None], GroundTruth]
    write: Callable[[Path, GroundTruth], None] | None = None
    lists_positives: bool = False
    by_row: Callable[[Path], bool] = lambda _: False


def kind_of(path: Path) -> str:
    """Which kind of ground truth a file is, by its first bytes, else by its suffix; "" of other texts and of folders.

    Raises:
        GroundTruthError: it cannot be read, or is none of the kinds and no text.
    """
    suffix = path.suffix.lower()
    if not path.is_file() and not path.exists():
        return suffix if suffix in TRUTH_FILES else ""  # whose reader says so
    if path.is_dir():
        return ""
    try:
        check_file(path)
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise GroundTruthError(f"{path} cannot be read as a ground truth: {error}") from error
    for start, kind in FIRST_BYTES.items():
        if head.startswith(start):
            return kind
    if suffix in TRUTH_FILES:
        return suffix
    if b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise GroundTruthError(f"{path} is not one of the ground-truth files, which are {', '.join(TRUTH_FILES)}")
    return ".csv" if suffix == ".tsv" else ""


def check_writable(path: Path) -> None:
    """Raises GroundTruthError unless files of that suffix can be written."""
    kinds = [kind for kind in TRUTH_FILES if TRUTH_FILES[kind].write is not None]
    if path.suffix.lower() not in kinds:
        raise GroundTruthError(f"{path}: a ground truth is written as {' or '.join(kinds)}")


def check_counts(source: object, truth: GroundTruth, names: PerhapsNames) -> None:
    """Raises GroundTruthError unless there are as many names, where there are any, as the truth has rows."""
    for (kind, side), count in zip(names.items(), (len(truth), truth.database), strict=True):
        if side is not None and len(side) != count:
            raise GroundTruthError(
                f"{source} has positions of {count} images for the {kind}, but {len(side)} were given: "
                "use the image list that the ground truth was made for"
            )
