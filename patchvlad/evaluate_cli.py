"""The commands that evaluate and convert predictions of any method; they print, like `cli`."""

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from .evaluate.ground_truth import GroundTruth
    from .evaluate.poses import Poses
    from .evaluate.predictions import Prediction
    from .evaluate.report import Evaluation


def do_evaluate(arguments: argparse.Namespace) -> None:
    """patchvlad evaluate"""
    from .cli import bar
    from .evaluate.poses import format_of
    from .evaluate.protocols import groups_of, protocol
    from .evaluate.report import as_text, evaluate

    if not arguments.predictions and not arguments.descriptors:
        raise ConfigError("there is nothing to evaluate: give predictions, or --descriptors QUERIES DATABASE")
    if (arguments.query_poses is None) != (arguments.database_poses is None):
        raise ConfigError("--query-poses and --database-poses go together: give both")
    if arguments.ground_truth is None and arguments.query_poses is None:
        raise ConfigError("without --ground-truth or poses nothing can be measured: give one of both")
    group, denominator = counting(arguments)
    predictions, truth = _predictions(arguments, group, denominator)
    if not truth.complete and group > 1:
        raise ConfigError("groups need the whole database in its order: give its list with --database")
    groups, poses = groups_of(truth.database, group), _poses(arguments, truth)
    counted = None if arguments.ground_truth is None else truth
    evaluations = []
    with bar("evaluate") as progress:
        for prediction in predictions:
            evaluations.append(evaluate(prediction, counted, arguments.ks, denominator, groups, poses))
            progress(len(evaluations), len(predictions))
    print(as_text(evaluations, group))
    if arguments.ground_truth is not None:
        print(f"ground truth: {arguments.ground_truth}")
    for path in (*(arguments.query_poses or ()), *(arguments.database_poses or ())):
        print(f"poses: {path}, read as {arguments.pose_format or format_of(path)}")
    if arguments.dataset:
        benchmark = protocol(arguments.dataset)
        print(f"counted as {benchmark.name}, {benchmark.title}: {benchmark.counted}")
    _write_evaluation(arguments, evaluations, group)


def _predictions(arguments: argparse.Namespace, group: int, denominator: str) -> "tuple[list[Prediction], GroundTruth]":
    """All methods, told apart by name, and the truth with all images that they name."""
    from .evaluate.ground_truth import GroundTruth
    from .evaluate.predictions import asking, read_predictions
    from .evaluate.protocols import protocol

    names = _names(arguments)
    if arguments.ground_truth is not None:
        truth = GroundTruth.read(arguments.ground_truth, names[0], names[1], arguments.radius)
        warn_of_departures(arguments, truth, denominator)
        if arguments.dataset and protocol(arguments.dataset).truth == "frames":  # the reference's .npz cannot say so
            truth = replace(truth, unit="frames")
    elif arguments.predictions:
        truth = asking(arguments.predictions[0], *names)
    else:
        raise ConfigError("descriptors need a ground truth: give --ground-truth")
    predictions: list[Prediction] = []
    for path in arguments.predictions:
        found, truth = read_predictions(path, truth)
        predictions += found
    if arguments.ground_truth is not None and not truth.complete:
        log.warning("the database is taken to be the %d images that are named: --database gives all", truth.database)
    predictions += [_search(pair, truth, max(arguments.ks) * group) for pair in arguments.descriptors or ()]
    if truth.database_names is not None:  # later predictions may have named more images
        predictions = [replace(p, ranking=replace(p.ranking, database_names=truth.database_names)) for p in predictions]
    return _told_apart(predictions), truth


def _write_evaluation(arguments: argparse.Namespace, evaluations: "list[Evaluation]", group: int) -> None:
    from .atomic import write_text
    from .evaluate.figures import write_evaluation_figure
    from .evaluate.report import as_json

    if arguments.json is not None:
        said = as_json(evaluations, group)
        said["protocol"] = (said["protocol"] or {}) | {
            "dataset": arguments.dataset,
            "ground_truth": str(arguments.ground_truth) if arguments.ground_truth else None,
            "predictions": [str(path) for path in arguments.predictions],
        }
        write_text(arguments.json, json.dumps(said, indent=1) + "\n")
        print(f"written to {arguments.json}")
    if arguments.figure is not None:
        write_evaluation_figure(arguments.figure, evaluations)
        print(f"drawn into {arguments.figure}")


def counting(arguments: argparse.Namespace) -> tuple[int, str]:
    """Images a group, and the denominator: as the options say, else as the dataset's protocol does."""
    from .evaluate.protocols import protocol

    chosen = protocol(arguments.dataset) if arguments.dataset else None
    group = arguments.group or (chosen.group if chosen else 1)
    return group, getattr(arguments, "denominator", None) or (chosen.denominator if chosen else "all")


def warn_of_departures(arguments: argparse.Namespace, truth: "GroundTruth | None", denominator: str) -> None:
    """Says in what the images and their truth are not those of the benchmark that `--dataset` names."""
    from .evaluate.protocols import departures, protocol

    if arguments.dataset and truth is not None:
        other = departures(protocol(arguments.dataset), truth, denominator)
        if other:
            log.warning("this is not %s as published: %s", arguments.dataset, "; ".join(other))


def do_export(arguments: argparse.Namespace) -> None:
    """patchvlad export"""
    from .evaluate.exports import FORMATS
    from .evaluate.poses import read_poses, transfer, write_ltvl
    from .evaluate.predictions import asking, read_predictions
    from .features.global_descriptors import write_global_descriptors
    from .features.store import FeatureStore, is_store

    useless = {"msls": ("query", "map"), "ltvl": ("query", "map"), "descriptors": ("query",)}
    for side in useless.get(arguments.format, ()):
        if getattr(arguments, f"{side}_prefix"):
            raise ConfigError(f"--{side}-prefix means nothing with --format {arguments.format}: leave it out")
    if is_store(arguments.source):
        if arguments.format != "descriptors":
            raise ConfigError(
                f"{arguments.source} is a store: its global descriptors are exported, --format descriptors"
            )
        store = FeatureStore(arguments.source)
        names = [f"{arguments.map_prefix}{name}" for name in store.names]
        write_global_descriptors(arguments.out, names, store.global_)
        print(f"{arguments.out}: {len(store)} global descriptors of {store.recipe.dim} components")
        return
    if arguments.format == "descriptors":
        raise ConfigError(
            f"{arguments.source} is no store, so it holds no descriptors: make one with patchvlad extract"
        )
    found, _ = read_predictions(arguments.source, asking(arguments.source, *_names(arguments)))
    by_stage = {prediction.name.split()[-1]: prediction for prediction in found}
    if arguments.stage is not None and arguments.stage not in by_stage:
        raise ConfigError(f"{arguments.source} holds no stage {arguments.stage}: choose from {', '.join(by_stage)}")
    ranking = by_stage[arguments.stage].ranking if arguments.stage else found[-1].ranking
    if arguments.top is not None:
        ranking = replace(
            ranking, indices=ranking.indices[:, : arguments.top], scores=ranking.scores[:, : arguments.top]
        )
    if arguments.format == "ltvl":
        if not arguments.database_poses:
            raise ConfigError("an LTVL file holds poses: give those of the database with --database-poses")
        poses = read_poses(arguments.database_poses, arguments.pose_format)
        known = poses.of(ranking.database_names, arguments.database_poses[0], "database")
        written = write_ltvl(arguments.out, transfer(ranking, known), arguments.pose_folders)
        print(
            f"{arguments.out}: poses of {written} of {len(ranking.query_names)} queries, copied from their best match"
        )
        return
    more = {"scored": found[-1].comparable is not None} if arguments.format == "kapture" else {}
    FORMATS[arguments.format](arguments.out, ranking, arguments.query_prefix, arguments.map_prefix, **more)
    print(f"{arguments.out}: {int((ranking.indices >= 0).sum())} pairs of {len(ranking.query_names)} queries")


# --- what they share ------------------------------------------------------------------------------------------------


def _names(arguments: argparse.Namespace) -> list[tuple[str, ...] | None]:
    """Names of queries and database: of the lists given, else of those that lie in a folder of results."""
    from .evaluate.predictions import lists_in
    from .features.images import ImageList
    from .features.store import FeatureStore, is_store

    def names(path: Path | None) -> tuple[str, ...] | None:
        if path is None:
            return None
        if is_store(path):
            return FeatureStore(path).names
        return ImageList.read_either(path, arguments.root).names

    given = [names(arguments.queries), names(arguments.database)]
    if given == [None, None]:
        for path in arguments.predictions if "predictions" in arguments else [arguments.source]:
            given = list(lists_in(path)) or given
            if given[0] is not None:
                break
    return given


def _search(pair: tuple[Path, Path], truth: "GroundTruth", k: int) -> "Prediction":
    """Retrieval by another method's global descriptors."""
    from .evaluate.names import FOLDERS
    from .evaluate.predictions import Prediction
    from .features.global_descriptors import read_global_descriptors
    from .search.retrieval import retrieve

    if truth.query_names is None or truth.database_names is None or not truth.complete:
        raise ConfigError("descriptors are in the order of their images: give the lists with --queries and --database")
    queries = read_global_descriptors(pair[0], truth.query_names, FOLDERS["database"])
    database = read_global_descriptors(pair[1], truth.database_names, FOLDERS["queries"])
    ranking = retrieve(queries, database, min(k, max(len(database), 1)))
    return Prediction(pair[0].stem, ranking, True, {})


def _poses(arguments: argparse.Namespace, truth: "GroundTruth") -> "tuple[Poses, Poses] | None":
    from .evaluate.poses import read_poses

    if arguments.query_poses is None:
        return None
    if truth.query_names is None or truth.database_names is None:
        raise ConfigError("poses go by name: give the image lists with --queries and --database")
    sides = (
        (arguments.query_poses, truth.query_names, "queries"),
        (arguments.database_poses, truth.database_names, "database"),
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
