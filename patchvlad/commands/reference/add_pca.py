"""patchnetvlad-add-pca"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ..add_pca import Target, whiten
from ..train_config import read_train_config
from .shared import device_of, images_of, new_parser, refuse_missing_config, run_as

if TYPE_CHECKING:
    from ...images.lists import ImageList

log = logging.getLogger(__name__)

PITTS = "pitts30k_imageNames_index.txt"  # of these images the reference takes its whitening for Pittsburgh


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-add-pca", "Add whitening to a trained checkpoint.", _add_pca)
    parser.add_argument(
        "--dataset_root_dir",
        type=Path,
        required=True,
        help="MSLS (the database photos of its training cities are taken), Pittsburgh, or a folder of photos",
    )
    parser.add_argument("--resume_path", type=Path, required=True, help="the checkpoint")
    parser.add_argument(
        "--dataset_choice", default="mapillary", help="which dataset this is: mapillary or pitts (%(default)s)"
    )
    parser.add_argument("--threads", type=int, help="without effect: photos are read ahead by themselves")
    parser.add_argument(
        "--i-know", action="store_true", help="ours: take a folder of photos although it looks like a test set"
    )
    return run_as(parser, argv, "patchvlad add-pca")


def _add_pca(arguments: argparse.Namespace) -> None:
    settings = read_train_config(refuse_missing_config(arguments.config_path, "train"))
    if arguments.threads is not None:
        log.info("--threads has no effect here: photos are read ahead by themselves")
    images = _images(arguments)
    target = Target(settings.components, reference_format=True)
    whiten(arguments.resume_path, images, target, device_of(arguments), size=settings.size, seed=settings.seed)


def _images(arguments: argparse.Namespace) -> "ImageList":
    """The photos that the reference takes of MSLS and of Pittsburgh, or those of any other folder."""
    from ...images.lists import ImageList
    from ...places.msls import training_database
    from ...train.starting import check_no_test_photos

    root: Path = arguments.dataset_root_dir
    if arguments.dataset_choice == "pitts":
        log.warning("%s: these are the database of the test set, as in the reference", PITTS)
        return images_of(Path(PITTS), root)
    if arguments.dataset_choice != "mapillary":
        raise ConfigError(f"--dataset_choice {arguments.dataset_choice}: choose from mapillary, pitts")
    if (root / "train_val").is_dir():
        images = training_database(root)
        log.info("%s: the database photos of its training cities, %d", root, len(images))
        return images
    images = ImageList.read(root)
    if not arguments.i_know:
        check_no_test_photos(root, images)
    return images


if __name__ == "__main__":
    sys.exit(main())
