"""The commands that make ground truths and image lists, and know published benchmarks; they print, like `cli`."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError, GroundTruthError

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from .evaluate.ground_truth import GroundTruth
    from .evaluate.protocols import Protocol
    from .features.images import ImageList


def do_list(arguments: argparse.Namespace) -> None:
    """patchvlad list"""
    from .atomic import write_text
    from .features.images import ImageList

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
        print(f"{arguments.out}: {len(images)} images, in natural order, relative to {images.root}")


def do_ground_truth(arguments: argparse.Namespace) -> None:
    """patchvlad ground-truth"""
    from .cli import bar
    from .evaluate.sources import KINDS, make_ground_truth
    from .features.images import ImageList

    if arguments.out.suffix.lower() not in (".npz", ".csv"):
        raise ConfigError(f"{arguments.out}: a ground truth is written as .npz or .csv")
    sides = (arguments.queries, arguments.database)
    queries, database = (ImageList.read_either(path, arguments.root) for path in sides)
    source = arguments.source
    if source is not None:
        source = [word.lower() if word.lower() in KINDS else word for word in source]
        kinds = [word for word in source if word in KINDS]
        if kinds and len(source) > 1:
            raise ConfigError(f"--from {' '.join(source)}: {kinds[0]} stands alone")
        source = kinds[0] if kinds else [Path(word) for word in source]
    with bar("read positions") as progress:
        truth = make_ground_truth(
            queries,
            database,
            source,
            radius=arguments.radius,
            heading_limit=arguments.heading_limit,
            frames=arguments.frames,
            frame_step=arguments.frame_step,
            progress=progress,
        )
    both = {queries.path(row).resolve() for row in range(len(queries))} & {
        database.path(row).resolve() for row in range(len(database))
    }
    if both:
        log.warning("%d photos are both query and database: each is a positive of itself", len(both))
    truth.write(arguments.out)
    print(truth.describe())
    print(f"written to {arguments.out}")


def do_datasets(arguments: argparse.Namespace) -> None:
    """patchvlad datasets"""
    from textwrap import fill

    from .evaluate.protocols import protocols

    for known in protocols().values():
        counts = f"{known.query_count or '?'} queries, {known.database_count or '?'} database images"
        print(f"{known.name}: {known.title}")
        print(f"    {counts}; {known.counted}")
        where = f"train_val/{{{', '.join(known.cities)}}}" if known.cities else f"{known.queries}, {known.database}"
        print(f"    lies in {where}")
        print(f"    source: {known.source}")
        print(fill(known.note, width=110, initial_indent="    ", subsequent_indent="    "))
    print("patchvlad check-dataset NAME ROOT says what is missing; --write makes lists and ground truth")


def do_check_dataset(arguments: argparse.Namespace) -> None:
    """patchvlad check-dataset"""
    from .evaluate.protocols import find, protocol

    chosen = protocol(arguments.name)
    lists = {kind: getattr(arguments, kind) for kind in ("queries", "database") if getattr(arguments, kind) is not None}
    dataset = find(chosen, arguments.root, lists)
    print(f"{chosen.title}: {len(dataset.queries)} queries, {len(dataset.database)} database images; {chosen.counted}")
    problems = list(dataset.problems)
    truth = None
    if chosen.truth != "poses" and len(dataset.queries) and len(dataset.database):
        try:
            truth = dataset.ground_truth()
        except GroundTruthError as error:
            problems.append(f"ground truth: {error}")
        else:
            print(truth.describe())
            answerable = len(truth) - truth.without_positives
            if chosen.denominator == "answerable" and chosen.query_count not in (None, answerable):
                problems.append(f"queries: {answerable} have a positive, {chosen.query_count} should")
    for problem in problems:
        print(f"  {problem}")
    if problems:
        raise GroundTruthError(
            f"{arguments.root} is not {chosen.name} as published: {len(problems)} problems, listed above. "
            f"It is to be had from {chosen.source}"
        )
    print("complete")
    if arguments.write is not None:
        _write_dataset(arguments, chosen, {"queries": dataset.queries, "database": dataset.database}, truth)


def _write_dataset(
    arguments: argparse.Namespace, chosen: "Protocol", sides: dict[str, "ImageList"], truth: "GroundTruth | None"
) -> None:
    from shlex import quote

    from .atomic import write_text

    for kind, images in sides.items():
        write_text(arguments.write / f"{kind}.txt", "".join(f"{name}\n" for name in images.names))
    words = [
        f"patchvlad match --queries {quote(str(arguments.write / 'queries.txt'))}",
        f"--database {quote(str(arguments.write / 'database.txt'))} --root {quote(str(arguments.root))}",
        f"--dataset {chosen.name} --out results",
    ]
    if truth is not None:
        truth.write(arguments.write / "gt.npz")
        words.insert(2, f"--ground-truth {quote(str(arguments.write / 'gt.npz'))}")
    print(f"written to {arguments.write}; now\n  {' '.join(words)}")
