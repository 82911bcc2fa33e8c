"""What can be said on the command line about ground truths, benchmarks and predictions of any method."""

import argparse
from collections.abc import Callable
from pathlib import Path

from .argument_types import at_least, whole_numbers


def add_evaluation_commands(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Commands about ground truths, benchmarks and predictions of any method."""
    count = at_least(1)
    truth = command(
        "ground-truth",
        "make a ground truth from positions, labels, frame numbers, or other tools' files",
        "patchvlad ground-truth --queries photos/queries --database photos/database --from positions.csv --out gt.npz",
    )
    for name in ("queries", "database"):
        truth.add_argument(f"--{name}", type=Path, required=True, metavar="X", help="photos (folder or list file)")
    truth.add_argument("--root", type=Path, help="what paths in list files are relative to (default: their folder)")
    truth.add_argument("--out", type=Path, required=True, metavar="G", help=".npz (positions) or .csv (names)")
    truth.add_argument(
        "--from",
        dest="source",
        nargs="+",
        metavar="S",
        help="names (@easting@northing@...), exif, msls, or files: .csv of lat, lon or easting, northing, or place; "
        ".csv of query and positives; the reference's .npz; VPR-Bench's .npy (default: names if they hold positions, "
        "else exif)",
    )
    truth.add_argument("--radius", type=float, metavar="M", help="metres within which images are positives (25)")
    truth.add_argument("--heading-limit", type=float, metavar="DEG", help="degrees between positives (default: any)")
    truth.add_argument(
        "--frames",
        type=at_least(0),
        metavar="N",
        help="lists of one drive, in the same order: frames between positives",
    )
    truth.add_argument("--frame-step", type=count, default=1, metavar="N", help="database frames a query (default: 1)")

    listed = command(
        "list", "write the image list of a folder", "patchvlad list photos/database --out database.txt --root photos"
    )
    listed.add_argument("photos", type=Path, help="folder of photos; folders below it too, in natural order")
    listed.add_argument("--out", type=Path, metavar="FILE.txt", help="default: print it")
    listed.add_argument("--root", type=Path, help="what names are relative to (default: the folder)")

    command("datasets", "list the published benchmarks and how each is counted", "patchvlad datasets")
    check = command(
        "check-dataset",
        "say what a published benchmark lacks on this disk",
        "patchvlad check-dataset pitts30k data/pitts30k --write prepared",
    )
    check.add_argument("name", metavar="NAME", help="see 'patchvlad datasets'")
    check.add_argument("root", type=Path, metavar="ROOT", help="folder that it lies in")
    for name in ("queries", "database"):
        check.add_argument(
            f"--{name}", type=Path, metavar="LIST", help="image list for other layouts; its names are relative to ROOT"
        )
    check.add_argument("--write", type=Path, metavar="FOLDER", help="write image lists and ground truth there")

    evaluate = command(
        "evaluate",
        "measure predictions of any method, side by side, with intervals",
        "patchvlad evaluate results pairs-netvlad.txt --ground-truth gt.npz --json numbers.json --figure curves.png",
    )
    evaluate.add_argument(
        "predictions",
        type=Path,
        nargs="*",
        metavar="PREDICTIONS",
        help="folder of match's results, kapture or hloc pairs, MSLS predictions, or .npy of database rows",
    )
    evaluate.add_argument("--ground-truth", type=Path, metavar="G", help=".npz, .csv, or VPR-Bench's .npy")
    _add_list_options(evaluate)
    evaluate.add_argument(
        "--radius", type=float, metavar="M", help="metres within which images are positives (for .npz)"
    )
    evaluate.add_argument(
        "--ks", type=whole_numbers, default=(1, 5, 10, 20), metavar="K,K", help="how far to look (1,5,10,20)"
    )
    evaluate.add_argument(
        "--denominator", choices=("all", "answerable"), help="which queries count (default: all, or as --dataset says)"
    )
    add_counting_options(evaluate)
    evaluate.add_argument(
        "--descriptors",
        type=Path,
        nargs=2,
        action="append",
        metavar=("Q", "D"),
        help="search by these global descriptors (.npy or hloc's .h5); may be repeated",
    )
    evaluate.add_argument("--query-poses", type=Path, nargs="+", metavar="F", help="true poses of queries")
    _add_pose_options(evaluate)
    evaluate.add_argument("--json", type=Path, metavar="F.json", help="the same numbers for machines")
    evaluate.add_argument("--figure", type=Path, metavar="F.png", help="draw recall, precision and errors")

    export = command(
        "export",
        "write predictions or descriptors in another tool's format",
        "patchvlad export results --format hloc --out pairs.txt --top 20",
    )
    export.add_argument("source", type=Path, metavar="SOURCE", help="predictions as for evaluate, or a store")
    export.add_argument(
        "--format",
        required=True,
        choices=("kapture", "hloc", "colmap", "msls", "ltvl", "descriptors"),
        help="pairs for kapture, hloc or COLMAP; MSLS predictions; LTVL poses; a store's global descriptors",
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="descriptors: .h5 as hloc's, or .npy")
    export.add_argument("--stage", choices=("NetVLAD", "PatchNetVLAD"), help="of match's results (default: the last)")
    export.add_argument("--top", type=count, metavar="N", help="images a query (default: all)")
    for side in ("query", "map"):
        export.add_argument(f"--{side}-prefix", default="", metavar="P/", help=f"put before the names of {side} images")
    _add_list_options(export)
    _add_pose_options(export)
    export.add_argument(
        "--pose-folders", type=at_least(0), default=0, metavar="N", help="folders kept of LTVL names; RobotCar: 1 (0)"
    )


def _add_list_options(parser: argparse.ArgumentParser) -> None:
    for name in ("queries", "database"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="X", help="their photos, list file or store, for their names"
        )
    parser.add_argument("--root", type=Path, help="what paths in list files are relative to (default: their folder)")


def add_counting_options(parser: argparse.ArgumentParser) -> None:
    """How queries and database images are counted."""
    parser.add_argument("--dataset", metavar="NAME", help="count as this benchmark does; see 'patchvlad datasets'")
    parser.add_argument(
        "--group",
        type=at_least(1),
        metavar="N",
        help="every N database images are one place's cut-outs: keep the best",
    )


def _add_pose_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database-poses", type=Path, nargs="+", metavar="F", help="poses of database images")
    parser.add_argument(
        "--pose-format",
        choices=("ltvl", "cmu", "robotcar", "kapture"),
        help="of pose files (default: told by their contents and names)",
    )
