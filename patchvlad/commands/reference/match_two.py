"""patchnetvlad-match-two"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..compare import match_photos
from ..options import add_pixel_range_option
from ..outputs import FOLDER, add_output
from ..packaged import EXAMPLES, fetch, find, folder
from .shared import device_of, new_parser, preset_of, run_as


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = new_parser("patchnetvlad-match-two", "Score two images and draw their matches.", _match_two)
    for which, example in (("first", EXAMPLES[0]), ("second", EXAMPLES[1])):
        parser.add_argument(
            f"--{which}_im_path", type=Path, help=f"an image file (default: the reference's {example}, fetched once)"
        )
    add_output(
        parser,
        "--plot_save_path",
        FOLDER,
        default=Path("results"),
        help="folder for patchMatchings.png (%(default)s)",
    )
    add_pixel_range_option(parser)
    return run_as(parser, argv, "patchvlad compare")


def _match_two(arguments: argparse.Namespace) -> None:
    from ...files.room import check_file

    plot = arguments.plot_save_path / "patchMatchings.png"
    check_file(plot)
    preset = preset_of(arguments)
    given = (arguments.first_im_path, arguments.second_im_path)
    if None in given:
        fetch("examples")
    first, second = (
        folder() / example if path is None else find(path) for path, example in zip(given, EXAMPLES, strict=False)
    )
    model = preset.description.load(device_of(arguments))
    match = match_photos(preset, model, first, second, plot, arguments.pixel_range)
    score = match.weighted(preset.plan.weights or ())
    print(f"Similarity score between the two images is: {score:.5f}. Larger scores indicate better matches.")
    print(f"Drawn into {plot}")


if __name__ == "__main__":
    sys.exit(main())
