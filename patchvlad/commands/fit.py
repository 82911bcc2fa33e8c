"""patchvlad fit: a model from photos, without training."""

import argparse
from pathlib import Path

from .. import __version__
from ..errors import ConfigError
from ..model.registry import BACKBONES, CLUSTER_WEIGHTS
from .options import add_pixel_range_option, at_least
from .outputs import FILE, add_output
from .progress import bar

EXAMPLE = "patchvlad fit photos --backbone lite --clusters 16 --components 512 --out mine.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    count, whole = at_least(1), at_least(0)
    parser.add_argument("photos", type=Path, nargs="+", help="folders of photos or list files; never the test set")
    add_output(parser, "--out", FILE, required=True, metavar="FILE.safetensors", help="where the model goes")
    add_backbone_options(parser)
    parser.add_argument(
        "--components", type=whole, default=512, metavar="D", help="length of descriptors (default: %(default)s)"
    )
    parser.add_argument(
        "--cluster-weight",
        choices=tuple(CLUSTER_WEIGHTS),
        help="how clusters with little mass weigh (default: root for lite, exact for vgg16)",
    )
    parser.add_argument(
        "--images", type=count, default=1000, metavar="N", help="photos drawn at most (default: %(default)s)"
    )
    parser.add_argument(
        "--samples", type=count, default=10_000, metavar="S", help="whitening patches (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of every random draw (default: %(default)s)")
    add_pixel_range_option(parser)
    parser.add_argument("--half", action="store_true", help="keep the whitening in half precision: half the file")
    parser.add_argument("--without-backbone", action="store_true", help="leave the ImageNet weights out of the file")


def add_backbone_options(parser: argparse.ArgumentParser) -> None:
    """Which backbone a model without a checkpoint starts from, and how many clusters it has."""
    parser.add_argument(
        "--backbone", choices=BACKBONES.choices, default="lite", help="dense network (default: %(default)s)"
    )
    parser.add_argument(
        "--backbone-weights", type=Path, metavar="FILE", help="ImageNet weights (default: found or downloaded)"
    )
    parser.add_argument(
        "--clusters", type=at_least(1), default=16, metavar="K", help="clusters of NetVLAD (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Fits, saves, and says from what."""
    from ..images.lists import ImageList
    from ..model.checkpoints import pretrained, save_model
    from ..train.fitting import fit

    if arguments.out.suffix != ".safetensors":
        raise ConfigError(f"--out {arguments.out}: models end in .safetensors")
    images = ImageList.join([ImageList.read(photos) for photos in arguments.photos]).scaled(arguments.pixel_range)
    backbone = pretrained(arguments.backbone, arguments.backbone_weights)
    with bar("fit") as progress:
        passes = {"cells": 0, "patches": 1}
        model = fit(
            backbone,
            images,
            arguments.clusters,
            arguments.components,
            cluster_weight=arguments.cluster_weight,
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
