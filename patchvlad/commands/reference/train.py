"""patchnetvlad-train"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...places.radii import Reading
from ...train.recipes import PAPER, Recipe, for_backbone
from ..outputs import FOLDER, add_output
from ..progress import bar
from ..train import Course, run_training, tell
from ..train_config import TrainConfig, read_train_config
from .shared import device_of, new_parser, refuse_missing_config, run_as

if TYPE_CHECKING:
    from ...model.network import PatchNetVLAD
    from ...places.training import Places
    from ...train.loop import Run
    from ...train.runs import Beginning

log = logging.getLogger(__name__)

BEST_NAME = "model_best.pth.tar"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-train", "Train on Mapillary Street-level Sequences, as in the paper.", _train)
    parser.add_argument("--dataset_root_dir", type=Path, required=True, help="folder of MSLS, or what we read besides")
    add_output(parser, "--save_path", FOLDER, default=Path(), help="where runs go (default: this folder)")
    add_output(parser, "--cache_path", FOLDER, help="folder whose centroids/ keeps the clusters (default: not kept)")
    parser.add_argument(
        "--cluster_path", type=Path, help=".hdf5 of centroids and descriptors (default: found by k-means)"
    )
    parser.add_argument("--resume_path", type=Path, help="checkpoint to start from, or one of our runs to go on with")
    parser.add_argument("--identifier", default="mapillary_nopanos", help="part of the run's name (%(default)s)")
    parser.add_argument("--nEpochs", type=int, default=30, help="number of the last epoch (%(default)s)")
    parser.add_argument(
        "--start_epoch", type=int, default=0, help="epochs that count as done (%(default)s); a checkpoint knows its own"
    )
    parser.add_argument("--save_every_epoch", action="store_true", help="keep the checkpoint of each epoch")
    parser.add_argument(
        "--threads", type=int, default=min(6, os.cpu_count() or 1), help="threads that read photos (%(default)s)"
    )
    return run_as(parser, argv, "patchvlad train")


def _train(arguments: argparse.Namespace) -> None:
    from ...model.devices import usable_device
    from ...places.training_sets import read_places
    from ...train.loop import check_places
    from ...train.parallel import team_of_torchrun
    from ...train.runs import STATE

    settings = read_train_config(refuse_missing_config(arguments.config_path, "train"))
    reading = Reading(panoramas=settings.panoramas, seed=settings.seed)
    training, validation = read_places(arguments.dataset_root_dir, reading)
    check_places(training, validation)
    going_on = arguments.resume_path is not None and (arguments.resume_path / STATE).is_file()
    folder = arguments.save_path / f"{time.strftime('%b%d_%H-%M-%S')}_{arguments.identifier}"
    if going_on:
        folder = arguments.resume_path
    model, beginning = _start(arguments, settings, training, going_on)
    recipe = for_backbone(_recipe(settings, arguments.nEpochs), model.backbone.trained_layers)
    checkpoints = folder / "checkpoints"
    course = Course(training, validation, recipe, reading, settings.size, folder)
    with team_of_torchrun(usable_device(device_of(arguments))) as (team, device):
        state = run_training(
            model,
            course,
            team,
            lambda run: _keep(run, checkpoints, arguments.save_every_epoch),
            resume=going_on,
            device=device,
            workers=max(arguments.threads, 1),
            beginning=beginning,
        )
        if team.rank == 0:
            _keep_start(folder, checkpoints)
            tell(course, state, model.whitening is not None)


def _keep(run: "Run", folder: Path, every: bool) -> None:
    """Writes what the reference writes after an epoch."""
    from ...train.reference_checkpoints import write_training_checkpoint

    name = f"checkpoint_epoch{run.state.epoch}.pth.tar" if every else "checkpoint.pth.tar"
    for written in (name, BEST_NAME) if run.improved else (name,):
        write_training_checkpoint(folder / written, run.learner.model, run.learner.optimiser, run.state)


def _keep_start(folder: Path, checkpoints: Path) -> None:
    """Where no epoch was better than the start, the start is the best model there is."""
    from ...model.checkpoints import load_model, save_reference
    from ...train.runs import BEST

    best = checkpoints / BEST_NAME
    if not best.is_file():
        save_reference(load_model(folder / BEST), best)
    print(best)


def _recipe(settings: TrainConfig, epochs: int) -> Recipe:
    """The paper's training with the numbers of a config; ADAM has neither weight decay nor schedule, as there."""
    adam = settings.optimiser == "adam"
    borne = settings.patience // settings.evaluate_every
    return replace(
        PAPER,
        epochs=epochs,
        patience=borne + 1 if settings.patience > 0 else 10**9,
        evaluate_every=settings.evaluate_every,
        optimiser=settings.optimiser,
        learning_rate=settings.learning_rate,
        weight_decay=0.0 if adam else settings.weight_decay,
        momentum=settings.momentum,
        step_epochs=settings.step_epochs,
        step_factor=1.0 if adam else settings.step_factor,
        batch=settings.batch,
        negatives=settings.negatives,
        margin=settings.margin,
        seed=settings.seed,
    )


def _start(
    arguments: argparse.Namespace, settings: TrainConfig, training: "Places", going_on: bool
) -> "tuple[PatchNetVLAD, Beginning | None]":
    """The model of a run, of a checkpoint, or ImageNet's with new clusters; and how far its training is."""
    from ...model.checkpoints import load_model, locate
    from ...train.reference_checkpoints import read_beginning
    from ...train.runs import LAST, Beginning
    from ...train.starting import model_from

    if going_on:
        return load_model(arguments.resume_path / LAST), None
    if arguments.resume_path is None:
        return _clustered(arguments, settings, training), Beginning(epoch=arguments.start_epoch)
    model = model_from(arguments.resume_path, keep_whitening=False)
    beginning = read_beginning(locate(arguments.resume_path)[1], model)
    if beginning is not None:
        log.info("%s: going on after epoch %d, with its optimiser", arguments.resume_path, beginning.epoch)
    return model, beginning or Beginning(epoch=arguments.start_epoch)


def _clustered(arguments: argparse.Namespace, settings: TrainConfig, training: "Places") -> "PatchNetVLAD":
    """ImageNet's VGG16 with clusters of a file, or of the photos; these are kept where the reference keeps them."""
    from ...train.clusters import read_clusters, write_clusters
    from ...train.starting import model_from_photos

    kept = None
    if arguments.cache_path is not None:
        kept = arguments.cache_path / "centroids" / f"vgg16_mapillary_{settings.clusters}_desc_cen.hdf5"
    given = arguments.cluster_path or (kept if kept is not None and kept.is_file() else None)
    known = read_clusters(given) if given is not None else None
    if known is not None:
        log.info("clusters: those of %s", given)
    with bar("clusters") as progress:
        model, clusters = model_from_photos(
            *("vgg16", None, settings.clusters, training),
            size=settings.size,
            known=known,
            biased=settings.vladv2,
            seed=settings.seed,
            progress=progress,
        )
    if kept is not None and given != kept:
        log.info("clusters: kept in %s", write_clusters(kept, clusters))
    return model


if __name__ == "__main__":
    sys.exit(main())
