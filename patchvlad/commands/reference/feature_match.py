"""patchnetvlad-feature-match"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import MismatchError
from ..main import run
from ..match import Asking, match_stores, print_results, read_truth
from .shared import device_of, new_parser, preset_of

if TYPE_CHECKING:
    from ...features.store import FeatureStore


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-feature-match", "Retrieve and re-rank every query; measure recall.", _match)
    parser.add_argument(
        "--dataset_root_dir", type=Path, default=Path(), help="what the paths in both lists are relative to"
    )
    parser.add_argument("--query_file_path", type=Path, required=True, help="text file with one query image a line")
    parser.add_argument("--index_file_path", type=Path, required=True, help="text file with one database image a line")
    parser.add_argument(
        "--query_input_features_dir", type=Path, required=True, help="extracted features of the queries"
    )
    parser.add_argument(
        "--index_input_features_dir", type=Path, required=True, help="extracted features of the database"
    )
    parser.add_argument("--ground_truth_path", type=Path, help=".npz with utmQ, utmDb and posDistThr")
    parser.add_argument("--result_save_folder", type=Path, default=Path("results"), help="where results go")
    parser.add_argument("--posDistThr", type=float, help="radius of positives in metres, instead of the ground truth's")
    return run(parser, argv)


def _match(arguments: argparse.Namespace) -> None:
    from ...images.sides import Sides
    from ...model.devices import usable_device
    from ...places.benchmarks import benchmark

    preset = preset_of(arguments)
    stores = Sides(_store(arguments, "query"), _store(arguments, "index"))
    group = 1
    if arguments.ground_truth_path and "tokyo247" in str(arguments.ground_truth_path):
        group = benchmark("tokyo247").group
        print(f"Tokyo 24/7: only the best of the {group} cut-outs of a panorama is kept")
    names = stores.map(lambda store: store.names)
    truth = read_truth(arguments.ground_truth_path, arguments.posDistThr, names)
    plan = preset.to_search(group=group)
    device = usable_device(device_of(arguments))
    asked = Asking(preset, plan, truth, "all", arguments.result_save_folder, None, device)
    shown, _ = match_stores(stores, asked)
    print_results(shown)
    print("Done")


def _store(arguments: argparse.Namespace, kind: str) -> "FeatureStore":
    """The extracted features of a list."""
    from ...features.store import FeatureStore
    from ...images.lists import ImageList

    path = getattr(arguments, f"{kind}_file_path")
    listed = ImageList.read(path, arguments.dataset_root_dir)
    store = FeatureStore(getattr(arguments, f"{kind}_input_features_dir"))
    if store.names != listed.names:
        raise MismatchError(
            f"{store.folder} has features of {len(store)} images, {path} names {len(listed)}, or others: extract this "
            "list first"
        )
    return store


if __name__ == "__main__":
    sys.exit(main())
