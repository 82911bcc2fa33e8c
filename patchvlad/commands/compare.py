"""patchvlad compare: two photos to a score and a picture."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .options import add_matcher_option, add_model_options, add_pixel_range_option, preset_of
from .outputs import FIGURE, add_output

if TYPE_CHECKING:
    from ..model.network import PatchNetVLAD
    from ..search.matchers.base import Match
    from .preset import Preset

log = logging.getLogger(__name__)

EXAMPLE = "patchvlad compare a.jpg b.jpg --plot matches.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("first", type=Path, metavar="A", help="a photo")
    parser.add_argument("second", type=Path, metavar="B", help="another photo")
    add_output(parser, "--plot", FIGURE, metavar="F.png", help="draw the matches into this file")
    add_pixel_range_option(parser)
    add_matcher_option(parser)
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Matches, and says how well."""
    preset = preset_of(arguments)
    preset.description.check_patches(preset.name)
    model = preset.description.load(arguments.device)
    match = match_photos(preset, model, arguments.first, arguments.second, arguments.plot, arguments.pixel_range)
    score = match.weighted(preset.plan.weights or ())
    print(f"score {score:.5f} ({preset.plan.matcher}, preset {preset.name}; higher is better)")
    for size, score in match.scores.items():
        print(f"  patches of {size} x {size} cells: score {score:.5f}, {len(match.points0[size])} matches")
    if arguments.plot:
        print(f"drawn into {arguments.plot}")


def match_photos(
    preset: "Preset",
    model: "PatchNetVLAD",
    first: Path,
    second: Path,
    plot: Path | None = None,
    pixel_range: Sequence[float] | None = None,
) -> "Match":
    """Matches two photos; draws the match into `plot` if given."""
    from ..evaluate.figures import Pictured, write_match_figure
    from ..images.pixels import read_image
    from ..images.scaling import is_faint
    from ..search.searching import matcher_of

    image0, image1 = (read_image(path, pixel_range) for path in (first, second))
    for path, image in ((first, image0), (second, image1)):
        if is_faint(image):
            log.warning("%s has next to no contrast (night, fog, a covered lens?) and may match anything", path)
    preset.description.check_patches(preset.name)
    size = preset.description.size
    if size is None and image0.shape != image1.shape:
        raise ConfigError(f"{first} and {second} differ in size and {preset.name} does not resize: set imageresizew")
    size = size or image0.shape[:2]
    match = matcher_of(preset.plan)(*model.describe([image0, image1], size))
    if plot is not None:
        title = f"score {match.weighted(preset.plan.weights or ()):.4f}"
        write_match_figure(plot, Pictured(image0, first.name), Pictured(image1, second.name), match, size, title)
    return match
