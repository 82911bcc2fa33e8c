"""The images that predictions are about, as options or results folders name them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..features.global_descriptors import GlobalDescriptors
    from ..images.row_order import RowOrder
    from ..images.sides import Names, PerhapsNames, Sides


def row_order_of(arguments: argparse.Namespace) -> "RowOrder":
    """The order of files of rows: as chosen, or as list files give it."""
    from ..images.row_order import RowOrder
    from ..images.sides import Sides

    lists = [getattr(arguments, f"{side}_list", None) for side in ("query", "database")]
    sides = zip((arguments.queries, arguments.database), lists, strict=True)
    given = (listed is not None or (path is not None and path.is_file()) for path, listed in sides)
    return RowOrder(arguments.row_order, Sides(*given))


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


def read_descriptors(files: Sequence[Path], names: "Names", order: "RowOrder") -> "Sides[GlobalDescriptors]":
    """Global descriptors of another method, in the order of the names."""
    from dataclasses import replace

    from ..features.global_descriptors import is_hdf5, read_global_descriptors
    from ..images.names import FOLDERS
    from ..images.sides import Sides

    others = {"queries": FOLDERS["database"], "database": FOLDERS["queries"]}
    found = []
    for path, (kind, side) in zip(files, names.items(), strict=True):
        read = read_global_descriptors(path, side, others[kind])
        rows = read.names if is_hdf5(path) else order.of_side(path, kind, side)
        found.append(replace(read, names=rows).of(side))
    return Sides(*found)
