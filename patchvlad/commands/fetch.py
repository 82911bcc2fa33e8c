"""patchvlad fetch: what the reference's package holds besides code."""

import argparse

from .packaged import PARTS, fetch

EXAMPLE = "patchvlad fetch lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "part",
        choices=tuple(PARTS),
        help="examples: the two example images and their lists; lists: all image lists and ground truths",
    )


def run(arguments: argparse.Namespace) -> None:
    """Fetches them, and says where they are."""
    for path in fetch(arguments.part):
        print(path)
