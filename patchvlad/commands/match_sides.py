"""What a side of match may be: a store, or some of its images, features of the reference, or photos."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..features.store import FeatureStore
    from ..images.lists import ImageList
    from .preset import Preset


def source_of(
    path: Path, listed: Path | None, preset: "Preset", arguments: argparse.Namespace
) -> "FeatureStore | ImageList":
    """A store or those of its images that a list names, features of the reference by their list, or photos."""
    from ..features.reference_features import ReferenceFeatures, is_reference_features
    from ..features.store import FeatureStore, is_store
    from ..features.store_part import StorePart
    from ..images.lists import ImageList

    if is_reference_features(path):
        if listed is None:
            raise ConfigError(
                f"{path} holds features of the reference, whose rows a list names: give it with --query-list or "
                "--database-list, and the preset or config that they were extracted with"
            )
        return ReferenceFeatures(path, ImageList.read(listed, arguments.root).names, preset.description)
    if is_store(path):
        store = FeatureStore(path)
        if listed is None:
            return store
        kind = "queries" if listed == arguments.query_list else "database"
        return StorePart(store, ImageList.read(listed, arguments.root).names, listed, kind)
    if listed is not None:
        raise ConfigError(
            f"{path} holds photos: give the list itself with --queries or --database; --query-list and --database-list "
            "are for stores and the reference's features"
        )
    return ImageList.read_either(path, arguments.root).scaled(arguments.pixel_range)
