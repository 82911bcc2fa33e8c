"""The images that predictions are about, as options or results folders name them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..images.sides import PerhapsNames


def names_of(arguments: argparse.Namespace, predictions: Sequence[Path]) -> "PerhapsNames":
    """Names of queries and database: of the lists given, else of those that lie in a folder of results."""
    from ..features.store import FeatureStore, is_store
    from ..images.lists import ImageList
    from ..images.sides import Sides
    from ..results.folder import lists_in

    def names(path: Path | None) -> tuple[str, ...] | None:
        if path is None:
            return None
        if is_store(path):
            return FeatureStore(path).names
        return ImageList.read_either(path, arguments.root).names

    given = Sides(names(arguments.queries), names(arguments.database))
    for path in predictions if given == Sides(None, None) else ():
        lists = lists_in(path)
        if lists is not None:
            return lists.map(tuple)
    return given
