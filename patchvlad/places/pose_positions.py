"""Positions of photos out of files of poses: where the cameras stood, in metres of the poses' own frame."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError
from ..images.lists import ImageList
from ..images.sides import Sides
from .poses import fields_of, format_of, read_poses
from .trajectories import positions_at, read_times, read_trajectory

log = logging.getLogger(__name__)


def locate(files: Sequence[Path], images: Sides[ImageList]) -> tuple[Sides[np.ndarray], str]:
    """Where the photos of both sides were taken.

    Args:
        files: poses with names (COLMAP, kapture, LTVL, CMU, RobotCar), or a trajectory of times and poses (TUM) and
            perhaps lists of times and names.
        images: both sides.

    Returns:
        (Q, 3) and (B, 3) of both sides, and the source in words.

    Raises:
        GroundTruthError: a file that cannot be read so, or a photo without a pose.
    """
    source = ", ".join(str(path) for path in files)
    said = ", ".join(path.name for path in files)
    kinds = {path: "times" if _lists_times(path) else format_of(path) for path in files}
    if "tum" in kinds.values() or "times" in kinds.values():
        return _by_time(kinds, source, images), f"{said}, trajectory"
    if "colmap" in kinds.values():
        log.info(
            "%s: the units of COLMAP's poses are taken for metres, and positions are the centres of cameras", source
        )
    poses = read_poses(files)
    sides = []
    for kind, side in images.items():
        found = poses.of(side.names, source, kind)
        without = np.flatnonzero(~found.known)
        if len(without):
            raise GroundTruthError(
                f"{source} has no pose of {len(without)} of {len(side)} images of the {kind}, such as "
                f"{side.names[without[0]]}: leave them out of the list"
            )
        sides.append(found.centres)
    return Sides(*sides), f"{said}, camera centres"


def _by_time(kinds: dict[Path, str], source: str, images: Sides[ImageList]) -> Sides[np.ndarray]:
    trajectories = [path for path, kind in kinds.items() if kind == "tum"]
    others = [path for path, kind in kinds.items() if kind not in ("tum", "times")]
    if len(trajectories) != 1 or others:
        raise GroundTruthError(
            f"{source}: one trajectory of times and poses goes with lists of times and names, such as rgb.txt, and "
            "with no other file"
        )
    trajectory = read_trajectory(trajectories[0], fields_of(trajectories[0]))
    listed: dict[str, float] = {}
    for path, kind in kinds.items():
        if kind == "times":
            listed |= read_times(path, fields_of(path))
    return Sides(*(positions_at(source, trajectory, kind, side.names, listed) for kind, side in images.items()))


def _lists_times(path: Path) -> bool:
    """Whether a file begins with a time and a name."""
    first = [] if path.is_dir() else (fields_of(path)[:1] or [[]])[0]
    try:
        return len(first) in (2, 4) and float(first[0]) >= 0
    except ValueError:
        return False
