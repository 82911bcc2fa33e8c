"""The reference implementation's commands and flags, translated into ours.

    patchnetvlad-feature-extract   patchnetvlad-feature-match   patchnetvlad-match-two   patchnetvlad-download-models

Differences, all on purpose: without a GPU they say so and go on on the CPU; a --config_path that does not exist stands
for our preset of the same file name; features lie in one store a folder, keyed by path instead of file name.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import cli, config
from .errors import ConfigError, MismatchError


def feature_extract(argv: Sequence[str] | None = None) -> int:
    """patchnetvlad-feature-extract"""
    parser = _parser(
        "patchnetvlad-feature-extract", "Extract global and patch descriptors of a list of images.", _extract
    )
    parser.add_argument("--dataset_file_path", type=Path, required=True, help="text file with one image path a line")
    parser.add_argument("--dataset_root_dir", type=Path, default=Path(), help="what these paths are relative to")
    parser.add_argument("--output_features_dir", type=Path, default=Path("output_features"), help="where features go")
    return cli.run(parser, argv)


def feature_match(argv: Sequence[str] | None = None) -> int:
    """patchnetvlad-feature-match"""
    parser = _parser("patchnetvlad-feature-match", "Retrieve and re-rank every query; measure recall.", _match)
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
    return cli.run(parser, argv)


def match_two(argv: Sequence[str] | None = None) -> int:
    """patchnetvlad-match-two"""
    parser = _parser("patchnetvlad-match-two", "Score two images and draw their matches.", _match_two)
    parser.add_argument("--first_im_path", type=Path, required=True, help="an image file")
    parser.add_argument("--second_im_path", type=Path, required=True, help="another image file")
    parser.add_argument("--plot_save_path", type=Path, default=Path("results"), help="folder for patchMatchings.png")
    return cli.run(parser, argv)


def download_models(argv: Sequence[str] | None = None) -> int:
    """patchnetvlad-download-models"""
    parser = argparse.ArgumentParser(prog="patchnetvlad-download-models", description="Download all released models.")
    parser.add_argument("--ask_for_permission", action="store_true", help="ask before downloading")
    parser.set_defaults(function=_download)
    return cli.run(parser, argv)


def _parser(name: str, description: str, function) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--config_path", type=Path, help=".ini file (default: the preset performance)")
    parser.add_argument("--nocuda", action="store_true", help="use the CPU even where there is a GPU")
    parser.set_defaults(function=function)
    return parser


def _settings(arguments: argparse.Namespace) -> config.Config:
    path = arguments.config_path
    if path is None:
        return config.read_preset("performance")
    if not path.is_file() and path.stem in config.PRESETS:
        print(f"{path} does not exist: using the preset {path.stem}", file=sys.stderr)
        return config.read_preset(path.stem)
    return config.read_config(path)


def _device(arguments: argparse.Namespace) -> str:
    import torch

    if arguments.nocuda:
        return "cpu"
    if not torch.cuda.is_available():
        print("no GPU found: using the CPU (--nocuda says so)", file=sys.stderr)
    return "auto"


def _extract(arguments: argparse.Namespace) -> None:
    from .features.images import ImageList
    from .pipeline import load

    settings = _settings(arguments)
    images = ImageList.read(arguments.dataset_file_path, arguments.dataset_root_dir)
    options = cli.build_parser().parse_args(["extract", "-", "--out", "-"])
    model = load(settings, _device(arguments))
    cli.extract_photos(arguments.output_features_dir, images, settings, model, options)
    print("Done. Finished extracting and saving features")


def _match(arguments: argparse.Namespace) -> None:
    from .features.images import ImageList
    from .features.store import FeatureStore
    from .pipeline import match_stores, read_truth, usable_device

    settings = _settings(arguments)
    stores = {}
    for kind in ("query", "index"):
        listed = ImageList.read(getattr(arguments, f"{kind}_file_path"), arguments.dataset_root_dir)
        store = FeatureStore(getattr(arguments, f"{kind}_input_features_dir"))
        if store.names != listed.names:
            raise MismatchError(
                f"{store.folder} has features of {len(store)} images, {getattr(arguments, f'{kind}_file_path')} names "
                f"{len(listed)}, or others: extract this list first"
            )
        stores[kind] = store
    groups = None
    if arguments.ground_truth_path and "tokyo247" in str(arguments.ground_truth_path):
        print("Tokyo 24/7: only the best of the 12 cut-outs of a panorama is kept")
        groups = np.arange(len(stores["index"])) // 12
    results = match_stores(
        settings,
        stores["query"],
        stores["index"],
        arguments.result_save_folder,
        cli.bar,
        truth=read_truth(arguments.ground_truth_path, arguments.posDistThr, *(stores[kind].names for kind in stores)),
        groups=groups,
        device=usable_device(_device(arguments)),
    )
    cli.print_results(results)
    print("Done")


def _match_two(arguments: argparse.Namespace) -> None:
    from .pipeline import compare, load

    settings = _settings(arguments)
    model = load(settings, _device(arguments))
    plot = arguments.plot_save_path / "patchMatchings.png"
    match = compare(settings, model, arguments.first_im_path, arguments.second_im_path, plot)
    score = match.weighted(settings.weights)
    print(f"Similarity score between the two images is: {score:.5f}. Larger scores indicate better matches.")
    print(f"Drawn into {plot}")


def _download(arguments: argparse.Namespace) -> None:
    from .model.known_models import KNOWN_MODELS, download, megabytes, models_folder

    released = [known for known in KNOWN_MODELS.values() if known.repository]
    if arguments.ask_for_permission:
        total = megabytes(sum(known.expected_bytes for known in released))
        print(f"Download all released models into {models_folder()} (about {total})? [y/n] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise ConfigError("nothing was downloaded")
    for known in released:
        print(download(known.name))
