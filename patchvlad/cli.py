"""The command line: the only module that prints, reads argv and turns errors into exit codes.

Exit codes: 0 done, 1 something named in the message went wrong, 2 the command or the config was wrong, 130 interrupted.
Results go to standard output; progress and notices to standard error.
"""

import argparse
import contextlib
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__, config
from .errors import ConfigError, PatchvladError

if TYPE_CHECKING:
    from .features.images import ImageList
    from .features.store import FeatureStore
    from .model.network import PatchNetVLAD
    from .pipeline import Results

BACKBONES = {"lite": "efficientnet-lite0", "vgg16": "vgg16"}
CLUSTER_WEIGHTS = ("exact", "floor", "root")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    return run(build_parser(), argv)


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parses and calls the chosen function; every error that patchvlad names becomes one line and an exit code."""
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("patchvlad").setLevel(logging.INFO)
    try:
        arguments.function(arguments)
        return 0
    except PatchvladError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except OSError as error:
        where = error.filename or "input or output"
        print(f"{parser.prog}: error: {where}: {error.strerror or error}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="patchvlad",
        description="Visual place recognition: find photos of the same place, verify them geometrically, measure it.",
        epilog="Start with 'patchvlad demo'. 'patchvlad COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"patchvlad {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    count, whole = _at_least(1), _at_least(0)

    def command(name: str, function: Callable[[argparse.Namespace], None], summary: str, example: str):
        made = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(function=function)
        return made

    demo = command(
        "demo", do_demo, "recognise places in sample photos and draw the matches", "patchvlad demo --out demo"
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for photos and results (default: demo)")

    extract = command(
        "extract",
        do_extract,
        "describe photos and keep the features in a store; an interrupted run goes on",
        "patchvlad extract photos/database --out stores/database",
    )
    extract.add_argument("photos", type=Path, help="folder of photos, or text file with one image path a line")
    extract.add_argument("--root", type=Path, help="what paths in a list file are relative to (default: its folder)")
    extract.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder of the store")
    _add_model_options(extract)
    _add_extraction_options(extract)

    match = command(
        "match",
        do_match,
        "find every query in the database: retrieve, re-rank, measure",
        "patchvlad match --queries photos/q --database photos/db --out results --ground-truth photos/gt.csv",
    )
    for name in ("queries", "database"):
        match.add_argument(
            f"--{name}", type=Path, required=True, metavar="X", help="photos (folder or list file) or a store"
        )
    match.add_argument("--out", type=Path, required=True, metavar="RESULTS", help="folder for rankings and recalls")
    match.add_argument("--root", type=Path, help="what the paths in list files are relative to (default: their folder)")
    match.add_argument(
        "--ground-truth", type=Path, metavar="G", help=".npz (utmQ, utmDb, posDistThr) or .csv (query, positives)"
    )
    match.add_argument("--radius", type=float, metavar="M", help="metres within which images are positives (for .npz)")
    match.add_argument("--candidates", type=count, metavar="N", help="images retrieved a query (default: the preset's)")
    match.add_argument("--rerank", type=whole, metavar="N", help="how many of them to re-rank, 0: none (default: all)")
    match.add_argument("--figures", type=whole, default=0, metavar="N", help="draw the first N queries' best matches")
    _add_model_options(match)
    _add_extraction_options(match)

    compare = command(
        "compare",
        do_compare,
        "score two photos and draw their matches",
        "patchvlad compare a.jpg b.jpg --plot matches.png",
    )
    compare.add_argument("first", type=Path, metavar="A", help="a photo")
    compare.add_argument("second", type=Path, metavar="B", help="another photo")
    compare.add_argument("--plot", type=Path, metavar="F.png", help="draw the matches into this file")
    for matching in (match, compare):
        matchers = tuple(config.MATCHER_NAMES.values())
        matching.add_argument("--matcher", choices=matchers, help="geometric verification (default: the preset's)")
    _add_model_options(compare)

    fit = command(
        "fit",
        do_fit,
        "make a model of one's own from a few hundred photos, without training",
        "patchvlad fit photos --backbone lite --clusters 16 --components 512 --out mine.safetensors",
    )
    fit.add_argument("photos", type=Path, nargs="+", help="folders of photos or list files; never the test set")
    fit.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors", help="where the model goes")
    fit.add_argument("--backbone", choices=tuple(BACKBONES), default="lite", help="dense network (default: lite)")
    fit.add_argument(
        "--backbone-weights", type=Path, metavar="FILE", help="ImageNet weights (default: found or downloaded)"
    )
    fit.add_argument("--clusters", type=count, default=16, metavar="K", help="clusters of NetVLAD (default: 16)")
    fit.add_argument("--components", type=whole, default=512, metavar="D", help="length of descriptors (default: 512)")
    fit.add_argument(
        "--cluster-weight", choices=CLUSTER_WEIGHTS, default="exact", help="of next to empty clusters (default: exact)"
    )
    fit.add_argument("--images", type=count, default=1000, metavar="N", help="photos drawn at most (default: 1000)")
    fit.add_argument("--samples", type=count, default=10_000, metavar="S", help="whitening patches (default: 10000)")
    fit.add_argument("--seed", type=whole, default=0, help="of every random draw (default: 0)")
    fit.add_argument("--half", action="store_true", help="keep the whitening in half precision: half the file")
    fit.add_argument("--without-backbone", action="store_true", help="leave the ImageNet weights out of the file")

    models = command(
        "models", do_models, "list the known models, or download them", "patchvlad models download mapillary-512"
    )
    actions = models.add_subparsers(metavar="download")
    download = actions.add_parser("download", help="fetch models for offline use", description="Fetch models.")
    download.add_argument("names", nargs="*", metavar="NAME", help="known models; see 'patchvlad models'")
    download.add_argument("--all", action="store_true", help="all of them")
    download.set_defaults(function=do_download)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=config.PRESETS, help="model, patches and matcher (default: lite)")
    which.add_argument("--config", type=Path, metavar="FILE.ini", help="the same from a file in the reference's format")
    parser.add_argument("--model", help="known name or checkpoint, instead of the preset's; see 'patchvlad models'")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def _add_extraction_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch", type=_at_least(1), metavar="N", help="photos the network takes at a time (default: the preset's)"
    )
    parser.add_argument(
        "--workers", type=_at_least(1), default=os.cpu_count() or 1, metavar="N", help="threads that read photos"
    )
    parser.add_argument(
        "--store-dtype", choices=("float32", "float16"), help="of patch descriptors (default: the preset's)"
    )
    parser.add_argument("--overwrite", action="store_true", help="start anew, whatever the store holds")
    parser.add_argument("--skip-unreadable", action="store_true", help="go on past photos that cannot be read")


def _at_least(least: int) -> Callable[[str], int]:
    """An argument type: whole numbers from `least`."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {number}")
        return number

    return whole_number


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
    from .features.images import ImageList
    from .features.store import FeatureStore, is_store
    from .pipeline import check_patches, draw_best, load, match_stores, read_truth

    sources = {"queries": arguments.queries, "database": arguments.database}
    stores = {name: FeatureStore(path) for name, path in sources.items() if is_store(path)}
    settings = _settings(arguments, *stores.values())
    photos = {
        name: ImageList.read(path, None if path.is_dir() else arguments.root)
        for name, path in sources.items()
        if name not in stores
    }
    if arguments.figures and (stores or settings.pooling != "patchnetvlad"):
        raise ConfigError("--figures needs photos for --queries and --database, not stores, and a preset with patches")
    # What can be wrong without a look at a photo is found before the long part.
    for store in stores.values():
        check_patches(settings, store)
    names = (stores[name].names if name in stores else photos[name].names for name in sources)
    truth = read_truth(arguments.ground_truth, arguments.radius, *names)
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
    )
    print_results(results)
    drawn = draw_best(settings, results.ranking, stores, photos, arguments.out / "figures", arguments.figures)
    print(f"written to {arguments.out}" + (f", {len(drawn)} pictures in {arguments.out / 'figures'}" if drawn else ""))


def do_compare(arguments: argparse.Namespace) -> None:
    """patchvlad compare"""
    from .pipeline import compare, load

    settings = _settings(arguments)
    match = compare(settings, load(settings, arguments.device), arguments.first, arguments.second, arguments.plot)
    score = match.weighted(settings.weights)
    print(f"score {score:.5f} ({settings.matcher}, preset {settings.name}; higher is better)")
    for size, score in match.scores.items():
        print(f"  patches of {size} x {size} cells: score {score:.5f}, {len(match.points0[size])} matches")
    if arguments.plot:
        print(f"drawn into {arguments.plot}")


def do_fit(arguments: argparse.Namespace) -> None:
    """patchvlad fit"""
    from .features.images import ImageList
    from .model.backbones import make_backbone
    from .model.checkpoints import imagenet_weights, save_model
    from .train.fitting import fit

    if arguments.out.suffix != ".safetensors":
        raise ConfigError(f"--out {arguments.out}: models end in .safetensors")
    images = ImageList.join([ImageList.read(photos) for photos in arguments.photos])
    backbone = make_backbone(BACKBONES[arguments.backbone])
    backbone.load_state_dict(imagenet_weights(backbone.name, arguments.backbone_weights))
    with contextlib.ExitStack() as stack:
        bars = {step: stack.enter_context(bar(step)) for step in ("cells", "patches")}
        model = fit(
            backbone.eval().requires_grad_(False),
            images,
            arguments.clusters,
            arguments.components,
            cluster_weight=arguments.cluster_weight,
            most_images=arguments.images,
            samples=arguments.samples,
            seed=arguments.seed,
            progress=lambda step, done, total: bars[step](done, total),
        )
    used = min(len(images), arguments.images)
    notes = f"fitted on {used} of {len(images)} photos, seed {arguments.seed}, patchvlad {__version__}"
    path = save_model(
        model, arguments.out, notes=notes, half=arguments.half, with_backbone=not arguments.without_backbone
    )
    print(f"{path}: {notes}, K = {arguments.clusters}, D = {model.dim}, {path.stat().st_size / 1e6:.1f} MB")


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
    with bar(f"extract {folder.name}") as progress:
        store = extract(
            model,
            images,
            folder,
            size=settings.size,
            batch=arguments.batch or settings.batch,
            workers=arguments.workers,
            dtype=arguments.store_dtype or settings.store_dtype,
            overwrite=arguments.overwrite,
            skip_unreadable=arguments.skip_unreadable,
            preset=settings.name,
            progress=progress,
        )
    print(f"extracted {len(store)} images into {folder} in {time.perf_counter() - started:.1f} s", file=sys.stderr)
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

    with tqdm(desc=label, unit="", delay=2, leave=False, dynamic_ncols=True) as shown:

        def update(done: int, total: int) -> None:
            if shown.total is None:
                shown.total, shown.initial, shown.n = total, done, done  # no reset(): it draws at once
            shown.update(done - shown.n)

        yield update


def _settings(arguments: argparse.Namespace, *stores: "FeatureStore") -> config.Config:
    """The preset or config asked for; else the preset that given stores were made with; else `lite`."""
    from dataclasses import replace

    made_with = next((store.manifest.preset for store in stores if store.manifest.preset in config.PRESETS), "lite")
    found = (
        config.read_config(arguments.config) if arguments.config else config.read_preset(arguments.preset or made_with)
    )
    if arguments.model:
        found = replace(found, model=arguments.model, components=None, clusters=None)
    if getattr(arguments, "matcher", None):
        found = replace(found, matcher=arguments.matcher)
    return found
