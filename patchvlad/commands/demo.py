"""patchvlad demo: the main job on sample photos."""

import argparse
import shlex
from pathlib import Path

from .outputs import FOLDER, add_output

EXAMPLE = "patchvlad demo --out demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_output(
        parser, "--out", FOLDER, default=Path("demo"), help="folder for photos and results (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Fetches the photos once, says the command that matches them, and runs it."""
    from . import match
    from .sample_photos import sample_photos

    photos, results = sample_photos(arguments.out / "photos"), arguments.out / "results"
    words = ["--queries", photos / "queries", "--database", photos / "database"]
    words += ["--ground-truth", photos / "gt.csv", "--out", results, "--figures", 20, "--overwrite"]
    print(f"patchvlad match {shlex.join(map(str, words))}")
    parser = argparse.ArgumentParser()
    match.add_arguments(parser)
    match.run(parser.parse_args(list(map(str, words))))
