"""patchnetvlad-add-pca"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..add_pca import Target, whiten
from ..main import run
from ..train_config import read_train_config
from .shared import device_of, new_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-add-pca", "Add whitening to a trained checkpoint.", _add_pca)
    parser.add_argument("--dataset_root_dir", type=Path, required=True, help="folder of the photos to fit it to")
    parser.add_argument("--resume_path", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--dataset_choice", default="mapillary", help="which dataset this is: mapillary or pitts")
    return run(parser, argv)


def _add_pca(arguments: argparse.Namespace) -> None:
    from ...images.lists import ImageList
    from ...train.starting import check_no_test_photos

    settings = read_train_config(arguments.config_path)
    images = ImageList.read(arguments.dataset_root_dir)
    check_no_test_photos(arguments.dataset_root_dir, images)
    target = Target(settings.components, reference_format=True)
    whiten(arguments.resume_path, images, target, device_of(arguments), size=settings.size)


if __name__ == "__main__":
    sys.exit(main())
