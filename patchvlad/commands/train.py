"""patchvlad train: a model that learns from places."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.registry import PRECISIONS
from ..places.radii import Reading
from ..train.recipes import RECIPES, Recipe, for_backbone
from .fit import add_backbone_options
from .options import (
    add_device_option,
    add_pixel_range_option,
    add_places_options,
    add_workers_option,
    at_least,
    reading_of,
)
from .outputs import FOLDER, add_output
from .preset import by_name
from .progress import bar, bars

if TYPE_CHECKING:
    from ..model.network import PatchNetVLAD
    from ..places.training import Places
    from ..train.loop import Run
    from ..train.parallel import Team
    from ..train.runs import State

EXAMPLE = "patchvlad train photos/places.csv --model lite --out runs/mine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    count = at_least(1)
    add_places_options(parser)
    run = parser.add_mutually_exclusive_group(required=True)
    add_output(parser, "--out", FOLDER, group=run, metavar="RUN", help="folder of the new run")
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on with this run, as it was begun")
    parser.add_argument(
        "--recipe", choices=tuple(RECIPES), default="modern", help="how to train (default: %(default)s)"
    )
    parser.add_argument("--model", help="known name or checkpoint to start from (default: ImageNet's backbone)")
    add_backbone_options(parser)
    for name, kind, said in (
        ("epochs", count, "at most"),
        ("batch", count, "queries or places per step"),
        ("learning-rate", float, "at its highest"),
    ):
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=f"{said} (default: {_by_recipe(name)})")
    parser.add_argument(
        "--trained-layers", type=count, metavar="N", help="of the backbone, from its end (default: lite: 1; vgg16: 3)"
    )
    parser.add_argument(
        "--size",
        type=count,
        nargs=2,
        default=(480, 640),
        metavar=("H", "W"),
        help="height and width of resized photos (default: 480 640)",
    )
    parser.add_argument(
        "--memory",
        type=count,
        default=2048,
        metavar="MB",
        help="for maps of layers that are not trained (default: %(default)s)",
    )
    add_pixel_range_option(parser)
    add_workers_option(parser)
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="to multiply in (default: bfloat16 on GPUs, else float32)"
    )
    add_device_option(parser)


def _by_recipe(name: str) -> str:
    """What each recipe decides, for help."""
    field = name.replace("-", "_")
    return by_name(RECIPES, lambda recipe: getattr(RECIPES[recipe], field))


def run(arguments: argparse.Namespace) -> None:
    """Begins a run or goes on with one."""
    from ..model.devices import usable_device, usable_precision
    from ..train.parallel import team_of_torchrun

    model, course = _resumed(arguments) if arguments.resume else _begun(arguments)
    with team_of_torchrun(usable_device(arguments.device)) as (team, device):
        precision = arguments.precision or ("bfloat16" if device.startswith("cuda") else "float32")
        state = run_training(
            model,
            course,
            team,
            resume=bool(arguments.resume),
            device=device,
            memory=arguments.memory << 20,
            workers=arguments.workers,
            precision=usable_precision(precision, device),
        )
        if team.rank == 0:
            tell(course, state, model.whitening is not None)


@dataclass(frozen=True)
class Course:
    """What a training is about.

    Attributes:
        training, validation: the places.
        recipe: how to train.
        reading: how the places were read.
        size: (height, width) that photos are resized to.
        folder: of the run.
    """

    training: "Places"
    validation: "Places"
    recipe: Recipe
    reading: Reading
    size: tuple[int, int]
    folder: Path


def _resumed(arguments: argparse.Namespace) -> "tuple[PatchNetVLAD, Course]":
    from ..files.room import check_folder
    from ..places.training_sets import read_places
    from ..train.runs import read_run

    content, model = read_run(arguments.resume)
    check_folder(arguments.resume)
    identity = content["identity"]
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in identity["reading"].items()}
    recipe, reading = Recipe(**identity["recipe"]), Reading(**kept)
    if arguments.epochs:
        recipe = replace(recipe, epochs=arguments.epochs)
    training, validation = read_places(arguments.dataset, reading)
    return model, Course(training, validation, recipe, reading, tuple(identity["size"]), arguments.resume)


def _begun(arguments: argparse.Namespace) -> "tuple[PatchNetVLAD, Course]":
    from ..places.training_sets import read_places
    from ..train.loop import check_places
    from ..train.starting import model_from, model_from_photos

    reading, size = reading_of(arguments), tuple(arguments.size)
    overriding = ("epochs", "batch", "learning_rate")
    given = {name: getattr(arguments, name) for name in overriding if getattr(arguments, name)}
    recipe = replace(RECIPES[arguments.recipe], seed=arguments.seed, trained=arguments.trained_layers, **given)
    training, validation = read_places(arguments.dataset, reading)
    check_places(training, validation)  # before the first model is loaded
    if arguments.model:
        model = model_from(arguments.model, recipe.whitened)
    else:
        with bar("clusters") as progress:
            model, _ = model_from_photos(
                arguments.backbone,
                arguments.backbone_weights,
                arguments.clusters,
                training,
                size=size,
                seed=arguments.seed,
                progress=progress,
            )
    recipe = for_backbone(recipe, model.backbone.trained_layers)
    return model, Course(training, validation, recipe, reading, size, arguments.out)


def run_training(
    model: "PatchNetVLAD",
    course: Course,
    team: "Team",
    keep: "Callable[[Run], None] | None" = None,
    **settings: Any,
) -> "State":
    """Says what there is to train on, and trains with progress bars.

    Args:
        model: to start from.
        course: what the training is about.
        team: the processes that train together.
        keep: called with the run after each epoch.
        settings: of `train`.
    """
    from ..train.loop import train

    first, recipe = team.rank == 0, course.recipe
    if first:
        print(f"training: {course.training.describe()}\nvalidation: {course.validation.describe()}")
    else:
        logging.getLogger("patchvlad").setLevel(logging.WARNING)
    with bars() as progress:
        settings |= {"reading": asdict(course.reading), "progress": progress if first else None}
        settings |= {"size": course.size, "team": team, "keep": keep}
        return train(model, course.training, course.validation, recipe, course.folder, **settings)


def tell(course: Course, state: "State", whitened: bool) -> None:
    """Says what came out of a training."""
    from ..train.runs import BEST

    best, numbers = course.folder / BEST, f"numbers in {course.folder / 'history.csv'}"
    if not whitened:
        print(f"add whitening with: patchvlad add-pca {best} PHOTOS --components D")
    if not learned(state):
        print(f"warning: {best} is the model that the run began with; {numbers}")
        print(f"no epoch was better than the start: {100 * state.best:.1f}")
        return
    shown = f", recall@{course.recipe.selected_by} {100 * state.best:.1f} %" if state.best >= 0 else ""
    print(f"{best}: the best of {state.epoch} epochs{shown}; {numbers}")


def learned(state: "State") -> bool:
    """Whether an epoch was better than the model before it; True where there is nothing to tell by."""
    measured = [row for row in state.history if any(name.startswith("validation/") for name in row)]
    return len(measured) < 2 or state.not_improved < len(measured) - 1
