"""The command line: the only module that prints, reads argv and turns errors into exit codes.

Exit codes: 0 done, 1 something named in the message went wrong, 2 the command or the config was wrong, 130 interrupted.
Results go to standard output; progress and notices to standard error.
"""

import argparse
import contextlib
import io
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import config, options
from .errors import ConfigError, PatchvladError

if TYPE_CHECKING:
    from .features.images import ImageList
    from .features.store import FeatureStore
    from .model.network import PatchNetVLAD
    from .pipeline import Results


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    return run(build_parser(), argv)


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parses and calls the chosen function; every error that patchvlad names becomes one line and an exit code."""
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a photo's name that the terminal cannot show is no failure
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("patchvlad").setLevel(logging.INFO)
    try:
        arguments.function(arguments)
        return 0
    except PatchvladError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print(
            f"\n{parser.prog}: interrupted; what is finished is kept: the same command, or --resume, goes on there",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = open(os.devnull, "w")
        return 0
    except OSError as error:
        where = error.filename or "input or output"
        print(f"{parser.prog}: error: {where}: {error.strerror or error}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, with the functions behind it."""
    from . import datasets_cli, evaluate_cli, train_cli

    return options.build_parser(
        {
            "demo": do_demo,
            "extract": do_extract,
            "match": do_match,
            "compare": do_compare,
            "fit": train_cli.do_fit,
            "places": train_cli.do_places,
            "train": train_cli.do_train,
            "add-pca": train_cli.do_add_pca,
            "ground-truth": datasets_cli.do_ground_truth,
            "list": datasets_cli.do_list,
            "datasets": datasets_cli.do_datasets,
            "check-dataset": datasets_cli.do_check_dataset,
            "evaluate": evaluate_cli.do_evaluate,
            "export": evaluate_cli.do_export,
            "models": do_models,
            "download": do_download,
        }
    )


# --- what the commands do -------------------------------------------------------------------------------------------


def do_extract(arguments: argparse.Namespace) -> None:
    """patchvlad extract"""
    from .features.images import ImageList
    from .model.known_models import megabytes
    from .pipeline import load

    settings = _settings(arguments)
    images = ImageList.read(arguments.photos, arguments.root)
    store = extract_photos(arguments.out, images, settings, load(settings, arguments.device), arguments)
    size = megabytes(sum(path.stat().st_size for path in store.folder.iterdir()))
    print(f"{store.folder}: {len(store)} images, {size}")


def do_match(arguments: argparse.Namespace) -> None:
    """patchvlad match"""
    from .evaluate.names import FOLDERS
    from .evaluate.protocols import groups_of
    from .evaluate_cli import counting, warn_of_departures
    from .features.global_descriptors import read_global_descriptors
    from .features.images import ImageList
    from .features.store import FeatureStore, is_store
    from .pipeline import check_patches, draw_best, load, match_stores, read_truth, usable_device

    sources = {"queries": arguments.queries, "database": arguments.database}
    stores = {name: FeatureStore(path) for name, path in sources.items() if is_store(path)}
    settings = _settings(arguments, *stores.values())
    photos = {name: ImageList.read_either(path, arguments.root) for name, path in sources.items() if name not in stores}
    if arguments.figures and (stores or settings.pooling != "patchnetvlad"):
        raise ConfigError("--figures needs photos for --queries and --database, not stores, and a preset with patches")
    # What can be wrong without a look at a photo is found before the long part.
    for store in stores.values():
        check_patches(settings, store)
    names = [stores[name].names if name in stores else photos[name].names for name in sources]
    truth = read_truth(arguments.ground_truth, arguments.radius, *names)
    group, denominator = counting(arguments)
    warn_of_departures(arguments, truth, denominator)
    groups = groups_of(len(names[1]), group)
    others = FOLDERS["database"], FOLDERS["queries"]
    descriptors = arguments.descriptors and tuple(map(read_global_descriptors, arguments.descriptors, names, others))
    if photos:
        model = load(settings, arguments.device, *stores.values())
        for name, images in photos.items():
            stores[name] = extract_photos(arguments.out / "stores" / name, images, settings, model, arguments)
    results = match_stores(
        settings,
        stores["queries"],
        stores["database"],
        arguments.out,
        bar,
        truth=truth,
        candidates=arguments.candidates,
        depth=arguments.rerank,
        time_budget=None if arguments.time_budget is None else arguments.time_budget / 1000,
        groups=groups,
        descriptors=descriptors,
        denominator=denominator,
        device=usable_device(arguments.device),
    )
    print_results(results)
    drawn = draw_best(settings, results.ranking, stores, photos, arguments.out / "figures", arguments.figures)
    print(f"written to {arguments.out}" + (f", {len(drawn)} pictures in {arguments.out / 'figures'}" if drawn else ""))


def do_compare(arguments: argparse.Namespace) -> None:
    """patchvlad compare"""
    from .pipeline import compare, load

    settings = _settings(arguments)
    if settings.pooling != "patchnetvlad":
        raise ConfigError(f"{settings.name} makes no patches (pooling {settings.pooling}): choose another preset")
    match = compare(settings, load(settings, arguments.device), arguments.first, arguments.second, arguments.plot)
    score = match.weighted(settings.weights)
    print(f"score {score:.5f} ({settings.matcher}, preset {settings.name}; higher is better)")
    for size, score in match.scores.items():
        print(f"  patches of {size} x {size} cells: score {score:.5f}, {len(match.points0[size])} matches")
    if arguments.plot:
        print(f"drawn into {arguments.plot}")


def do_models(arguments: argparse.Namespace) -> None:
    """patchvlad models"""
    from .model.known_models import KNOWN_MODELS, megabytes

    print(f"{'name':16}  {'K':>3}  {'D':>5}  {'size':>8}  where")
    for known in KNOWN_MODELS.values():
        here = known.path.is_file()
        size = megabytes(known.path.stat().st_size) if here else "~" + megabytes(known.expected_bytes)
        where = str(known.path) if here else f"not downloaded; {known.repository}/{known.remote_file}"
        print(f"{known.name:16}  {known.clusters:3}  {known.components:5}  {size:>8}  {where}")
    print("~ is an estimate. A model downloads on first use, or now: patchvlad models download NAME")


def do_download(arguments: argparse.Namespace) -> None:
    """patchvlad models download"""
    from .model.known_models import KNOWN_MODELS, download

    if bool(arguments.names) == arguments.all:
        raise ConfigError("name the models to download, or give --all; 'patchvlad models' lists them")
    for name in KNOWN_MODELS if arguments.all else arguments.names:
        print(download(name))


def do_demo(arguments: argparse.Namespace) -> None:
    """patchvlad demo"""
    from .demo import sample_photos

    photos, results = sample_photos(arguments.out / "photos"), arguments.out / "results"
    command = ["match", "--queries", photos / "queries", "--database", photos / "database"]
    command += ["--ground-truth", photos / "gt.csv", "--out", results, "--figures", 20, "--overwrite"]
    words = [str(word) for word in command]
    print(f"patchvlad {shlex.join(words)}")
    do_match(build_parser().parse_args(words))


# --- shared with the reference's commands ---------------------------------------------------------------------------


def extract_photos(
    folder: Path, images: "ImageList", settings: config.Config, model: "PatchNetVLAD", arguments: argparse.Namespace
) -> "FeatureStore":
    """Extracts with a progress bar, as the extraction options say."""
    from .features.extraction import extract

    started = time.perf_counter()
    before: list[int] = []

    def count(done: int, total: int) -> None:
        before.append(done)
        progress(done, total)

    with bar(f"extract {folder.name}") as progress:
        store = extract(
            model,
            images,
            folder,
            size=settings.size,
            batch=settings.batch,
            workers=arguments.workers,
            dtype=settings.store_dtype,
            overwrite=arguments.overwrite,
            skip_unreadable=arguments.skip_unreadable,
            preset=settings.name,
            progress=count,
        )
    made, took = len(store) - before[0], time.perf_counter() - started
    kept = f", {before[0]} were there" if before[0] else ""
    print(f"extracted {made} images into {folder} in {took:.1f} s{kept}", file=sys.stderr)
    return store


def print_results(results: "Results", most: int = 20) -> None:
    """Recall before and after re-ranking, times, and the best matches of a few queries."""
    ranking, truth = results.ranking, results.truth
    queries = max(len(ranking.query_names), 1)
    if truth is None or len(ranking.query_names) <= most:
        print("query -> best matches (a score compares candidates of one query)")
        for row, query in enumerate(ranking.query_names[:most]):
            shown = []
            for index, score in list(zip(ranking.indices[row], ranking.scores[row], strict=True))[:3]:
                if index >= 0:
                    right = "*" if truth is not None and index in truth.positives[row] else ""
                    shown.append(f"{ranking.database_names[index]}{right} {score:.2f}")
            print(f"  {query} -> {', '.join(shown) or 'nothing'}")
        if len(ranking.query_names) > most:
            print(f"  ... and {len(ranking.query_names) - most} more queries")
        if truth is not None:
            print("  * is a right place")
    for stage, seconds in results.seconds.items():
        print(f"{stage}: {1000 * seconds / queries:.0f} ms a query")
    if results.recalls:
        first = next(iter(results.recalls.values()))
        print("recall [%]    " + "".join(f"{'@' + str(k):>7}" for k in first.values))
        for stage, found in results.recalls.items():
            print(f"{stage:14}" + "".join(f"{100 * value:7.1f}" for value in found.values.values()))
        print(first.describe())


@contextlib.contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error that appears only if the work takes longer than two seconds."""
    from tqdm import tqdm

    with tqdm(desc=label, unit="", delay=2, leave=False, disable=None, dynamic_ncols=True) as shown:

        def update(done: int, total: int) -> None:
            if shown.total is None:
                shown.total, shown.initial, shown.n = total, done, done  # no reset(): it draws at once
            shown.update(done - shown.n)

        yield update


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars one after another: each lasts until its work, or that of another name, is done."""
    with contextlib.ExitStack() as shown:
        current: list = ["", None]

        def update(label: str, done: int, total: int) -> None:
            if label != current[0]:
                shown.close()
                current[:] = [label, shown.enter_context(bar(label))]
            current[1](done, total)
            if done == total:
                shown.close()
                current[0] = ""

        yield update


def _settings(arguments: argparse.Namespace, *stores: "FeatureStore") -> config.Config:
    """The preset or config asked for; else the preset that given stores were made with; else `lite`."""
    from dataclasses import replace

    presets = (store.manifest.preset for store in stores)
    made_with = next((name for name in presets if name.removesuffix(config.FAST) in config.PRESETS), "lite")
    found = (
        config.read_config(arguments.config) if arguments.config else config.read_preset(arguments.preset or made_with)
    )
    if arguments.fast:
        found = found.fast()
    if arguments.model:
        found = replace(found, model=arguments.model, components=None, clusters=None)
    overriding = ("matcher", "precision", "store_dtype", "patch_components", "batch")
    given = {name: getattr(arguments, name) for name in overriding if getattr(arguments, name, None)}
    return replace(found, **given)
