"""How queries and database images are counted, as options or a benchmark say."""

import argparse
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..places.ground_truth import GroundTruth

log = logging.getLogger(__name__)


def counting(arguments: argparse.Namespace) -> tuple[int, str]:
    """Images per group, and the denominator: as the options say, else as the dataset's protocol does."""
    from ..places.benchmarks import benchmark

    chosen = benchmark(arguments.dataset) if arguments.dataset else None
    group = arguments.group or (chosen.group if chosen else 1)
    return group, getattr(arguments, "denominator", None) or (chosen.denominator if chosen else "all")


def warn_of_departures(arguments: argparse.Namespace, truth: "GroundTruth | None", denominator: str) -> None:
    """Says in what the images and their truth are not those of the benchmark that `--dataset` names."""
    from ..places.benchmarks import benchmark, departures

    if arguments.dataset and truth is not None:
        other = departures(benchmark(arguments.dataset), truth, denominator)
        if other:
            log.warning("this is not %s as published: %s", arguments.dataset, "; ".join(other))
