"""The reference implementation's commands and flags, translated into ours.

    patchnetvlad-feature-extract   patchnetvlad-feature-match   patchnetvlad-match-two   patchnetvlad-download-models
    patchnetvlad-train             patchnetvlad-add-pca

Differences, all on purpose: without a GPU they say so and go on on the CPU; a --config_path that does not exist stands
for our preset of the same file name; features lie in one store a folder, keyed by path instead of file name.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import cli, config
from .errors import ConfigError, MismatchError

if TYPE_CHECKING:
    from .model.network import PatchNetVLAD


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


def train(argv: Sequence[str] | None = None) -> int:
    """patchnetvlad-train"""
    parser = _parser("patchnetvlad-train", "Train on Mapillary Street-level Sequences, as in the paper.", _train)
    parser.add_argument("--dataset_root_dir", type=Path, required=True, help="folder of MSLS, or what we read besides")
    parser.add_argument("--save_path", type=Path, default=Path("checkpoints"), help="where runs go")
    parser.add_argument("--cache_path", type=Path, help="not needed: nothing is cached on disk")
    parser.add_argument("--cluster_path", type=Path, help=".hdf5 of centroids (default: found by k-means)")
    parser.add_argument("--resume_path", type=Path, help="checkpoint to start from, or one of our runs to go on with")
    parser.add_argument("--identifier", default="mapillary_nopanos", help="part of the run's name")
    parser.add_argument("--nEpochs", type=int, default=30, help="epochs at most")
    parser.add_argument("--start_epoch", type=int, default=0, help="not needed: a run knows how far it got")
    parser.add_argument("--save_every_epoch", action="store_true", help="keep the checkpoint of each epoch")
    parser.add_argument("--threads", type=int, default=0, help="threads that read photos")
    return cli.run(parser, argv)


def add_pca(argv: Sequence[str] | None = None) -> int:
    """patchnetvlad-add-pca"""
    parser = _parser("patchnetvlad-add-pca", "Add whitening to a trained checkpoint.", _add_pca)
    parser.add_argument("--dataset_root_dir", type=Path, required=True, help="folder of the photos to fit it to")
    parser.add_argument("--resume_path", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--dataset_choice", default="mapillary", help="which dataset this is: mapillary or pitts")
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
    from .evaluate.protocols import protocol
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
        size = protocol("tokyo247").group
        print(f"Tokyo 24/7: only the best of the {size} cut-outs of a panorama is kept")
        groups = np.arange(len(stores["index"])) // size
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


def _train(arguments: argparse.Namespace) -> None:
    from .model.checkpoints import load_model, save_reference
    from .pipeline import usable_device
    from .train.datasets import Reading, read_places
    from .train.loop import check_places
    from .train.parallel import team_of_torchrun
    from .train.recipes import PAPER, for_backbone
    from .train.runs import BEST, LAST, STATE
    from .train.starting import model_from, model_from_photos, read_clusters
    from .train_cli import run_training

    settings = config.read_train_config(arguments.config_path)
    recipe = replace(
        PAPER,
        epochs=arguments.nEpochs,
        patience=settings.patience,
        optimiser=settings.optimiser,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        step_epochs=settings.step_epochs,
        step_factor=settings.step_factor,
        batch=settings.batch,
        negatives=settings.negatives,
        margin=settings.margin,
        seed=settings.seed,
    )
    reading = Reading(panoramas=settings.panoramas, seed=settings.seed)
    training, validation = read_places(arguments.dataset_root_dir, reading)
    check_places(training, validation)
    going_on = arguments.resume_path is not None and (arguments.resume_path / STATE).is_file()
    if going_on:
        model, folder = load_model(arguments.resume_path / LAST), arguments.resume_path
    else:
        folder = arguments.save_path / f"{time.strftime('%b%d_%H-%M-%S')}_{arguments.identifier}"
        if arguments.resume_path:
            model = model_from(arguments.resume_path, keep_whitening=False)
        else:
            centroids = read_clusters(arguments.cluster_path) if arguments.cluster_path else None
            with cli.bar("clusters") as progress:
                model = model_from_photos(
                    *("vgg16", None, settings.clusters, training),
                    size=settings.size,
                    centroids=centroids,
                    seed=settings.seed,
                    progress=progress,
                )
    checkpoints = folder / "checkpoints"

    def keep(model: "PatchNetVLAD", epoch: int) -> None:
        if arguments.save_every_epoch:
            save_reference(model, checkpoints / f"checkpoint_epoch{epoch}.pth.tar")

    with team_of_torchrun(usable_device(_device(arguments))) as (team, device):
        run_training(
            *(model, training, validation, for_backbone(recipe, model.backbone.name), reading, folder),
            size=settings.size,
            resume=going_on,
            device=device,
            workers=max(arguments.threads, 1),
            team=team,
            keep=keep,
        )
        if team.rank == 0:
            print(save_reference(load_model(folder / BEST), checkpoints / "model_best.pth.tar"))


def _add_pca(arguments: argparse.Namespace) -> None:
    from .features.images import ImageList
    from .train.starting import check_no_test_photos
    from .train_cli import whiten

    settings = config.read_train_config(arguments.config_path)
    images = ImageList.read(arguments.dataset_root_dir)
    check_no_test_photos(arguments.dataset_root_dir, images)
    whiten(arguments.resume_path, images, settings.components, None, True, _device(arguments), size=settings.size)
