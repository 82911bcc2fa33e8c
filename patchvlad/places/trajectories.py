"""Trajectories of TUM's RGB-D benchmark (Sturm et al. 2012): a line `time tx ty tz qx qy qz qw` per pose, to the world.

They name no photos, which meet them by time: a photo's time is its file name (`1305031102.175304.png`), or what a list
of times and names says (`rgb.txt`, `associations.txt`).
"""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import GroundTruthError
from ..images.names import finder

GAP = 1.0  # seconds between poses, between which a position is interpolated
NEAR = 0.02  # seconds from a photo to a pose at most, as the benchmark's own tool has it
UNITS = (1.0, 1e-3, 1e-6, 1e-9)  # of times in file names: seconds, milli-, micro- and nanoseconds


def is_trajectory(lines: Sequence[Sequence[str]]) -> bool:
    """Whether lines, as lists of fields, are times and poses: eight numbers, the last four a unit quaternion."""
    values = [_numbers(fields) for fields in lines[:5]]
    return bool(values) and all(
        value is not None and len(value) == 8 and abs(math.hypot(*value[4:]) - 1) < 0.01 for value in values
    )


def read_trajectory(source: Path, lines: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) times in seconds, ascending, and (N, 3) where the camera stood.

    Raises:
        GroundTruthError: a line that is no time and pose, or two poses of one time that differ.
    """
    rows = []
    for fields in lines:
        value = _numbers(fields)
        if value is None or len(value) != 8 or abs(math.hypot(*value[4:]) - 1) > 0.01:
            raise GroundTruthError(f"{source}: {' '.join(fields)[:80]!r} should read time tx ty tz qx qy qz qw")
        rows.append(value[:4])
    values = np.unique(np.array(rows), axis=0)
    if (np.diff(values[:, 0]) == 0).any():
        raise GroundTruthError(f"{source} has two poses of the time {values[:-1][np.diff(values[:, 0]) == 0][0, 0]!r}")
    return values[:, 0], values[:, 1:]


def read_times(source: Path, lines: Sequence[Sequence[str]]) -> dict[str, float]:
    """Times of photos by name, of lines `time name`, or `time name time name`, the latter of depth.

    Raises:
        GroundTruthError: another line.
    """
    found = {}
    for fields in lines:
        value = _numbers(fields[:1])
        if value is None or len(fields) not in (2, 4):
            raise GroundTruthError(f"{source}: {' '.join(fields)[:80]!r} should read time name")
        found[fields[1]] = value[0]
    return found


def positions_at(
    source: str, trajectory: tuple[np.ndarray, np.ndarray], kind: str, names: Sequence[str], listed: dict[str, float]
) -> np.ndarray:
    """(N, 3) where the camera stood when each photo was taken, interpolated between poses at most a second apart.

    Args:
        source: files, for messages.
        trajectory: times and positions.
        kind: "queries" or "database", for messages.
        names: (N) of the photos.
        listed: times of photos by name; empty where names are times.

    Raises:
        GroundTruthError: a photo has no time, or there is no pose at its time.
    """
    times, points = trajectory
    taken = _of_lists(source, kind, names, listed) if listed else _of_names(source, names, times)
    found = np.column_stack([np.interp(taken, times, axis) for axis in points.T])
    after = np.clip(np.searchsorted(times, taken), 1, max(len(times) - 1, 1)) if len(times) > 1 else None
    near = np.abs(taken[:, None] - times[[0, -1]]).min(axis=1) <= NEAR
    if after is not None:
        before, behind = times[after - 1], times[after]
        inside = (taken >= before) & (taken <= behind) & (behind - before <= GAP)
        near |= inside | (np.minimum(np.abs(taken - before), np.abs(taken - behind)) <= NEAR)
    if not near.all():
        first = int(np.flatnonzero(~near)[0])
        raise GroundTruthError(
            f"{source} has no pose at the times of {int((~near).sum())} of {len(names)} images of the {kind}, such as "
            f"{names[first]} at {taken[first]:.3f} s; its poses are of {times[0]:.3f} to {times[-1]:.3f} s"
        )
    return found


def _of_lists(source: str, kind: str, names: Sequence[str], listed: dict[str, float]) -> np.ndarray:
    row_of = finder(source, kind, names, list(listed))
    taken = np.full(len(names), np.nan)
    for name, time in listed.items():
        row = row_of(name)
        if row is not None:
            taken[row] = time
    without = np.flatnonzero(np.isnan(taken))
    if len(without):
        raise GroundTruthError(
            f"{source} has no time of {len(without)} of {len(names)} images of the {kind}, such as {names[without[0]]}"
        )
    return taken


def _of_names(source: str, names: Sequence[str], times: np.ndarray) -> np.ndarray:
    """Times in file names, in the unit by which most lie within the trajectory."""
    said = [_numbers([PurePosixPath(name).name.rsplit(".", 1)[0]]) for name in names]
    without = [name for name, value in zip(names, said, strict=True) if value is None]
    if without:
        raise GroundTruthError(
            f"{source} goes by time, and {without[0]} is not a time: name photos by their times, or give the list of "
            "times and names too, such as rgb.txt"
        )
    taken = np.array([value[0] for value in said if value is not None])
    within = [((taken * unit >= times[0] - NEAR) & (taken * unit <= times[-1] + NEAR)).sum() for unit in UNITS]
    return taken * UNITS[int(np.argmax(within))]


def _numbers(fields: Sequence[str]) -> list[float] | None:
    """The numbers of a line; None where one is none."""
    try:
        values = [float(field) for field in fields]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
