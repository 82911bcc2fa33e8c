"""patchvlad places: what places a dataset holds."""

import argparse

from ..errors import counted
from .options import add_places_options, reading_of

EXAMPLE = "patchvlad places photos/places.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_places_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Says how many queries have how many positives, and which photos are missing."""
    from ..places.training_sets import read_places

    training, validation = read_places(arguments.dataset, reading_of(arguments))
    for name, places in (("training", training), ("validation", validation)):
        print(f"{name}: " + places.describe().replace("\n", "\n  "))
        missing = places.missing()
        if missing:
            print(f"  missing below {places.images.root}: {counted(len(missing), 'photo')}, the first is {missing[0]}")
    if not len(training.trainable):
        print("nothing to train on: no training query has a positive")
