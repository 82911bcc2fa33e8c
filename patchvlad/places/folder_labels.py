"""Labels of places from folders, one per place: `tower/1.jpg` and `tower/2.jpg` show the place `tower`."""

import os
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..errors import GroundTruthError
from ..images.lists import ImageList
from ..images.sides import Sides


def of_sides(images: Sides[ImageList]) -> Sides[Sequence[str]]:
    """The label of every photo; folders that lie above all photos of a side do not count.

    Raises:
        GroundTruthError: a photo lies in no folder of a place, or queries and database have no place in common.
    """
    sides = images.map(labels)
    if not set(sides.queries) & set(sides.database):
        sides = Sides(*(_below_common(side) for side in sides))
    if not set(sides.queries) & set(sides.database):
        raise GroundTruthError(
            f"{images.queries.root} and {images.database.root} have no folder in common, such as {sides.queries[0]}: "
            "photos of one place must lie in folders of the same name"
        )
    return sides


def labels(images: ImageList) -> list[str]:
    """The folder of every photo, relative to the root.

    Raises:
        GroundTruthError: a photo lies in none.
    """
    found = [PurePosixPath(name).parent.as_posix() for name in images.names]
    for name, label in zip(images.names, found, strict=True):
        if label == ".":
            raise GroundTruthError(f"{images.root}: {name} lies in no folder of a place, as PLACE/{name} would")
    return found


def _below_common(folders: Sequence[str]) -> list[str]:
    """The same without the folders that all lie in, such as `queries/`; the last one stays."""
    common = os.path.commonpath([PurePosixPath(folder).parent.as_posix() for folder in set(folders)])
    if common in ("", "."):
        return list(folders)
    return [PurePosixPath(folder).relative_to(common).as_posix() for folder in folders]
