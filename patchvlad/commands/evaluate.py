"""patchvlad evaluate: predictions of any method to numbers."""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, counted
from .counting import counting, warn_of_departures
from .excluding import add_exclusion_options, exclusion_from
from .image_names import described_images, names_of, photos_of, read_descriptors, row_order_of
from .options import (
    add_counting_options,
    add_list_options,
    add_pose_options,
    add_row_order_option,
    add_scores_option,
    whole_numbers,
)
from .outputs import FIGURE, FILE, add_output
from .progress import bar

if TYPE_CHECKING:
    from ..evaluate.report import Evaluation
    from ..features.store import FeatureStore
    from ..images.lists import ImageList
    from ..images.row_order import RowOrder
    from ..images.sides import PerhapsNames, Sides
    from ..places.exclusion import Exclusion
    from ..places.ground_truth import GroundTruth
    from ..places.poses import Poses
    from ..results.predictions import Asked, Prediction

log = logging.getLogger(__name__)

EXAMPLE = "patchvlad evaluate results pairs-netvlad.txt --ground-truth gt.npz --json numbers.json --figure curves.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "predictions",
        type=Path,
        nargs="*",
        metavar="PREDICTIONS",
        help="folder of match's results, kapture or hloc pairs, MSLS predictions, or .npy of database rows",
    )
    parser.add_argument("--ground-truth", type=Path, metavar="G", help=".npz, .csv, or VPR-Bench's .npy")
    add_list_options(parser)
    add_row_order_option(parser)
    add_scores_option(parser)
    parser.add_argument("--radius", type=float, metavar="M", help="metres within which images are positives (for .npz)")
    parser.add_argument(
        "--ks", type=whole_numbers, default=(1, 5, 10, 20), metavar="K,K", help="how far to look (default: 1,5,10,20)"
    )
    parser.add_argument(
        "--denominator", choices=("all", "answerable"), help="which queries count (default: all, or as --dataset says)"
    )
    add_counting_options(parser)
    add_exclusion_options(parser)
    parser.add_argument(
        "--descriptors",
        type=Path,
        nargs=2,
        action="append",
        metavar=("Q", "D"),
        help="search by these global descriptors (.npy or hloc's .h5); may be repeated",
    )
    parser.add_argument("--query-poses", type=Path, nargs="+", metavar="F", help="true poses of queries")
    add_pose_options(parser)
    add_output(parser, "--json", FILE, metavar="F.json", help="the same numbers for machines")
    add_output(parser, "--figure", FIGURE, metavar="F.png", help="draw recall, precision and errors")


def run(arguments: argparse.Namespace) -> None:
    """Measures every method and prints the tables."""
    from ..evaluate.report import as_text, evaluate
    from ..search.searching import check_whole_groups, groups_of

    _check(arguments)
    group, denominator = counting(arguments)
    predictions, truth, asked = _predictions(arguments, group, denominator)
    if not asked.complete and group > 1:
        raise ConfigError("groups need the whole database in its order: give its list with --database")
    check_whole_groups(asked.counts[1], group)
    groups, poses = groups_of(asked.counts[1], group), _poses(arguments, asked)
    evaluations = []
    with bar("evaluate") as progress:
        for prediction in predictions:
            evaluations.append(evaluate(prediction, truth, arguments.ks, denominator, groups, poses))
            progress(len(evaluations), len(predictions))
    _write_evaluation(arguments, evaluations, group)  # before who reads the text may go away
    print(as_text(evaluations, group))
    _print_sources(arguments)


def _check(arguments: argparse.Namespace) -> None:
    """Raises ConfigError where options do not go together."""
    if not arguments.predictions and not arguments.descriptors:
        raise ConfigError("there is nothing to evaluate: give predictions, or --descriptors QUERIES DATABASE")
    if (arguments.query_poses is None) != (arguments.database_poses is None):
        raise ConfigError("--query-poses and --database-poses go together: give both")
    if arguments.ground_truth is None and arguments.query_poses is None:
        raise ConfigError("without --ground-truth or poses nothing can be measured: give one of both")


def _predictions(
    arguments: argparse.Namespace, group: int, denominator: str
) -> "tuple[list[Prediction], GroundTruth | None, Asked]":
    """All methods, told apart by name; the truth, if there is one; and all images that they name."""
    from ..features.global_descriptors import is_hdf5
    from ..results.predictions import Asked, read_predictions

    photos, order = photos_of(arguments), row_order_of(arguments)
    names = names_of(photos, arguments.predictions)
    described = arguments.descriptors[0] if arguments.descriptors else ()
    if names.queries is None and names.database is None and described and all(map(is_hdf5, described)):
        names, order = described_images(described, order)
    truth = _truth(arguments, names, order, denominator)
    if truth is not None:
        asked = Asked.by(truth)
    elif arguments.predictions:
        asked = Asked.about(arguments.predictions[0], names)
    else:
        raise ConfigError("descriptors need a ground truth: give --ground-truth")
    predictions: list[Prediction] = []
    for path in arguments.predictions:
        found, asked = read_predictions(path, asked, arguments.scores, order)
        predictions += found
    if truth is not None and not asked.complete:
        log.warning(
            "the database is taken to be what is named (%s): --database gives all", counted(asked.counts[1], "image")
        )
    left_out = _exclusions(arguments, photos, asked, truth)
    for exclusion in left_out:
        predictions = [replace(p, ranking=p.ranking.without(exclusion.rows)) for p in predictions]
    k = max(arguments.ks) * group
    predictions += [_search(pair, asked, order, k, left_out) for pair in arguments.descriptors or ()]
    if asked.database is not None:  # later predictions may have named more images
        predictions = [replace(p, ranking=replace(p.ranking, database_names=asked.database)) for p in predictions]
    if truth is not None:
        whole = truth.complete
        truth = replace(truth, database=asked.counts[1], query_names=asked.queries, database_names=asked.database)
        for exclusion in left_out:
            truth = truth.without(exclusion)
        if not whole:
            truth.check_telling(arguments.ground_truth)
    return _told_apart(predictions), truth, asked


def _exclusions(
    arguments: argparse.Namespace,
    photos: "Sides[ImageList | FeatureStore | None]",
    asked: "Asked",
    truth: "GroundTruth | None",
) -> "list[Exclusion]":
    """What is left out of answers: as the ground truth says, and as options, results or photos do."""
    from ..images.sides import Sides

    found = [truth.exclusion] if truth is not None and truth.exclusion else []
    if asked.queries is not None and asked.database is not None:
        names = Sides(asked.queries, asked.database)
        exclusion = exclusion_from(arguments, photos, arguments.predictions, names)
        found += [exclusion] if exclusion else []
    return found


def _truth(
    arguments: argparse.Namespace, names: "PerhapsNames", order: "RowOrder", denominator: str
) -> "GroundTruth | None":
    from ..places.benchmarks import benchmark
    from ..places.ground_truth import GroundTruth

    if arguments.ground_truth is None:
        return None
    truth = GroundTruth.read(arguments.ground_truth, names.queries, names.database, arguments.radius, order)
    warn_of_departures(arguments, truth, denominator)
    if arguments.dataset and benchmark(arguments.dataset).truth == "frames":  # the reference's .npz cannot say so
        return replace(truth, unit="frames")
    return truth


def _search(
    pair: tuple[Path, Path], asked: "Asked", order: "RowOrder", k: int, left_out: "Sequence[Exclusion]"
) -> "Prediction":
    """Retrieval by another method's global descriptors."""
    import numpy as np

    from ..images.sides import Sides
    from ..results.predictions import Prediction
    from ..search.retrieval import retrieve

    if asked.queries is None or asked.database is None or not asked.complete:
        raise ConfigError("descriptors are in the order of their images: give the lists with --queries and --database")
    queries, database = read_descriptors(pair, Sides(asked.queries, asked.database), order)
    excluded = [exclusion.rows for exclusion in left_out]
    rows = (lambda query: np.unique(np.concatenate([one(query) for one in excluded]))) if excluded else None
    ranking = retrieve(queries, database, min(k, max(len(database), 1)), excluded=rows)
    return Prediction(pair[0].stem, ranking, True)


def _poses(arguments: argparse.Namespace, asked: "Asked") -> "tuple[Poses, Poses] | None":
    from ..places.poses import read_poses

    if arguments.query_poses is None:
        return None
    if asked.queries is None or asked.database is None:
        raise ConfigError("poses go by name: give the image lists with --queries and --database")
    sides = (
        (arguments.query_poses, asked.queries, "queries"),
        (arguments.database_poses, asked.database, "database"),
    )
    queries, database = (
        read_poses(paths, arguments.pose_format).of(names, paths[0], kind) for paths, names, kind in sides
    )
    return queries, database


def _told_apart(predictions: list["Prediction"]) -> list["Prediction"]:
    """Methods of the same name get numbers."""
    seen: dict[str, int] = {}
    told = []
    for prediction in predictions:
        seen[prediction.name] = seen.get(prediction.name, 0) + 1
        number = f" ({seen[prediction.name]})" if seen[prediction.name] > 1 else ""
        told.append(replace(prediction, name=prediction.name + number))
    return told


# --- what is told and written ---------------------------------------------------------------------------------------


def _print_sources(arguments: argparse.Namespace) -> None:
    from ..places.benchmarks import benchmark
    from ..places.poses import format_of

    if arguments.ground_truth is not None:
        print(f"ground truth: {arguments.ground_truth}")
    for path in (*(arguments.query_poses or ()), *(arguments.database_poses or ())):
        print(f"poses: {path}, read as {arguments.pose_format or format_of(path)}")
    if arguments.dataset:
        chosen = benchmark(arguments.dataset)
        print(f"counted as {chosen.name}, {chosen.title}: {chosen.counted}")
    if arguments.json is not None:
        print(f"written to {arguments.json}")
    if arguments.figure is not None:
        print(f"drawn into {arguments.figure}")


def _write_evaluation(arguments: argparse.Namespace, evaluations: "list[Evaluation]", group: int) -> None:
    from ..evaluate.figures import write_evaluation_figure
    from ..evaluate.report import as_json
    from ..files.atomic import write_text

    if arguments.json is not None:
        said = as_json(evaluations, group)
        said["protocol"] = (said["protocol"] or {}) | {
            "dataset": arguments.dataset,
            "ground_truth": str(arguments.ground_truth) if arguments.ground_truth else None,
            "predictions": [str(path) for path in arguments.predictions],
        }
        write_text(arguments.json, json.dumps(said, indent=1) + "\n")
    if arguments.figure is not None:
        write_evaluation_figure(arguments.figure, evaluations)
