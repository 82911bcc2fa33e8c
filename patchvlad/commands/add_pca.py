"""patchvlad add-pca: whitening for a trained model."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import ConfigError
from .options import add_device_option, add_pixel_range_option, at_least
from .outputs import FILE, add_output
from .progress import bar

if TYPE_CHECKING:
    from ..images.lists import ImageList

EXAMPLE = "patchvlad add-pca runs/mine/best.safetensors photos --components 512"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    count, whole = at_least(1), at_least(0)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="known name or checkpoint")
    parser.add_argument("photos", type=Path, help="folder of photos or list file; never the test set")
    for name, kind, default, metavar, said in (
        ("components", count, 4096, "D", "length of descriptors"),
        ("images", count, 10_000, "N", "photos drawn at most"),
        ("samples", count, 30_000, "S", "patches drawn at most"),
        ("memory", count, 2048, "MB", "for these patches"),
        ("seed", whole, 0, "SEED", "of every random draw"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=default, metavar=metavar, help=f"{said} (default: %(default)s)"
        )
    add_output(
        parser,
        "--out",
        FILE,
        metavar="FILE",
        help="default: NAME_WPCA<D>.safetensors (with --reference-format .pth.tar) beside the checkpoint",
    )
    parser.add_argument("--i-know", action="store_true", help="take photos although they look like a test set")
    parser.add_argument(
        "--reference-format", action="store_true", help="write the .pth.tar that the reference reads (VGG16 only)"
    )
    add_pixel_range_option(parser)
    add_device_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Fits the whitening and writes the model."""
    from ..images.lists import ImageList
    from ..train.starting import check_no_test_photos

    images = ImageList.read(arguments.photos).scaled(arguments.pixel_range)
    if not arguments.i_know:
        check_no_test_photos(arguments.photos, images)
    target = Target(arguments.components, arguments.out, arguments.reference_format)
    whiten(
        arguments.checkpoint,
        images,
        target,
        arguments.device,
        most_images=arguments.images,
        samples=arguments.samples,
        memory=arguments.memory << 20,
        seed=arguments.seed,
    )


@dataclass(frozen=True)
class Target:
    """What a whitened model becomes: D components, in this file, in the reference's format or in ours."""

    components: int
    out: Path | None = None
    reference_format: bool = False


def whiten(checkpoint: str | Path, images: "ImageList", target: Target, device: str, **settings: Any) -> None:
    """Writes a checkpoint with whitening, and says what it wrote; `settings` are those of `add_whitening`."""
    from ..files.room import check_file
    from ..model.checkpoints import check_reference_can_read, load_model, locate, save_model, save_reference
    from ..model.devices import usable_device
    from ..train.starting import add_whitening

    name, path = locate(checkpoint)
    suffix = ".pth.tar" if target.reference_format else ".safetensors"
    plain = path.name.removesuffix(".safetensors").removesuffix(".pth.tar")
    out = target.out or path.with_name(f"{plain}_WPCA{target.components}{suffix}")
    if not out.name.endswith(suffix):
        raise ConfigError(f"--out {out}: this format's files end in {suffix}")
    check_file(out)
    model = load_model(path, device=usable_device(device))
    if target.reference_format:
        check_reference_can_read(model)
    with bar("whitening") as progress:
        used = add_whitening(model, images, target.components, progress=progress, **settings)
    notes = f"{name}, whitening of {used} photos, patchvlad {__version__}"
    written = save_reference(model, out) if target.reference_format else save_model(model, out, notes=notes)
    print(f"{written}: {notes}, D = {model.dim}, {written.stat().st_size / 1e6:.1f} MB")
