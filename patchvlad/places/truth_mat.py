"""Ground truth in .mat: the `dbStruct` of NetVLAD's authors (Arandjelovic et al. 2016), for Pittsburgh and Tokyo 24/7.

Its fields are the names and UTM positions of both sides (dbImageFns, utmDb, qImageFns, utmQ), and posDistThr in metres.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GroundTruthError
from ..files.arrays import DAMAGE
from ..files.regular import check_file, size_of
from ..images.sides import PerhapsNames, Sides
from .ground_truth import GroundTruth, TruthFile
from .located import in_metres
from .radii import RADIUS
from .rows_by_name import rows_of

LARGEST = 1 << 28  # bytes of a file, 256 MiB: Pittsburgh 250k takes 6
UNPACKED = 1 << 30  # bytes that it may hold, 1 GiB
MATRIX, COMPRESSED, CELLS = 14, 15, (1, 2)  # kinds of elements, and classes of matrices: cells, structures
DEEPEST = 16  # cells in cells
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
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    check_file(path, LARGEST)
    _check_size(path)
    try:
        variables = loadmat(path, squeeze_me=False, struct_as_record=True)
    except NotImplementedError as error:
        raise ValueError("it is of MATLAB 7.3, which is HDF5: save it with -v7") from error
    except MatReadError as error:
        raise ValueError(str(error)) from error
    if "dbStruct" not in variables:
        there = [name for name in variables if not name.startswith("__")]
        raise ValueError(f"it has no dbStruct, but {', '.join(there[:8]) or 'nothing'}")
    record = np.ravel(variables["dbStruct"])
    fields = record.dtype.names or ()
    absent = [name for name in FIELDS if name not in fields]
    if absent or len(record) != 1:
        raise ValueError(f"its dbStruct has no {', '.join(absent)}" if absent else f"it has {len(record)} of them")
    return {name: record[0][name] for name in fields}


def _check_size(path: Path) -> None:
    """Raises ValueError if the compressed parts of a file would take more memory than any truth does."""
    content = path.read_bytes()
    order = "<" if content[126:128] == b"IM" else ">"
    left = UNPACKED
    for kind, part in _elements(memoryview(content)[128:], order):
        if kind == COMPRESSED:
            parts, stream, data = [], zlib.decompressobj(), bytes(part)
            while data and not stream.eof:
                parts.append(stream.decompress(data, 1 << 20))
                data = stream.unconsumed_tail
                left -= len(parts[-1])
                if left < 0:
                    raise ValueError(f"it holds more than {size_of(UNPACKED)}")
            unpacked = memoryview(b"".join(parts))
            for kind, part in _elements(unpacked, order):
                _check_cells(kind, part, order)
        else:
            _check_cells(kind, part, order)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The kinds and contents of the elements that stand one behind the other."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small one, whose contents stand in its head
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, data[at + 8 : at + 8 + size]
            at += 8 + size + (-size % 8 if kind != COMPRESSED else 0)


def _check_cells(kind: int, data: memoryview, order: str, depth: int = 0) -> None:
    """Raises ValueError where a cell array or a structure has more cells than bytes: room is made for all at once."""
    if kind != MATRIX:
        return
    if depth > DEEPEST:
        raise ValueError("cells in cells without end")
    elements = _elements(data, order)
    flags, dims = (next(elements, (0, memoryview(b"")))[1] for _ in range(2))
    if len(flags) < 4 or struct.unpack_from(f"{order}I", flags)[0] & 0xFF not in CELLS:
        return
    cells = math.prod(struct.unpack_from(f"{order}{len(dims) // 4}i", dims))
    if not 0 <= cells <= len(data):
        raise ValueError(f"a cell array of {cells} cells in {size_of(len(data))}")
    for inner, part in elements:
        _check_cells(inner, part, order, depth + 1)


def _names(cells: Any) -> tuple[str, ...]:
    """Names of images, of a cell array of texts."""
    names = tuple(str(np.ravel(cell)[0]).replace("\\", "/") for cell in np.ravel(cells))
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
