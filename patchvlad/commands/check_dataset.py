"""patchvlad check-dataset: what a published benchmark lacks on this disk; its lists and ground truth."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GroundTruthError, counted
from .outputs import FOLDER, add_output

if TYPE_CHECKING:
    from ..images.lists import ImageList
    from ..images.sides import Sides
    from ..places.benchmarks import Benchmark
    from ..places.ground_truth import GroundTruth

EXAMPLE = "patchvlad check-dataset pitts30k data/pitts30k --write prepared"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("name", metavar="NAME", help="see 'patchvlad datasets'")
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder that it lies in")
    for name in ("queries", "database"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="LIST", help="image list for other layouts; its names are relative to ROOT"
        )
    add_output(parser, "--write", FOLDER, metavar="FOLDER", help="write image lists and ground truth there")


def run(arguments: argparse.Namespace) -> None:
    """Says what is missing, or writes what matching needs."""
    from ..places.benchmarks import benchmark, find

    chosen = benchmark(arguments.name)
    lists = {kind: getattr(arguments, kind) for kind in ("queries", "database") if getattr(arguments, kind) is not None}
    dataset = find(chosen, arguments.root, lists)
    images = dataset.images
    said = [
        f"{chosen.title}: {counted(len(images.queries), 'query', 'queries')}, "
        f"{counted(len(images.database), 'database image')}; {chosen.counted}"
    ]
    problems = list(dataset.problems)
    truth = None
    if chosen.truth != "poses" and len(images.queries) and len(images.database):
        try:
            truth = dataset.ground_truth()
        except GroundTruthError as error:
            problems.append(f"ground truth: {error}")
        else:
            said.append(truth.describe())
            answerable = len(truth) - truth.without_positives
            if chosen.denominator == "answerable" and chosen.query_count not in (None, answerable):
                problems.append(f"queries: {answerable} have a positive, {chosen.query_count} should")
    said += [f"  {problem}" for problem in problems]
    if problems:
        print(*said, sep="\n")
        raise GroundTruthError(
            f"{arguments.root} is not {chosen.name} as published: {len(problems)} problems, listed above. "
            f"Its source is {chosen.source}"
        )
    said.append("complete")
    if arguments.write is not None:
        said.append(_write_dataset(arguments, chosen, images, truth))
    print(*said, sep="\n")


def _write_dataset(
    arguments: argparse.Namespace, chosen: "Benchmark", sides: "Sides[ImageList]", truth: "GroundTruth | None"
) -> str:
    """Writes the files, all at once, and says the command that takes them."""
    from shlex import quote

    from ..files.atomic import replacing_set, write_text

    with replacing_set(arguments.write, ("queries.txt", "database.txt", "gt.npz")) as staged:
        for kind, images in sides.items():
            write_text(staged / f"{kind}.txt", "".join(f"{name}\n" for name in images.names))
        if truth is not None:
            truth.write(staged / "gt.npz")
    words = [
        f"patchvlad match --queries {quote(str(arguments.write / 'queries.txt'))}",
        f"--database {quote(str(arguments.write / 'database.txt'))} --root {quote(str(arguments.root))}",
        f"--dataset {chosen.name} --out results",
    ]
    if truth is not None:
        words.insert(2, f"--ground-truth {quote(str(arguments.write / 'gt.npz'))}")
    return f"written to {arguments.write}; now\n  {' '.join(words)}"
