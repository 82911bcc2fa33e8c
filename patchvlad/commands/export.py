"""patchvlad export: predictions or descriptors as files for other tools."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, counted
from ..results.registry import PAIR_FORMATS
from .excluding import add_exclusion_options, exclusion_from, shared_photos
from .image_names import names_of, photos_of, row_order_of
from .options import add_list_options, add_pose_options, add_row_order_option, add_scores_option, at_least
from .outputs import FILE, add_output

if TYPE_CHECKING:
    from ..results.predictions import Prediction

EXAMPLE = "patchvlad export results --format hloc --out pairs.txt --top 20"
PAIRS_BY_NAME = ("kapture", "hloc", "colmap")  # in which queries and database images share one root
_USELESS = {"msls": ("query", "map"), "ltvl": ("query", "map"), "descriptors": ("query",)}  # prefixes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="predictions as for evaluate, or a store")
    parser.add_argument(
        "--format",
        required=True,
        choices=(*PAIR_FORMATS, "ltvl", "descriptors"),
        help="pairs for kapture, hloc or COLMAP; MSLS predictions; LTVL poses; a store's global descriptors",
    )
    add_output(parser, "--out", FILE, required=True, metavar="FILE", help="descriptors: .h5 as hloc's, or .npy")
    parser.add_argument("--stage", choices=("NetVLAD", "PatchNetVLAD"), help="of match's results (default: the last)")
    parser.add_argument("--top", type=at_least(1), metavar="N", help="images per query (default: all)")
    for side in ("query", "map"):
        parser.add_argument(
            f"--{side}-prefix", default="", metavar="P/", help=f"put before the names of {side} images (default: none)"
        )
    add_list_options(parser)
    add_exclusion_options(parser)
    add_row_order_option(parser)
    add_scores_option(parser)
    add_pose_options(parser)
    parser.add_argument(
        "--pose-folders",
        type=at_least(0),
        default=0,
        metavar="N",
        help="folders kept of LTVL names; RobotCar: 1 (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the file, and says what is in it."""
    from ..features.store import is_store

    for side in _USELESS.get(arguments.format, ()):
        if getattr(arguments, f"{side}_prefix"):
            raise ConfigError(f"--{side}-prefix means nothing with --format {arguments.format}: leave it out")
    if is_store(arguments.source):
        _export_descriptors(arguments)
        return
    if arguments.format == "descriptors":
        raise ConfigError(
            f"{arguments.source} is not a store, so it holds no descriptors: make one with patchvlad extract"
        )
    prediction = _chosen(arguments)
    ranking = prediction.ranking.first(arguments.top) if arguments.top is not None else prediction.ranking
    if arguments.format == "ltvl":
        from ..places.poses import read_poses
        from ..results.exports import transfer, write_ltvl

        if not arguments.database_poses:
            raise ConfigError("an LTVL file holds poses: give those of the database with --database-poses")
        poses = read_poses(arguments.database_poses, arguments.pose_format)
        known = poses.of(ranking.database_names, arguments.database_poses[0], "database")
        written = write_ltvl(arguments.out, transfer(ranking, known), arguments.pose_folders)
        count = len(ranking.query_names)
        print(f"{arguments.out}: poses of {written} of {count} queries, copied from their best match")
        return
    more = {"scored": prediction.comparable is not None} if arguments.format == "kapture" else {}
    write = PAIR_FORMATS[arguments.format]
    write(arguments.out, ranking, arguments.query_prefix, arguments.map_prefix, **more)
    print(
        f"{arguments.out}: {counted(int((ranking.indices >= 0).sum()), 'pair')} of {len(ranking.query_names)} queries"
    )


def _export_descriptors(arguments: argparse.Namespace) -> None:
    from ..features.global_descriptors import write_global_descriptors
    from ..features.store import FeatureStore

    if arguments.format != "descriptors":
        raise ConfigError(f"{arguments.source} is a store: its global descriptors are exported, --format descriptors")
    store = FeatureStore(arguments.source)
    names = [f"{arguments.map_prefix}{name}" for name in store.names]
    write_global_descriptors(arguments.out, names, store.global_)
    print(f"{arguments.out}: {counted(len(store), 'global descriptor')} of {store.recipe.dim} components")


def _chosen(arguments: argparse.Namespace) -> "Prediction":
    """The stage asked for, else the last."""
    from ..images.sides import Sides
    from ..results.exports import check_told_apart
    from ..results.predictions import Asked, read_predictions

    photos = photos_of(arguments)
    asked = Asked.about(arguments.source, names_of(photos, [arguments.source]))
    found, _ = read_predictions(arguments.source, asked, arguments.scores, row_order_of(arguments))
    names = Sides(found[0].ranking.query_names, found[0].ranking.database_names)
    exclusion = exclusion_from(arguments, photos, [arguments.source], names)
    if exclusion:
        found = [replace(one, ranking=one.ranking.without(exclusion.rows)) for one in found]
    if arguments.format in PAIRS_BY_NAME:
        same = shared_photos(arguments, photos, [arguments.source], names)
        check_told_apart(arguments.out, names, (arguments.query_prefix, arguments.map_prefix), same)
    by_stage = {prediction.stage or prediction.name: prediction for prediction in found}
    if arguments.stage is None:
        return found[-1]
    if arguments.stage not in by_stage:
        raise ConfigError(f"{arguments.source} holds no stage {arguments.stage}: choose from {', '.join(by_stage)}")
    return by_stage[arguments.stage]
