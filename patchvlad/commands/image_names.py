"""The images that predictions are about, as options or results folders name them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..features.global_descriptors import GlobalDescriptors
    from ..features.store import FeatureStore
    from ..images.lists import ImageList
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


def photos_of(arguments: argparse.Namespace) -> "Sides[ImageList | FeatureStore | None]":
    """The photos or stores that options give; None where they give none."""
    from ..features.store import FeatureStore, is_store
    from ..images.lists import ImageList
    from ..images.sides import Sides

    def photos(path: Path | None) -> "ImageList | FeatureStore | None":
        if path is None:
            return None
        return FeatureStore(path) if is_store(path) else ImageList.read_either(path, arguments.root)

    return Sides(photos(arguments.queries), photos(arguments.database))


def names_of(photos: "Sides[ImageList | FeatureStore | None]", predictions: Sequence[Path]) -> "PerhapsNames":
    """Names of queries and database: of the photos given, else of those that lie in a folder of results."""
    from ..results.folder import lists_in

    given = photos.map(lambda side: None if side is None else side.names)
    for path in predictions if (given.queries, given.database) == (None, None) else ():
        lists = lists_in(path)
        if lists is not None:
            return lists.map(tuple)
    return given


def described_images(files: Sequence[Path], order: "RowOrder") -> "tuple[Names, RowOrder]":
    """Names of the images that two HDF5 files describe, and their order, which is known where the files say it."""
    from natsort import natsorted

    from ..features.global_descriptors import names_in_hdf5
    from ..images.row_order import RowOrder
    from ..images.sides import Sides

    if len({path.resolve() for path in files}) < len(files):
        raise ConfigError(f"{files[0]} describes queries and database: give their lists with --queries and --database")
    found = [names_in_hdf5(path) for path in files]
    names = (side if ordered else tuple(natsorted(sorted(side))) for side, ordered in found)
    return Sides(*names), RowOrder(order.chosen, Sides(*(ordered for _, ordered in found)))


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
