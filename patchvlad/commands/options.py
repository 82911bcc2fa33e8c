"""Options that several commands share."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..features.registry import STORE_DTYPES
from ..images.sides import ROW_ORDERS
from ..model.registry import PRECISIONS
from ..places.radii import Reading
from ..places.registry import POSE_FORMATS
from ..results.registry import SCORES
from ..search.registry import MATCHERS
from .preset import FAST, PRESETS, Preset, by_preset, read_config, read_preset

if TYPE_CHECKING:
    from ..features.store import FeatureStore


def at_least(least: int) -> Callable[[str], int]:
    """An argument type: whole numbers from `least`."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {number}")
        return number

    return whole_number


def whole_numbers(text: str) -> tuple[int, ...]:
    """An argument type: ascending whole numbers from 1, separated by commas."""
    numbers = tuple(sorted({int(word) for word in text.split(",")}))
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {numbers[0]}")
    return numbers


# --- models ---------------------------------------------------------------------------------------------------------


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Where models compute."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda if there is a GPU)")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which preset and model."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=PRESETS, help="model, patches and matcher (default: lite)")
    which.add_argument("--config", type=Path, metavar="FILE.ini", help="the same from a file in the reference's format")
    parser.add_argument(
        "--fast", action="store_true", help="the preset's fast variant: bfloat16, int8, fewer components, no RANSAC"
    )
    parser.add_argument(
        "--model",
        help="known name or checkpoint, see 'patchvlad models' "
        f"(default: {by_preset(lambda preset: preset.description.model)})",
    )
    add_device_option(parser)


def add_matcher_option(parser: argparse.ArgumentParser) -> None:
    """Which geometric verification."""
    decided = by_preset(lambda preset: preset.plan.matcher)
    parser.add_argument("--matcher", choices=tuple(MATCHERS), help=f"geometric verification (default: {decided})")


def preset_of(arguments: argparse.Namespace, *stores: "FeatureStore") -> Preset:
    """The preset or config asked for; else the preset that given stores were made with; else `lite`."""
    from dataclasses import replace

    presets = (store.manifest.preset for store in stores)
    made_with = next((name for name in presets if name.removesuffix(FAST) in PRESETS), "lite")
    found = read_config(arguments.config) if arguments.config else read_preset(arguments.preset or made_with)
    if arguments.fast:
        found = found.fast()
    description, plan = found.description, found.plan
    if arguments.model:
        description = replace(description, model=arguments.model, components=None, clusters=None, looked_in=())
    overriding = ("precision", "store_dtype", "patch_components", "batch")
    given = {name: getattr(arguments, name) for name in overriding if getattr(arguments, name, None)}
    if getattr(arguments, "matcher", None):
        plan = replace(plan, matcher=arguments.matcher)
    return replace(found, description=replace(description, **given), plan=plan)


# --- photos ---------------------------------------------------------------------------------------------------------


def add_root_option(parser: argparse.ArgumentParser) -> None:
    """Where the photos of list files lie."""
    parser.add_argument("--root", type=Path, help="what paths in list files are relative to (default: their folder)")


def add_row_order_option(parser: argparse.ArgumentParser) -> None:
    """Which images the rows of files stand for."""
    parser.add_argument(
        "--row-order",
        choices=ROW_ORDERS,
        help="in which order files of rows (.npy, .npz without names) have the images of folders and stores: natural "
        "is 2 before 10, sorted is alphabetical (default: asked for where the two differ)",
    )


def add_pixel_range_option(parser: argparse.ArgumentParser) -> None:
    """How photos of more than 8 bits become eight bits."""
    parser.add_argument(
        "--pixel-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values of 16-bit and float photos that become black and white (default: percentiles 1 and 99 of each)",
    )


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """How many threads read photos."""
    parser.add_argument(
        "--workers",
        type=at_least(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="threads that read photos (default: %(default)s, the number of cores)",
    )


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """How photos are described and kept."""
    count = at_least(1)
    described = lambda field: by_preset(lambda preset: getattr(preset.description, field))  # noqa: E731
    parser.add_argument(
        "--batch", type=count, metavar="N", help=f"photos the network takes at a time (default: {described('batch')})"
    )
    add_workers_option(parser)
    parser.add_argument(
        "--store-dtype", choices=STORE_DTYPES, help=f"of patch descriptors (default: {described('store_dtype')})"
    )
    parser.add_argument(
        "--patch-components",
        type=count,
        metavar="N",
        help=f"leading components that patch descriptors keep (default: {described('patch_components')})",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help=f"the network multiplies in (default: {described('precision')})"
    )
    parser.add_argument("--overwrite", action="store_true", help="start anew, whatever the folder holds")
    add_pixel_range_option(parser)
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="go on past photos that cannot be read, or show one colour only"
    )


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """Which images predictions are about."""
    for name in ("queries", "database"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="X", help="their photos, list file or store, for their names"
        )
    add_root_option(parser)


def add_scores_option(parser: argparse.ArgumentParser) -> None:
    """What the scores of pairs are."""
    parser.add_argument(
        "--scores",
        choices=SCORES,
        help="what the third column of pairs is; none: images are listed best first (default: told by their order)",
    )


# --- measuring ------------------------------------------------------------------------------------------------------


def add_counting_options(parser: argparse.ArgumentParser) -> None:
    """How queries and database images are counted."""
    parser.add_argument("--dataset", metavar="NAME", help="count as this benchmark does; see 'patchvlad datasets'")
    parser.add_argument(
        "--group",
        type=at_least(1),
        metavar="N",
        help="every N database images are cut-outs of one place: keep the best (default: 1, or as --dataset says)",
    )


def add_pose_options(parser: argparse.ArgumentParser) -> None:
    """Where the cameras of database images stood."""
    parser.add_argument("--database-poses", type=Path, nargs="+", metavar="F", help="poses of database images")
    parser.add_argument(
        "--pose-format",
        choices=POSE_FORMATS,
        help="of pose files (default: told by their contents and names)",
    )


# --- training -------------------------------------------------------------------------------------------------------


def add_places_options(parser: argparse.ArgumentParser) -> None:
    """Which places, and how they are read."""
    usual = Reading()
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a csv, or a folder of MSLS or GSV-Cities")
    for name, default, said in (
        ("radius", usual.positive_radius, "metres within which photos are positives"),
        ("negative-radius", usual.negative_radius, "metres beyond which photos are negatives"),
        ("validation-radius", usual.validation_radius, "metres within which a validation query is answered"),
    ):
        parser.add_argument(
            f"--{name}", type=float, default=default, metavar="M", help=f"{said} (default: {default:g})"
        )
    parser.add_argument("--heading-limit", type=float, metavar="DEG", help="degrees between positives (default: any)")
    parser.add_argument(
        "--validation",
        type=float,
        default=usual.validation,
        metavar="SHARE",
        help="held out where the dataset splits nothing (default: %(default)s)",
    )
    for side in ("cities", "validation-cities"):
        parser.add_argument(f"--{side}", metavar="A,B", help="of MSLS or GSV-Cities (default: the published lists)")
    parser.add_argument("--panoramas", action="store_true", help="train on MSLS's panoramas too")
    parser.add_argument("--seed", type=at_least(0), default=usual.seed, help="of every random draw (default: 0)")


def reading_of(arguments: argparse.Namespace) -> Reading:
    """How places are read, as these options say."""

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
        pixel_range=tuple(arguments.pixel_range) if getattr(arguments, "pixel_range", None) else None,
    )
