"""How far the pose that a query is given, that of its best match, is from its true one."""

from collections.abc import Sequence

import numpy as np

from ..places.poses import Poses, rotation_of

THRESHOLDS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))  # metres and degrees of the long-term localisation benchmark


def pose_errors(estimated: Poses, true: Poses) -> tuple[np.ndarray, np.ndarray]:
    """(Q,) metres between camera centres and (Q,) degrees between orientations; infinite without an estimate.

    Queries without a true pose are NaN.
    """
    metres, degrees = np.full(len(true.names), np.inf), np.full(len(true.names), np.inf)
    both = estimated.known & true.known
    metres[both] = np.linalg.norm(_some(estimated, both).centres - _some(true, both).centres, axis=1)
    turn = rotation_of(estimated.rotations[both]) * rotation_of(true.rotations[both]).inv()
    degrees[both] = np.degrees(turn.magnitude())
    metres[~true.known] = degrees[~true.known] = np.nan
    return metres, degrees


def shares_within(
    metres: np.ndarray, degrees: np.ndarray, thresholds: Sequence[tuple[float, float]] = THRESHOLDS
) -> list[float]:
    """For each (metres, degrees), the share of queries with a true pose whose errors are both at most that."""
    counted = ~np.isnan(metres)
    if not counted.any():
        return [0.0] * len(thresholds)
    return [float(np.mean((metres[counted] <= near) & (degrees[counted] <= turn))) for near, turn in thresholds]


def _some(poses: Poses, rows: np.ndarray) -> Poses:
    names = tuple(name for name, wanted in zip(poses.names, rows, strict=True) if wanted)
    return Poses(names, poses.rotations[rows], poses.translations[rows])
