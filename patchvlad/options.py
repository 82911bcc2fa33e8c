"""What can be said on the command line: commands, options and their help."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from . import __version__, config
from .argument_types import at_least
from .evaluate_options import add_counting_options, add_evaluation_commands

BACKBONES = {"lite": "efficientnet-lite0", "vgg16": "vgg16"}
CLUSTER_WEIGHTS = ("exact", "floor", "root")
RECIPES = ("paper", "modern")


def build_parser(functions: Mapping[str, Callable[[argparse.Namespace], None]]) -> argparse.ArgumentParser:
    """The whole command line; `functions` by name of the command are what it calls."""
    parser = argparse.ArgumentParser(
        prog="patchvlad",
        description="Visual place recognition: find photos of the same place, verify them geometrically, measure it.",
        epilog="Start with 'patchvlad demo'. 'patchvlad COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"patchvlad {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    count, whole = at_least(1), at_least(0)

    def command(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(function=functions[name])
        return made

    demo = command("demo", "recognise places in sample photos and draw the matches", "patchvlad demo --out demo")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for photos and results (default: demo)")

    extract = command(
        "extract",
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
    match.add_argument(
        "--time-budget", type=count, metavar="MS", help="re-rank as many as fit into so many milliseconds a query"
    )
    match.add_argument(
        "--descriptors",
        type=Path,
        nargs=2,
        metavar=("Q", "D"),
        help="retrieve by these global descriptors of another method (.npy or hloc's .h5), and re-rank by patches",
    )
    add_counting_options(match)
    match.add_argument("--figures", type=whole, default=0, metavar="N", help="draw the first N queries' best matches")
    _add_model_options(match)
    _add_extraction_options(match)

    compare = command(
        "compare",
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
        "--cluster-weight",
        choices=CLUSTER_WEIGHTS,
        help="of next to empty clusters (default: root for lite, else exact)",
    )
    fit.add_argument("--images", type=count, default=1000, metavar="N", help="photos drawn at most (default: 1000)")
    fit.add_argument("--samples", type=count, default=10_000, metavar="S", help="whitening patches (default: 10000)")
    fit.add_argument("--seed", type=whole, default=0, help="of every random draw (default: 0)")
    fit.add_argument("--half", action="store_true", help="keep the whitening in half precision: half the file")
    fit.add_argument("--without-backbone", action="store_true", help="leave the ImageNet weights out of the file")

    places = command(
        "places",
        "say what places a dataset holds, before anyone waits for training",
        "patchvlad places photos/places.csv",
    )
    _add_places_options(places)

    train = command(
        "train",
        "train a model on places of one's own; a killed run goes on with --resume",
        "patchvlad train photos/places.csv --model lite --out runs/mine",
    )
    _add_places_options(train)
    run = train.add_mutually_exclusive_group(required=True)
    run.add_argument("--out", type=Path, metavar="RUN", help="folder of the new run")
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on with this run, as it was begun")
    train.add_argument("--recipe", choices=RECIPES, default="modern", help="how to train (default: modern)")
    train.add_argument("--model", help="known name or checkpoint to start from (default: ImageNet's backbone)")
    train.add_argument("--backbone", choices=tuple(BACKBONES), default="lite", help="without --model (default: lite)")
    train.add_argument(
        "--backbone-weights", type=Path, metavar="FILE", help="ImageNet weights (default: found or downloaded)"
    )
    train.add_argument("--clusters", type=count, default=16, metavar="K", help="without --model (default: 16)")
    for name, kind, said in (
        ("epochs", count, "at most"),
        ("batch", count, "queries or places a step"),
        ("learning-rate", float, "at its highest"),
        ("trained-layers", count, "of the backbone, from its end"),
    ):
        train.add_argument(f"--{name}", type=kind, metavar="N", help=f"{said} (default: the recipe's)")
    train.add_argument(
        "--size", type=count, nargs=2, default=(480, 640), metavar=("H", "W"), help="of resized photos (480 640)"
    )
    train.add_argument(
        "--memory", type=count, default=2048, metavar="MB", help="for maps of layers that are not trained (2048)"
    )
    train.add_argument(
        "--workers", type=count, default=os.cpu_count() or 1, metavar="N", help="threads that read photos"
    )
    train.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="to multiply in (default: bfloat16 on GPUs, else float32)"
    )
    train.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")

    add_pca = command(
        "add-pca",
        "add whitening to a trained model",
        "patchvlad add-pca runs/mine/best.safetensors photos --components 512",
    )
    add_pca.add_argument("checkpoint", metavar="CHECKPOINT", help="known name or checkpoint")
    add_pca.add_argument("photos", type=Path, help="folder of photos or list file; never the test set")
    add_pca.add_argument("--components", type=count, default=4096, metavar="D", help="length of descriptors (4096)")
    add_pca.add_argument("--out", type=Path, metavar="FILE", help="default: NAME_WPCA<D> beside the checkpoint")
    add_pca.add_argument("--images", type=count, default=10_000, metavar="N", help="photos drawn at most (10000)")
    add_pca.add_argument("--samples", type=count, default=30_000, metavar="S", help="patches drawn at most (30000)")
    add_pca.add_argument("--memory", type=count, default=2048, metavar="MB", help="for these patches (2048)")
    add_pca.add_argument("--seed", type=whole, default=0, help="of every random draw (default: 0)")
    add_pca.add_argument("--i-know", action="store_true", help="take photos although they look like a test set")
    add_pca.add_argument(
        "--reference-format", action="store_true", help="write the .pth.tar that the reference reads (VGG16 only)"
    )
    add_pca.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")

    add_evaluation_commands(command)

    models = command("models", "list the known models, or download them", "patchvlad models download mapillary-512")
    actions = models.add_subparsers(metavar="download")
    download = actions.add_parser("download", help="fetch models for offline use", description="Fetch models.")
    download.add_argument("names", nargs="*", metavar="NAME", help="known models; see 'patchvlad models'")
    download.add_argument("--all", action="store_true", help="all of them")
    download.set_defaults(function=functions["download"])
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=config.PRESETS, help="model, patches and matcher (default: lite)")
    which.add_argument("--config", type=Path, metavar="FILE.ini", help="the same from a file in the reference's format")
    parser.add_argument(
        "--fast", action="store_true", help="the preset's fast variant: bfloat16, int8, fewer components, no RANSAC"
    )
    parser.add_argument("--model", help="known name or checkpoint, instead of the preset's; see 'patchvlad models'")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def _add_places_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a csv, or a folder of MSLS or GSV-Cities")
    for name, default, said in (
        ("radius", 10.0, "metres within which photos are positives"),
        ("negative-radius", 25.0, "metres beyond which photos are negatives"),
        ("validation-radius", 25.0, "metres within which a validation query is answered"),
    ):
        parser.add_argument(f"--{name}", type=float, default=default, metavar="M", help=f"{said} ({default:g})")
    parser.add_argument("--heading-limit", type=float, metavar="DEG", help="degrees between positives (default: any)")
    parser.add_argument(
        "--validation", type=float, default=0.1, metavar="SHARE", help="held out where the dataset splits nothing (0.1)"
    )
    for side in ("cities", "validation-cities"):
        parser.add_argument(f"--{side}", metavar="A,B", help="of MSLS or GSV-Cities (default: the published lists)")
    parser.add_argument("--panoramas", action="store_true", help="use MSLS's panoramas too")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of every random draw (default: 0)")


def _add_extraction_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch", type=at_least(1), metavar="N", help="photos the network takes at a time (default: the preset's)"
    )
    parser.add_argument(
        "--workers", type=at_least(1), default=os.cpu_count() or 1, metavar="N", help="threads that read photos"
    )
    parser.add_argument(
        "--store-dtype", choices=("float32", "float16", "int8"), help="of patch descriptors (default: the preset's)"
    )
    parser.add_argument(
        "--patch-components",
        type=at_least(1),
        metavar="N",
        help="leading components that patch descriptors keep (default: the preset's, else all)",
    )
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="the network multiplies in (default: the preset's)"
    )
    parser.add_argument("--overwrite", action="store_true", help="start anew, whatever the store holds")
    parser.add_argument("--skip-unreadable", action="store_true", help="go on past photos that cannot be read")
