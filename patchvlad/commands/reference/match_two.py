"""patchnetvlad-match-two"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..compare import match_photos
from ..main import run
from .shared import device_of, new_parser, preset_of


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-match-two", "Score two images and draw their matches.", _match_two)
    parser.add_argument("--first_im_path", type=Path, required=True, help="an image file")
    parser.add_argument("--second_im_path", type=Path, required=True, help="another image file")
    parser.add_argument("--plot_save_path", type=Path, default=Path("results"), help="folder for patchMatchings.png")
    return run(parser, argv)


def _match_two(arguments: argparse.Namespace) -> None:
    preset = preset_of(arguments)
    model = preset.description.load(device_of(arguments))
    plot = arguments.plot_save_path / "patchMatchings.png"
    match = match_photos(preset, model, arguments.first_im_path, arguments.second_im_path, plot)
    score = match.weighted(preset.plan.weights or ())
    print(f"Similarity score between the two images is: {score:.5f}. Larger scores indicate better matches.")
    print(f"Drawn into {plot}")


if __name__ == "__main__":
    sys.exit(main())
