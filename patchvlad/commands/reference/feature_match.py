"""patchnetvlad-feature-match"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import MismatchError
from ..match import Asking, match_stores, print_results, read_truth
from ..outputs import FOLDER, add_output
from ..packaged import find
from .shared import device_of, images_of, new_parser, preset_of, run_as

if TYPE_CHECKING:
    from ...features.store import FeatureStore
    from ..preset import Preset


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-feature-match", "Retrieve and re-rank every query; measure recall.", _match)
    parser.add_argument(
        "--dataset_root_dir",
        type=Path,
        default=Path(),
        help="what the paths in both lists are relative to (default: this folder)",
    )
    for kind, images in (("query", "queries"), ("index", "database")):
        parser.add_argument(
            f"--{kind}_file_path", type=Path, required=True, help=f"text file of the {images}, one path per line"
        )
    for kind, images in (("query", "queries"), ("index", "database")):
        parser.add_argument(
            f"--{kind}_input_features_dir",
            type=Path,
            required=True,
            help=f"extracted features of the {images}, ours or the reference's",
        )
    parser.add_argument("--ground_truth_path", type=Path, help=".npz with utmQ, utmDb and posDistThr (default: none)")
    add_output(
        parser,
        "--result_save_folder",
        FOLDER,
        default=Path("results"),
        help="where results go (%(default)s); predictions have two fields per line, as the reference's",
    )
    parser.add_argument("--posDistThr", type=float, help="radius of positives in metres (default: the ground truth's)")
    return run_as(parser, argv, "patchvlad match")


def _match(arguments: argparse.Namespace) -> None:
    from ...images.sides import Sides
    from ...model.devices import usable_device
    from ...places.benchmarks import benchmark
    from ...results.folder import lists_in

    preset = preset_of(arguments)
    stores = Sides(_store(arguments, "query", preset), _store(arguments, "index", preset))
    group, truth_path = 1, arguments.ground_truth_path and find(arguments.ground_truth_path)
    if truth_path and "tokyo247" in str(arguments.ground_truth_path):
        group = benchmark("tokyo247").group
        print(f"Tokyo 24/7: only the best of the {group} cut-outs of a panorama is kept")
    names = stores.map(lambda store: store.names)
    truth = read_truth(truth_path, arguments.posDistThr, names)
    if arguments.result_save_folder.is_dir() and lists_in(arguments.result_save_folder) is not None:
        print(f"{arguments.result_save_folder} holds results: they are overwritten", file=sys.stderr)
    asked = Asking(
        preset,
        preset.to_search(group=group),
        truth,
        "all",
        arguments.result_save_folder,
        device=usable_device(device_of(arguments)),
        reference_root="" if arguments.dataset_root_dir == Path() else os.fspath(arguments.dataset_root_dir),
    )
    shown, _ = match_stores(stores, asked)
    print_results(shown)
    print("Done")


def _store(arguments: argparse.Namespace, kind: str, preset: "Preset") -> "FeatureStore":
    """The extracted features of a list, ours or the reference's."""
    from ...features.reference_features import ReferenceFeatures, is_reference_features
    from ...features.store import FeatureStore

    path: Path = getattr(arguments, f"{kind}_file_path")
    features: Path = getattr(arguments, f"{kind}_input_features_dir")
    names = images_of(path, arguments.dataset_root_dir).names
    if is_reference_features(features):
        return ReferenceFeatures(features, names, preset.description)
    store = FeatureStore(features)
    if store.names != names:
        raise MismatchError(
            f"{store.folder} has features of {len(store)} images, {path} names {len(names)}, or others: extract this "
            "list first"
        )
    return store


if __name__ == "__main__":
    sys.exit(main())
