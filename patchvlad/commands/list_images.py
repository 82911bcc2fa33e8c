"""patchvlad list: the image list of a folder."""

import argparse
from pathlib import Path

from ..errors import ConfigError, counted
from .outputs import FILE, add_output

EXAMPLE = "patchvlad list photos/database --out database.txt --root photos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("photos", type=Path, help="folder of photos; folders below it too, in natural order")
    add_output(parser, "--out", FILE, metavar="FILE.txt", help="default: print it")
    parser.add_argument("--root", type=Path, help="what names are relative to (default: the folder)")


def run(arguments: argparse.Namespace) -> None:
    """Prints or writes the list."""
    from ..files.atomic import write_text
    from ..images.lists import ImageList

    images = ImageList.read(arguments.photos)
    if arguments.root is not None:
        try:
            images = images.below(arguments.root)
        except ValueError as error:
            raise ConfigError(
                f"{images.root} does not lie below {arguments.root}: give a root above all photos"
            ) from error
    text = "".join(f"{name}\n" for name in images.names)
    if arguments.out is None:
        print(text, end="")
    else:
        write_text(arguments.out, text)
        print(f"{arguments.out}: {counted(len(images), 'image')}, in natural order, relative to {images.root}")
