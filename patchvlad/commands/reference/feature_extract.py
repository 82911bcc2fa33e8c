"""patchnetvlad-feature-extract"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..extract import Extracting, extract_photos
from ..main import run
from .shared import device_of, new_parser, preset_of


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser(
        "patchnetvlad-feature-extract", "Extract global and patch descriptors of a list of images.", _extract
    )
    parser.add_argument("--dataset_file_path", type=Path, required=True, help="text file with one image path a line")
    parser.add_argument("--dataset_root_dir", type=Path, default=Path(), help="what these paths are relative to")
    parser.add_argument("--output_features_dir", type=Path, default=Path("output_features"), help="where features go")
    return run(parser, argv)


def _extract(arguments: argparse.Namespace) -> None:
    from ...images.lists import ImageList

    preset = preset_of(arguments)
    images = ImageList.read(arguments.dataset_file_path, arguments.dataset_root_dir)
    model = preset.description.load(device_of(arguments))
    extract_photos(arguments.output_features_dir, images, preset, model, Extracting())
    print("Done. Finished extracting and saving features")


if __name__ == "__main__":
    sys.exit(main())
