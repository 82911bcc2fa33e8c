"""patchvlad ground-truth: the positives of every query, from whatever says where photos were taken."""

import argparse
import logging
from pathlib import Path

from ..errors import ConfigError, GroundTruthError
from ..places.radii import RADIUS
from ..places.registry import LABELS, SOURCES
from .excluding import add_exclusion_options, exclusion_of
from .options import add_root_option, add_row_order_option, at_least
from .outputs import FILE, add_output
from .progress import bar

log = logging.getLogger(__name__)

EXAMPLE = "patchvlad ground-truth --queries photos/queries --database photos/database --from positions.csv --out gt.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    for name in ("queries", "database"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="X", help="photos (folder or list file)")
    add_root_option(parser)
    add_row_order_option(parser)
    add_output(parser, "--out", FILE, required=True, metavar="G", help=".npz (positions) or .csv (names)")
    parser.add_argument(
        "--from",
        dest="source",
        nargs="+",
        metavar="S",
        help=f"{', '.join((*SOURCES, *LABELS))}, or files: .csv of lat, lon or easting, northing, or place; "
        ".csv of query and positives; the reference's .npz; .npy of VPR-Bench or GSV-Cities; .mat with a dbStruct; "
        "poses: TUM's trajectory (and rgb.txt), COLMAP's images.txt (default: names if they read @easting@northing@, "
        "else exif)",
    )
    parser.add_argument("--poses", action="store_true", help="utmQ and utmDb of an .npz are poses tx ty tz q")
    parser.add_argument(
        "--radius", type=float, metavar="M", help=f"metres within which images are positives (default: {RADIUS:g})"
    )
    parser.add_argument("--heading-limit", type=float, metavar="DEG", help="degrees between positives (default: any)")
    parser.add_argument(
        "--frames",
        type=at_least(0),
        metavar="N",
        help="lists of one drive, in the same order: frames between positives",
    )
    parser.add_argument(
        "--frame-step", type=at_least(1), default=1, metavar="N", help="database frames per query (default: 1)"
    )
    add_exclusion_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Makes it, writes it, and says how many positives there are."""
    from ..images.lists import ImageList
    from ..images.sides import Sides
    from ..places.ground_truth import check_writable
    from ..places.truth_making import make_ground_truth

    try:
        check_writable(arguments.out)
    except GroundTruthError as error:  # a mistake in the command, not in a file
        raise ConfigError(str(error)) from error
    sides = (arguments.queries, arguments.database)
    queries, database = (ImageList.read_either(path, arguments.root) for path in sides)
    source = arguments.source
    if source is not None:
        known = (*SOURCES, *LABELS)
        source = [word.lower() if word.lower() in known else word for word in source]
        kinds = [word for word in source if word in known]
        if kinds and len(source) > 1:
            raise ConfigError(f"--from {' '.join(source)}: {kinds[0]} stands alone")
        source = kinds[0] if kinds else [Path(word) for word in source]
    if arguments.poses and (source is None or isinstance(source, str)):
        raise ConfigError("--poses says what an .npz holds: give it with --from")
    with bar("read positions") as progress:
        truth = make_ground_truth(
            queries,
            database,
            source,
            radius=arguments.radius,
            heading_limit=arguments.heading_limit,
            frames=arguments.frames,
            frame_step=arguments.frame_step,
            poses=arguments.poses,
            row_order=arguments.row_order,
            progress=progress,
        )
    truth = truth.without(exclusion_of(arguments, Sides(queries, database)))
    truth.write(arguments.out)
    print(truth.describe())
    print(f"written to {arguments.out}")
