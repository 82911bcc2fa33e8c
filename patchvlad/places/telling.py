"""Truths that tell nothing: where almost any answer is right, every method has high numbers, and this is said."""

import logging
from collections.abc import Sequence

import numpy as np

log = logging.getLogger(__name__)

MOST = 0.5  # share of the database that is positive for a query: above it chance alone is right at the first guess
FAR = 1e5  # metres from the origin: who stands there while all others are so far away has no position at all


def warn_of_truth(
    source: object,
    positives: Sequence[np.ndarray],
    database: int,
    where: Sequence[np.ndarray] = (),
    protocol: str = "",
    unit: str = "m",
) -> None:
    """Warns where most of a database is positive for the queries that can be answered, and of unknown positions.

    A database of one image is no search at all, and nothing is said of it.

    Args:
        source: file or folder that the truth is from, for the message.
        positives: for each query the (n,) rows of its positives.
        database: number of database images.
        where: (N, d) positions of queries and of the database in `unit`, where they are known.
        protocol: how a positive is defined, in words.
        unit: "m", "frames" or "labels".
    """
    if database < 2:
        return
    counts = np.array([len(rows) for rows in positives if len(rows)])
    share = counts.mean() / database if len(counts) else 0.0
    points = np.concatenate(list(where)) if len(where) else np.zeros((0, 2))
    if unit != "m":
        points = points[:0]
    if len(points) > 1 and not np.ptp(points, axis=0).any():
        at = ", ".join(f"{value:g}" for value in points[0])
        log.warning(
            "%s: all %d positions are equal, (%s), so that every database image is positive for every query: check "
            "where they come from",
            *(source, len(points), at),
        )
    elif share > MOST:
        log.warning(
            "%s: %.0f %% of the database images are positive for a query, on average (%s%s): any answer is right as "
            "often, so recall tells nothing. Check the %s",
            *(source, 100 * share, protocol or "as listed", _extent(points)),
            {"labels": "labels", "frames": "lists, or take fewer frames"}.get(
                unit, "positions, or take a smaller radius" if len(points) else "file"
            ),
        )
    _warn_of_origin(source, points)


def warn_of_negatives(source: object, close: Sequence[np.ndarray], database: int, radius: float) -> None:
    """Warns where most queries have no safe negative to learn from.

    Args:
        source: file or folder of the dataset, for the message.
        close: for each query the (n,) rows of database photos that are no safe negatives.
        database: number of database photos.
        radius: metres beyond which photos are safe negatives.
    """
    without = sum(len(rows) >= database for rows in close)
    if without > MOST * len(close):
        log.warning(
            "%s: no database photo lies beyond %g m of %d of %d queries, so that these have no negatives: check the "
            "positions, or take smaller radii",
            *(source, radius, without, len(close)),
        )


def _extent(points: np.ndarray) -> str:
    """How far all photos lie apart, in words."""
    if not len(points):
        return ""
    return f"; all photos lie within {' x '.join(f'{size:.3g}' for size in np.ptp(points, axis=0))} m"


def _warn_of_origin(source: object, points: np.ndarray) -> None:
    """Photos at (0, 0), where many a tool puts those that it knows no position of."""
    none = (points == 0).all(axis=1)
    if not none.any() or none.all():
        return
    away = float(np.linalg.norm(points[~none], axis=1).min())
    if away > FAR:
        log.warning(
            "%s: %d of %d positions are (0, 0), %.0f km from the others: such photos have no position, and are better "
            "left out",
            *(source, int(none.sum()), len(points), away / 1000),
        )
