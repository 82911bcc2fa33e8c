"""What is left out of a query's answers, as options say: the photo itself, neighbouring frames, photos of its time."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, counted
from .options import at_least

if TYPE_CHECKING:
    import numpy as np

    from ..features.store import FeatureStore
    from ..images.lists import ImageList
    from ..images.sides import Names, Sides
    from ..places.exclusion import Exclusion

    Photos = ImageList | FeatureStore

log = logging.getLogger(__name__)


def add_exclusion_options(parser: argparse.ArgumentParser) -> None:
    """For a set against itself, and for drives."""
    parser.add_argument(
        "--no-exclude-self", action="store_true", help="a photo of both sides may be its own answer (default: never)"
    )
    parser.add_argument(
        "--exclude-neighbours",
        type=at_least(0),
        default=0,
        metavar="N",
        help="leave out so many frames on either side of a query in its drive (default: %(default)s)",
    )
    parser.add_argument(
        "--exclude-seconds",
        type=_seconds,
        metavar="S",
        help="leave out photos taken within so many seconds of a query (default: none)",
    )
    parser.add_argument(
        "--times",
        metavar="T",
        help="when photos were taken: a .csv of image and time, exif, or names (default: names if they hold times, "
        "else exif)",
    )


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0, not {text}")
    return number


def asked_for(arguments: argparse.Namespace) -> bool:
    """Whether options say anything about what is left out."""
    return bool(arguments.no_exclude_self or arguments.exclude_neighbours or arguments.exclude_seconds is not None)


def exclusion_of(arguments: argparse.Namespace, sides: "Sides[Photos]") -> "Exclusion":
    """What is left out, as options say, of these photos; said once, if it is anything."""
    from ..images.sides import Sides
    from ..places.exclusion import Exclusion, frames_of, one_root
    from ..places.times import times_of

    near = arguments.exclude_neighbours or arguments.exclude_seconds is not None
    if arguments.no_exclude_self and near:
        raise ConfigError("--no-exclude-self keeps a photo that --exclude-neighbours and --exclude-seconds leave out")
    if arguments.times is not None and arguments.exclude_seconds is None:
        raise ConfigError("--times means nothing without --exclude-seconds: give both")
    same = _same(arguments, sides)
    if arguments.no_exclude_self:
        if len(same):
            log.info("%s: each is its own best answer, and a positive of itself", _shared(same, sides.queries.names))
        return Exclusion(same[:0])
    names, lists = sides.map(lambda side: tuple(side.names)), sides.map(_listed)
    frames = times = None
    if arguments.exclude_neighbours:
        roots = [None if images is None else images.root for images in lists]
        frames = frames_of(names, same, one_root(*roots))
    if arguments.exclude_seconds is not None:
        source = arguments.times
        if lists.queries is None or lists.database is None:
            raise ConfigError("--exclude-seconds needs to know where photos are: give photos, not stores")
        images = Sides(lists.queries, lists.database)
        times = times_of(images, source if source in (None, "exif", "names") else Path(source))
    found = Exclusion(same, arguments.exclude_neighbours, frames, arguments.exclude_seconds, times)
    if len(same):
        log.info("%s: no photo is an answer to itself (--no-exclude-self changes that)", _shared(same, names.queries))
    return found


def _shared(same: "np.ndarray", queries: Sequence[str]) -> str:
    rows = sorted(set(same[:, 0].tolist()))
    example = f", such as {queries[rows[0]]}" if len(rows) > 1 else f", {queries[rows[0]]}"
    return f"{counted(len(rows), 'photo is', 'photos are')} on both sides{example}"


def _listed(side: "Photos") -> "ImageList | None":
    """The photos of a list, or of a store that says where they lie."""
    from ..images.lists import ImageList

    if isinstance(side, ImageList):
        return side
    root = side.photos_root
    return ImageList(root, tuple(side.names)) if root is not None and root.is_dir() else None


def _same(arguments: argparse.Namespace, sides: "Sides[Photos]") -> "np.ndarray":
    """(n, 2) pairs of rows that are one photo."""
    import numpy as np

    from ..images.lists import ImageList
    from ..images.same_photos import same_names, same_photos, same_sums

    one_source = arguments.queries.resolve() == arguments.database.resolve()
    sums = [None if isinstance(side, ImageList) else side.photo_sums for side in sides]
    if sums[0] is not None and sums[1] is not None:
        return same_sums(sums[0], sums[1])
    lists = [_listed(side) for side in sides]
    if lists[0] is not None and lists[1] is not None:
        return same_photos(lists[0], lists[1], by_name=one_source or arguments.root is not None)
    if one_source:
        return same_names(sides.queries.names, sides.database.names)
    for place, images in enumerate(lists):  # photos on one side, on the other nothing but their checksums
        known = sums[1 - place]
        if images is not None and known is not None:
            own = np.array([images.content(row) for row in range(len(images))], dtype=np.uint64)
            return same_sums(*((own, known) if place == 0 else (known, own)))
    shared = len(same_names(sides.queries.names, sides.database.names))
    if shared:
        log.warning(
            "%s in both sets, and whether they are the same photos is not known, as stores of 0.1.0 do not say: "
            "if they are, each finds itself",
            counted(shared, "name is", "names are"),
        )
    return np.zeros((0, 2), dtype=np.int64)


def exclusion_from(
    arguments: argparse.Namespace, photos: "Sides[Photos | None]", predictions: Sequence[Path], names: "Names"
) -> "Exclusion | None":
    """What is left out of predictions, by rows of `names`: as options say, else results, else what is on both sides."""
    from ..images.sides import Sides
    from ..results.folder import exclusion_in, lists_in

    if not asked_for(arguments):
        for path in predictions:
            found, lists = exclusion_in(path), lists_in(path)
            if found is not None and lists is not None:
                return found.of(lists, names)
    if photos.queries is None or photos.database is None:
        if arguments.exclude_neighbours or arguments.exclude_seconds is not None:
            raise ConfigError("what is left out goes by photos: give them with --queries and --database")
        return None
    sides = Sides(photos.queries, photos.database)
    return exclusion_of(arguments, sides).of(sides.map(lambda side: tuple(side.names)), names)


def shared_photos(
    arguments: argparse.Namespace, photos: "Sides[Photos | None]", predictions: Sequence[Path], names: "Names"
) -> "np.ndarray":
    """(n, 2) pairs of rows of `names` that are known to be one photo."""
    import numpy as np

    from ..images.sides import Sides
    from ..places.exclusion import Exclusion
    from ..results.folder import exclusion_in, lists_in

    if photos.queries is not None and photos.database is not None:
        sides = Sides(photos.queries, photos.database)
        return Exclusion(_same(arguments, sides)).of(sides.map(lambda side: tuple(side.names)), names).same
    for path in predictions:
        found, lists = exclusion_in(path), lists_in(path)
        if found is not None and lists is not None:
            return found.of(lists, names).same
    return np.zeros((0, 2), dtype=np.int64)
