"""patchvlad verify: whether stores, results and models are what was written, and stores' repair."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, PatchvladError, StoreError, counted
from .options import add_device_option, add_root_option
from .progress import bar

if TYPE_CHECKING:
    from ..files.checksums import Checked

EXAMPLE = "patchvlad verify stores results --repair"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="stores, results, models, or folders that hold some"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="describe damaged photos of stores again, and add checksums to stores of 0.1.0",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="X",
        help="with --repair: the store's photos, folder or list (default: where they were)",
    )
    add_root_option(parser)
    parser.add_argument("--model", help="with --repair: the model that made the store (default: the one it names)")
    add_device_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Checks all that is found, then says what is damaged."""
    for option in ("photos", "model"):
        if getattr(arguments, option) and not arguments.repair:
            raise ConfigError(f"--{option} is for --repair: give both")
    found = [thing for path in arguments.paths for thing in things(path)]
    if not found:
        paths = ", ".join(map(str, arguments.paths))
        raise StoreError(f"{paths}: no store, results or model there. Give what 'patchvlad extract' or 'match' wrote")
    damaged = 0
    for kind, path in found:
        checked = _checked(kind, path)
        if kind == "store" and arguments.repair:
            checked = _repaired(path, checked, arguments)
        damaged += bool(checked.damage)
        print(_said(path, checked), flush=True)
    if damaged:
        raise StoreError(f"{damaged} of {len(found)} damaged: see above")


# --- what there is --------------------------------------------------------------------------------------------------

Progress = Callable[[int, int], None]


def _check_store(path: Path, progress: Progress) -> "Checked":
    from ..features.store_checking import check_store

    return check_store(path, progress)


def _check_results(path: Path, progress: Progress) -> "Checked":
    from ..results.folder import check_results

    return check_results(path)


def _check_model(path: Path, progress: Progress) -> "Checked":
    from ..model.checking import check_model

    return check_model(path)


CHECKS: dict[str, Callable[[Path, Progress], "Checked"]] = {
    "store": _check_store,
    "results": _check_results,
    "model": _check_model,
}


def kinds_of(path: Path) -> tuple[str, ...]:
    """What a path is, of the kinds that can be checked."""
    from ..features.store import is_store
    from ..model.checking import is_model_file
    from ..results.folder import has_results

    if not path.is_dir():
        return ("model",) if path.is_file() and is_model_file(path) else ()
    return tuple(kind for kind, yes in (("store", is_store), ("results", has_results)) if yes(path))


def things(path: Path) -> Iterator[tuple[str, Path]]:
    """All that can be checked at, in and below a path, as (kind, path), in the order of names.

    Raises:
        StoreError: there is no such path, or it is a file without checksums.
    """
    if not path.exists():
        raise StoreError(f"{path} does not exist")
    if path.is_file() and not kinds_of(path):
        raise StoreError(f"{path} has no checksums of its own: give the store or results folder that it lies in")
    yield from _at_and_below(path)


def _at_and_below(path: Path) -> Iterator[tuple[str, Path]]:
    yield from ((kind, path) for kind in kinds_of(path))
    if path.is_dir():
        for name in sorted(os.listdir(path)):
            below = path / name
            if not name.startswith(".") and not (below.is_symlink() and below.is_dir()):  # links may lead in circles
                yield from _at_and_below(below)


def _checked(kind: str, path: Path) -> "Checked":
    with bar(f"verify {path.name}") as progress:
        return CHECKS[kind](path, progress)


def _said(path: Path, checked: "Checked") -> str:
    from ..model.known_models import megabytes

    state = "DAMAGED" if checked.damage else "not damaged, as far as can be told" if checked.unproven else "intact"
    size = f", {megabytes(checked.size)} compared" if checked.size else ""
    sentences = [sentence for sentence in (*checked.damage, checked.unproven) if sentence]
    return "\n".join([f"{path}: {state}{size}", *(f"  {sentence}" for sentence in sentences)])


# --- repair ---------------------------------------------------------------------------------------------------------


def _repaired(path: Path, checked: "Checked", arguments: argparse.Namespace) -> "Checked":
    """Repairs a store if it needs it; returns what is found then."""
    from ..features.store_writing import clear

    wanting = bool(checked.damage or checked.unproven)
    try:
        if wanting:
            print(_said(path, checked), flush=True)
            _repair(path, arguments)
        else:
            clear(path)  # a repair that was killed when all was done
    except PatchvladError as error:  # the others are checked all the same
        print(f"{path} is not repaired: {error}", file=sys.stderr)
    return _checked("store", path) if wanting else checked


def _repair(path: Path, arguments: argparse.Namespace) -> None:
    from ..features.description import Description
    from ..features.store_repair import repair_store
    from ..images.lists import ImageList

    photos: ImageList | None = None
    if arguments.photos is not None:
        photos = ImageList.read_either(arguments.photos, arguments.root)
    with bar(f"repair {path.name}") as progress:
        done = repair_store(
            path,
            lambda manifest: Description.of_store(manifest, arguments.model).load(arguments.device),
            photos,
            progress,
        )
    if done.rows:
        print(f"{path}: {counted(done.rows, 'photo')} described again, {done.same} to the same bits as before")
    if done.summed:
        print(f"{path}: checksums added; they tell what changes from now on")
