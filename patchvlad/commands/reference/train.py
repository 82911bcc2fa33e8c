"""patchnetvlad-train"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...places.reading import Reading
from ...train.recipes import PAPER, Recipe, for_backbone
from ..main import run
from ..progress import bar
from ..train import Course, run_training
from ..train_config import TrainConfig, read_train_config
from .shared import device_of, new_parser

if TYPE_CHECKING:
    from ...model.network import PatchNetVLAD
    from ...places.training import Places


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-train", "Train on Mapillary Street-level Sequences, as in the paper.", _train)
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
    return run(parser, argv)


def _train(arguments: argparse.Namespace) -> None:
    from ...model.checkpoints import load_model, save_reference
    from ...model.devices import usable_device
    from ...places.training_sets import read_places
    from ...train.loop import check_places
    from ...train.parallel import team_of_torchrun
    from ...train.runs import BEST, STATE

    settings = read_train_config(arguments.config_path)
    reading = Reading(panoramas=settings.panoramas, seed=settings.seed)
    training, validation = read_places(arguments.dataset_root_dir, reading)
    check_places(training, validation)
    going_on = arguments.resume_path is not None and (arguments.resume_path / STATE).is_file()
    folder = arguments.save_path / f"{time.strftime('%b%d_%H-%M-%S')}_{arguments.identifier}"
    if going_on:
        folder = arguments.resume_path
    model = _start(arguments, settings, training, going_on)
    recipe = for_backbone(_recipe(settings, arguments.nEpochs), model.backbone.trained_layers)
    checkpoints = folder / "checkpoints"

    def keep(model: "PatchNetVLAD", epoch: int) -> None:
        if arguments.save_every_epoch:
            save_reference(model, checkpoints / f"checkpoint_epoch{epoch}.pth.tar")

    with team_of_torchrun(usable_device(device_of(arguments))) as (team, device):
        run_training(
            model,
            Course(training, validation, recipe, reading, settings.size, folder),
            team,
            keep,
            resume=going_on,
            device=device,
            workers=max(arguments.threads, 1),
        )
        if team.rank == 0:
            print(save_reference(load_model(folder / BEST), checkpoints / "model_best.pth.tar"))


def _recipe(settings: TrainConfig, epochs: int) -> Recipe:
    return replace(
        PAPER,
        epochs=epochs,
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


def _start(arguments: argparse.Namespace, settings: TrainConfig, training: "Places", going_on: bool) -> "PatchNetVLAD":
    """The model of a run, of a checkpoint, or ImageNet's with new clusters."""
    from ...model.checkpoints import load_model
    from ...train.runs import LAST
    from ...train.starting import model_from, model_from_photos, read_clusters

    if going_on:
        return load_model(arguments.resume_path / LAST)
    if arguments.resume_path:
        return model_from(arguments.resume_path, keep_whitening=False)
    centroids = read_clusters(arguments.cluster_path) if arguments.cluster_path else None
    with bar("clusters") as progress:
        return model_from_photos(
            *("vgg16", None, settings.clusters, training),
            size=settings.size,
            centroids=centroids,
            seed=settings.seed,
            progress=progress,
        )


if __name__ == "__main__":
    sys.exit(main())
