"""Camera poses, read from the benchmarks' files.

A pose maps the world to the camera, x_camera = R(q) x_world + t, so the camera stands at -R(q)^T t.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GroundTruthError, counted
from ..files.regular import check_file
from ..images.names import finder
from .registry import POSE_FORMATS
from .rows_by_name import comparable
from .trajectories import is_trajectory

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

LARGEST = 1 << 32  # bytes of a text file: COLMAP's holds the points of every image, too
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Poses:
    """Poses of N images.

    Attributes:
        names: (N).
        rotations: (N, 4) unit quaternions qw, qx, qy, qz, world to camera; NaN where there is no pose.
        translations: (N, 3) tx, ty, tz in metres, world to camera.
    """

    names: tuple[str, ...]
    rotations: np.ndarray
    translations: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        """(N, 3) where the cameras stand, in metres."""
        return -rotation_of(self.rotations).inv().apply(self.translations)

    def of(self, names: Sequence[str], source: str | os.PathLike, kind: str) -> "Poses":
        """Those of images of these names, NaN for images without one; leading folders and suffixes may differ.

        Raises:
            GroundTruthError: no image has a pose.
        """
        theirs, ours = comparable(self.names, names)
        row_of = finder(source, kind, ours, theirs)
        rotations, translations = np.full((len(names), 4), np.nan), np.full((len(names), 3), np.nan)
        for theirs_row, name in enumerate(theirs):
            row = row_of(name)
            if row is not None:
                turned = abs(float(rotations[row] @ self.rotations[theirs_row]))  # 1 for q and for -q
                moved = np.abs(translations[row] - self.translations[theirs_row]).max()
                if turned < 1 - 1e-6 or moved > 1e-3:
                    raise GroundTruthError(f"{source} has two poses of {self.names[theirs_row]} that differ")
                rotations[row], translations[row] = self.rotations[theirs_row], self.translations[theirs_row]
        found = Poses(tuple(names), rotations, translations)
        without = np.flatnonzero(~found.known)
        if len(without):
            log.warning(
                "%s has no pose of %d of %d images of the %s, such as %s",
                *(source, len(without), len(names), kind, names[without[0]]),
            )
        return found

    @property
    def known(self) -> np.ndarray:
        """(N,) bool."""
        return np.isfinite(self.rotations).all(axis=1) & np.isfinite(self.translations).all(axis=1)


def read_poses(paths: Iterable[Path], form: str | None = None) -> Poses:
    """Reads poses of one or several files.

    Args:
        paths: text files, or folders of kapture.
        form: "ltvl" (name qw qx qy qz tx ty tz, world to camera), "cmu" (name qw qx qy qz cx cy cz, the last three the
            camera's position), "robotcar" (name and the 16 numbers of the matrix camera to world), "kapture" (a folder
            with sensors/), "colmap" (its images.txt, or the folder of it, world to camera); None tells by what is
            there.

    Raises:
        GroundTruthError: a file that cannot be read so.
    """
    if form is not None and form not in POSE_FORMATS:
        raise GroundTruthError(f"unknown format of poses {form!r}: choose from {', '.join(POSE_FORMATS)}")
    readers: dict[str, Callable[[Path], Poses]] = {"kapture": _read_kapture, "colmap": _read_colmap}
    read = []
    for path in paths:
        kind = form or format_of(path)
        if kind == "tum":
            raise GroundTruthError(
                f"{path} is a trajectory of times and poses, which names no images: make a ground truth with "
                f"'patchvlad ground-truth --from {path}'"
            )
        read.append(readers[kind](path) if kind in readers else _read_text(path, kind))
    return Poses(
        tuple(name for poses in read for name in poses.names),
        np.concatenate([poses.rotations for poses in read]),
        np.concatenate([poses.translations for poses in read]),
    )


def format_of(path: Path) -> str:
    """The format that a path seems to be of, by its name and its first lines; "tum" for a trajectory of times."""
    if path.is_dir():
        return "colmap" if (path / "images.txt").is_file() else "kapture"
    if path.name.startswith("ground-truth-database-images") or path.parent.name == "camera-poses":
        return "cmu"
    lines = fields_of(path)[:5]
    if is_trajectory(lines):
        return "tum"
    if lines and len(lines[0]) >= 10 and lines[0][0].isdigit() and lines[0][8].isdigit():
        return "colmap"
    return "robotcar" if lines and len(lines[0]) == 17 else "ltvl"


def fields_of(path: Path) -> list[list[str]]:
    """The fields of every line of a text file, comments and empty lines left out.

    Raises:
        GroundTruthError: it cannot be read.
    """
    return [line.split() for line in _lines(path) if line.strip() and not line.lstrip().startswith("#")]


# --- files ----------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> list[str]:
    try:
        check_file(path, LARGEST)
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GroundTruthError(f"{path} cannot be read as poses ({error})") from error


def _read_text(path: Path, form: str) -> Poses:
    names, rotations, translations = [], [], []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *said = line.split()
        try:
            rotation, translation = _pose([float(value) for value in said], form)
        except ValueError as error:
            raise GroundTruthError(
                f"{path}, line {number}: {error}; it should read name qw qx qy qz tx ty tz, or name and a 4 x 4 matrix"
            ) from error
        names.append(name)
        rotations.append(rotation)
        translations.append(translation)
    if not names:
        raise GroundTruthError(f"{path} is empty: it holds no pose")
    return Poses(tuple(names), np.array(rotations), np.array(translations))


def _pose(values: Sequence[float], form: str) -> tuple[np.ndarray, np.ndarray]:
    """(4,) and (3,) of the numbers behind a name."""
    if not np.isfinite(values).all():
        raise ValueError("a number that is not finite")
    if len(values) == 16 and form == "robotcar":
        matrix = np.array(values).reshape(4, 4)
        if not np.allclose(matrix[3], (0, 0, 0, 1)) or not np.allclose(
            matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-2
        ):
            raise ValueError("a matrix that is not a pose: its last row must be 0 0 0 1")
        from scipy.spatial.transform import Rotation

        to_camera = Rotation.from_matrix(matrix[:3, :3]).inv()
        return np.roll(to_camera.as_quat(), 1), -to_camera.apply(matrix[:3, 3])
    if len(values) != 7 or form == "robotcar":
        raise ValueError(f"{len(values)} numbers")
    rotation = np.array(values[:4])
    length = math.hypot(*rotation)
    if abs(length - 1) > 0.01:
        raise ValueError(f"a quaternion of length {length:.3g}")
    rotation /= length
    third = np.array(values[4:])
    return rotation, -rotation_of(rotation[None]).apply(third[None])[0] if form == "cmu" else third


def _read_colmap(path: Path) -> Poses:
    """images.txt: two lines per image, `id qw qx qy qz tx ty tz camera name`, world to camera, and its points.

    The line of points may be empty, but is always there.
    """
    if path.is_dir():
        path = path / "images.txt"
    names, values = [], []
    lines = iter(enumerate(_lines(path), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = line.strip().split(maxsplit=9)
        try:
            if len(fields) < 10:
                raise ValueError(f"{counted(len(fields), 'field')}")
            values.append(_pose([float(value) for value in fields[1:8]], "ltvl"))
        except ValueError as error:
            raise GroundTruthError(
                f"{path}, line {number}: {error}; it should read id qw qx qy qz tx ty tz camera name, and a line of "
                "points should follow"
            ) from error
        names.append(fields[9])
        next(lines, None)
    if not names:
        raise GroundTruthError(f"{path} is empty: it holds no pose")
    return Poses(tuple(names), *(np.array(part) for part in zip(*values, strict=True)))


def _read_kapture(folder: Path) -> Poses:
    """sensors/records_camera.txt and sensors/trajectories.txt; cameras on rigs are not followed."""
    sensors = folder / "sensors"
    records = {tuple(row[:2]): row[2] for row in _table(sensors / "records_camera.txt", 3)}
    names, rotations, translations = [], [], []
    for row in _table(sensors / "trajectories.txt", 9):
        name = records.get((row[0], row[1]))
        try:
            rotation, translation = _pose([float(value) for value in row[2:9]], "ltvl")
        except ValueError as error:
            raise GroundTruthError(f"{sensors / 'trajectories.txt'}: {', '.join(row)}: {error}") from error
        if name is not None:
            names.append(name)
            rotations.append(rotation)
            translations.append(translation)
    if not names:
        raise GroundTruthError(f"{folder}: no image of sensors/records_camera.txt has a pose of its own")
    return Poses(tuple(names), np.array(rotations), np.array(translations))


def _table(path: Path, columns: int) -> list[list[str]]:
    lines = (line for line in _lines(path) if line.strip() and not line.startswith("#"))
    rows = [[part.strip() for part in line.split(",")] for line in lines]
    if any(len(row) < columns for row in rows):
        raise GroundTruthError(f"{path} has a line with fewer than {columns} fields: is it kapture's?")
    return rows


def rotation_of(quaternions: np.ndarray) -> "Rotation":
    """(N, 4) qw, qx, qy, qz -> N rotations."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(np.roll(quaternions.reshape(-1, 4), -1, axis=1))
