"""The commands that make models: fit, places, train, add-pca."""

import argparse
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, cli, options
from .errors import ConfigError

if TYPE_CHECKING:
    from .features.images import ImageList
    from .model.network import PatchNetVLAD
    from .train.datasets import Reading
    from .train.places import Places
    from .train.recipes import Recipe


def do_fit(arguments: argparse.Namespace) -> None:
    """patchvlad fit"""
    from .features.images import ImageList
    from .model.backbones import make_backbone
    from .model.checkpoints import imagenet_weights, save_model
    from .train.fitting import fit

    if arguments.out.suffix != ".safetensors":
        raise ConfigError(f"--out {arguments.out}: models end in .safetensors")
    images = ImageList.join([ImageList.read(photos) for photos in arguments.photos])
    backbone = make_backbone(options.BACKBONES[arguments.backbone])
    backbone.load_state_dict(imagenet_weights(backbone.name, arguments.backbone_weights))
    with cli.bar("fit") as progress:
        passes = {"cells": 0, "patches": 1}
        model = fit(
            backbone.eval().requires_grad_(False),
            images,
            arguments.clusters,
            arguments.components,
            cluster_weight=arguments.cluster_weight or ("root" if arguments.backbone == "lite" else "exact"),
            most_images=arguments.images,
            samples=arguments.samples,
            seed=arguments.seed,
            progress=lambda step, done, total: progress(passes[step] * total + done, 2 * total),
        )
    used = min(len(images), arguments.images)
    notes = f"fitted on {used} of {len(images)} photos, seed {arguments.seed}, patchvlad {__version__}"
    path = save_model(
        model, arguments.out, notes=notes, half=arguments.half, with_backbone=not arguments.without_backbone
    )
    print(f"{path}: {notes}, K = {arguments.clusters}, D = {model.dim}, {path.stat().st_size / 1e6:.1f} MB")


def do_places(arguments: argparse.Namespace) -> None:
    """patchvlad places"""
    from .train.datasets import read_places

    training, validation = read_places(arguments.dataset, _reading(arguments))
    for name, places in (("training", training), ("validation", validation)):
        print(f"{name}: " + places.describe().replace("\n", "\n  "))
        missing = places.missing()
        if missing:
            print(f"  {len(missing)} photos are missing below {places.images.root}, the first is {missing[0]}")
    if not len(training.trainable):
        print("nothing to train on: no training query has a positive")


def do_train(arguments: argparse.Namespace) -> None:
    """patchvlad train"""
    from .pipeline import usable_device, usable_precision
    from .train.datasets import Reading, read_places
    from .train.loop import check_places
    from .train.parallel import team_of_torchrun
    from .train.recipes import RECIPES, Recipe, for_backbone
    from .train.runs import read_run
    from .train.starting import model_from

    folder: Path = arguments.resume or arguments.out
    size = tuple(arguments.size)
    if arguments.resume:
        content, model = read_run(folder)
        identity = content["identity"]
        recipe, size = Recipe(**identity["recipe"]), tuple(identity["size"])
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in identity["reading"].items()}
        reading = Reading(**kept)
        training, validation = read_places(arguments.dataset, reading)
    else:
        reading = _reading(arguments)
        given = {
            name: getattr(arguments, name) for name in ("epochs", "batch", "learning_rate") if getattr(arguments, name)
        }
        recipe = replace(RECIPES[arguments.recipe], seed=arguments.seed, trained=arguments.trained_layers, **given)
        training, validation = read_places(arguments.dataset, reading)
        check_places(training, validation)  # before the first model is loaded
        if arguments.model:
            model = model_from(arguments.model, recipe.whitened)
        else:
            model = _model_from_photos(arguments, training, size)
        recipe = for_backbone(recipe, model.backbone.name)
    with team_of_torchrun(usable_device(arguments.device)) as (team, device):
        precision = arguments.precision or ("bfloat16" if device.startswith("cuda") else "float32")
        run_training(
            *(model, training, validation, recipe, reading, folder),
            size=size,
            resume=bool(arguments.resume),
            device=device,
            memory=arguments.memory << 20,
            workers=arguments.workers,
            precision=usable_precision(precision, device),
            team=team,
        )


def run_training(
    model: "PatchNetVLAD",
    training: "Places",
    validation: "Places",
    recipe: "Recipe",
    reading: "Reading",
    folder: Path,
    **settings: Any,
) -> None:
    """Says what there is to train on, trains with progress bars, and says what came out."""
    from .train.loop import train
    from .train.runs import BEST

    first = settings["team"].rank == 0
    if first:
        print(f"training: {training.describe()}\nvalidation: {validation.describe()}")
    else:
        logging.getLogger("patchvlad").setLevel(logging.WARNING)
    with cli.bars() as progress:
        settings |= {"reading": asdict(reading), "progress": progress if first else None}
        state = train(model, training, validation, recipe, folder, **settings)
    if not first:
        return
    shown = f", recall@{recipe.selected_by} {100 * state.best:.1f} %" if state.best >= 0 else ""
    print(f"{folder / BEST}: the best of {state.epoch} epochs{shown}; numbers in {folder / 'history.csv'}")
    if model.whitening is None:
        print(f"add whitening with: patchvlad add-pca {folder / BEST} PHOTOS --components D")


def do_add_pca(arguments: argparse.Namespace) -> None:
    """patchvlad add-pca"""
    from .features.images import ImageList
    from .train.starting import check_no_test_photos

    images = ImageList.read(arguments.photos)
    if not arguments.i_know:
        check_no_test_photos(arguments.photos, images)
    whiten(
        arguments.checkpoint,
        images,
        arguments.components,
        arguments.out,
        arguments.reference_format,
        arguments.device,
        most_images=arguments.images,
        samples=arguments.samples,
        memory=arguments.memory << 20,
        seed=arguments.seed,
    )


def whiten(
    checkpoint: str | Path,
    images: "ImageList",
    components: int,
    out: Path | None,
    reference_format: bool,
    device: str,
    **settings: Any,
) -> None:
    """Writes a checkpoint with whitening, and says what it wrote."""
    from .model.checkpoints import check_reference_can_read, load_model, locate, save_model, save_reference
    from .pipeline import usable_device
    from .train.starting import add_whitening

    name, path = locate(checkpoint)
    suffix = ".pth.tar" if reference_format else ".safetensors"
    plain = path.name.removesuffix(".safetensors").removesuffix(".pth.tar")
    out = out or path.with_name(f"{plain}_WPCA{components}{suffix}")
    if not out.name.endswith(suffix):
        raise ConfigError(f"--out {out}: this format's files end in {suffix}")
    model = load_model(path, device=usable_device(device))
    if reference_format:
        check_reference_can_read(model)
    with cli.bar("whitening") as progress:
        used = add_whitening(model, images, components, progress=progress, **settings)
    notes = f"{name}, whitening of {used} photos, patchvlad {__version__}"
    written = save_reference(model, out) if reference_format else save_model(model, out, notes=notes)
    print(f"{written}: {notes}, D = {model.dim}, {written.stat().st_size / 1e6:.1f} MB")


def _model_from_photos(arguments: argparse.Namespace, training: "Places", size: tuple[int, int]) -> "PatchNetVLAD":
    from .train.starting import model_from_photos

    with cli.bar("clusters") as progress:
        return model_from_photos(
            options.BACKBONES[arguments.backbone],
            arguments.backbone_weights,
            arguments.clusters,
            training,
            size=size,
            cluster_weight="root" if arguments.backbone == "lite" else "exact",
            seed=arguments.seed,
            progress=progress,
        )


def _reading(arguments: argparse.Namespace) -> "Reading":
    from .train.datasets import Reading

    def listed(text: str | None) -> tuple[str, ...]:
        return tuple(city.strip() for city in (text or "").split(",") if city.strip())

    return Reading(
        positive_radius=arguments.radius,
        negative_radius=arguments.negative_radius,
        validation_radius=arguments.validation_radius,
        heading_limit=arguments.heading_limit,
        validation=arguments.validation,
        cities=listed(arguments.cities),
        validation_cities=listed(arguments.validation_cities),
        panoramas=arguments.panoramas,
        seed=arguments.seed,
    )
