"""patchvlad match: two sets of photos or stores to rankings and recall."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import ConfigError, GroundTruthError, MismatchError
from .counting import counting, warn_of_departures
from .excluding import add_exclusion_options, exclusion_of
from .extract import Extracting, extract_photos
from .image_names import read_descriptors, row_order_of
from .match_sides import source_of
from .options import (
    add_counting_options,
    add_extraction_options,
    add_matcher_option,
    add_model_options,
    add_root_option,
    add_row_order_option,
    at_least,
    preset_of,
)
from .outputs import FOLDER, add_output
from .preset import Preset, by_preset
from .process import lone_workers
from .progress import bar

if TYPE_CHECKING:
    from ..features.global_descriptors import GlobalDescriptors
    from ..features.store import FeatureStore
    from ..images.lists import ImageList
    from ..images.row_order import RowOrder
    from ..images.sides import Names, Sides
    from ..places.exclusion import Exclusion
    from ..places.ground_truth import GroundTruth
    from ..results.folder import Making, Results
    from ..search.plan import Plan
    from ..search.ranking import Ranking

log = logging.getLogger(__name__)

EXAMPLE = "patchvlad match --queries photos/q --database photos/db --out results --ground-truth photos/gt.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    count, whole = at_least(1), at_least(0)
    for name in ("queries", "database"):
        parser.add_argument(
            f"--{name}",
            type=Path,
            required=True,
            metavar="X",
            help="photos (folder or list file), a store, or features of the reference",
        )
    add_output(parser, "--out", FOLDER, required=True, metavar="RESULTS", help="folder for rankings and recalls")
    add_root_option(parser)
    add_row_order_option(parser)
    for name in ("query", "database"):
        parser.add_argument(
            f"--{name}-list",
            type=Path,
            metavar="LIST",
            help="of a store only these images; the image list of features that the reference extracted",
        )
    parser.add_argument(
        "--ground-truth", type=Path, metavar="G", help=".npz (utmQ, utmDb, posDistThr) or .csv (query, positives)"
    )
    parser.add_argument("--radius", type=float, metavar="M", help="metres within which images are positives (for .npz)")
    decided = by_preset(lambda preset: preset.plan.candidates)
    parser.add_argument(
        "--candidates", type=count, metavar="N", help=f"images retrieved per query (default: {decided})"
    )
    parser.add_argument("--rerank", type=whole, metavar="N", help="how many of them to re-rank, 0: none (default: all)")
    parser.add_argument(
        "--time-budget", type=count, metavar="MS", help="re-rank as many as fit into so many milliseconds per query"
    )
    parser.add_argument(
        "--descriptors",
        type=Path,
        nargs=2,
        metavar=("Q", "D"),
        help="retrieve by these global descriptors of another method (.npy or hloc's .h5), and re-rank by patches",
    )
    add_counting_options(parser)
    add_exclusion_options(parser)
    parser.add_argument(
        "--figures", type=whole, default=0, metavar="N", help="draw the first N queries' best matches (default: 0)"
    )
    add_matcher_option(parser)
    add_model_options(parser)
    add_extraction_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Finds what can be wrong without a look at a photo, then extracts what is no store yet, searches and measures."""
    from ..features.store import FeatureStore, is_store
    from ..images.sides import Sides
    from ..model.devices import usable_device
    from ..results.folder import check_free, stores_of
    from ..search.searching import check_whole_groups

    paths = Sides(arguments.queries, arguments.database)
    preset = preset_of(arguments, *(FeatureStore(path) for path in paths if is_store(path)))
    lists = Sides(arguments.query_list, arguments.database_list)
    sources: Sides[FeatureStore | ImageList] = Sides(
        *(source_of(path, listed, preset, arguments) for path, listed in zip(paths, lists, strict=True))
    )
    stores = [side for side in sources if isinstance(side, FeatureStore)]
    if arguments.figures and (stores or preset.description.pooling != "patchnetvlad"):
        raise ConfigError("--figures needs photos for --queries and --database, not stores, and a preset with patches")
    if arguments.pixel_range and len(stores) == 2:
        log.warning("--pixel-range changes nothing: both sides are described already")
    for store in stores:
        preset.description.check_store(store, preset.name)
    names: Names = sources.map(lambda side: side.names)
    check_free(arguments.out, names, arguments.overwrite)
    order = row_order_of(arguments)
    truth = read_truth(arguments.ground_truth, arguments.radius, names, order)
    exclusion = exclusion_of(arguments, sources)
    truth = None if truth is None else truth.without(exclusion)
    group, denominator = counting(arguments)
    warn_of_departures(arguments, truth, denominator)
    plan = preset.to_search(
        candidates=arguments.candidates or preset.plan.candidates,
        depth=arguments.rerank,
        time_budget=None if arguments.time_budget is None else arguments.time_budget / 1000,
        group=group,
    )
    check_whole_groups(len(names.database), group)
    other = arguments.descriptors
    descriptors = None if other is None else read_descriptors(other, names, order)
    described = _described(sources, preset, stores_of(arguments.out), arguments)
    device = usable_device(arguments.device)
    asked = Asking(
        preset, plan, truth, denominator, arguments.out, descriptors, device, order=order, exclusion=exclusion
    )
    results, drawn = match_stores(described, asked, _drawing(arguments, preset, plan, sources, described))
    print_results(results)
    figures = f", {len(drawn)} pictures in {drawn[0].parent}" if drawn else ""
    print(f"written to {arguments.out}{figures}")


def read_truth(
    path: Path | None, radius: float | None, names: "Names", order: "RowOrder | None" = None
) -> "GroundTruth | None":
    """Reads the ground truth of images of these names, if there is one; `radius` in metres overrides the file's."""
    from ..places.ground_truth import GroundTruth

    if path is None and radius is not None:
        raise GroundTruthError("a radius means nothing without a ground truth: give both")
    return None if path is None else GroundTruth.read(path, names.queries, names.database, radius, order)


def _described(
    sources: "Sides[FeatureStore | ImageList]",
    preset: Preset,
    folders: "Sides[Path]",
    arguments: argparse.Namespace,
) -> "Sides[FeatureStore]":
    """Stores of both sides; photos that have none are extracted."""
    from ..features.extraction import recipe_of
    from ..features.store import FeatureStore
    from ..images.lists import ImageList
    from ..images.sides import Sides

    if not any(isinstance(side, ImageList) for side in sources):
        return Sides(*(side for side in sources if isinstance(side, FeatureStore)))
    model = preset.description.load(arguments.device)
    pixel_range = next(side.pixel_range for side in sources if isinstance(side, ImageList))
    for side in sources:
        if isinstance(side, FeatureStore):
            wanted = recipe_of(model, preset.description.size or side.recipe.size, pixel_range)
            differences = side.recipe.differences(wanted)
            if differences:
                raise MismatchError(
                    f"{side.folder} and preset {preset.name} do not belong together: {'; '.join(differences)}. "
                    "Give the preset or config, the model and the --pixel-range that the store was extracted with"
                )
    how = Extracting.of(arguments)
    return Sides(
        *(
            side if isinstance(side, FeatureStore) else extract_photos(folder, side, preset, model, how)
            for side, folder in zip(sources, folders, strict=True)
        )
    )


def _drawing(
    arguments: argparse.Namespace,
    preset: Preset,
    plan: "Plan",
    sources: "Sides[FeatureStore | ImageList]",
    stores: "Sides[FeatureStore]",
) -> "Callable[[Ranking, Path], list[Path]] | None":
    """What draws the best matches of the first queries into a folder, if that is asked."""
    from ..images.lists import ImageList
    from ..images.sides import Sides
    from .drawing import draw_best

    if not arguments.figures:
        return None
    photos = Sides(*(side for side in sources if isinstance(side, ImageList)))
    return lambda ranking, folder: draw_best(ranking, stores, photos, plan, folder, arguments.figures)


# --- shared with the reference's command ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Asking:
    """What is asked of two stores.

    Attributes:
        preset: that the stores were made by.
        plan: how to search.
        truth: what recall is measured by, if it is.
        denominator: see `recall`.
        out: the results folder.
        descriptors: of another method, which retrieve in place of the stores' own.
        device: where patch descriptors are compared.
        reference_root: writes pairs as the reference does, see `write_results`.
        order: of the images that rows of the plan's candidates stand for.
        exclusion: what is left out of candidates.
    """

    preset: Preset
    plan: "Plan"
    truth: "GroundTruth | None"
    denominator: str
    out: Path
    descriptors: "Sides[GlobalDescriptors] | None" = None
    device: str = "cpu"
    reference_root: str | None = None
    order: "RowOrder | None" = None
    exclusion: "Exclusion | None" = None


def match_stores(
    stores: "Sides[FeatureStore]", asked: Asking, draw: "Callable[[Ranking, Path], list[Path]] | None" = None
) -> "tuple[Shown, list[Path]]":
    """Searches, measures and writes the results folder; returns what to print, and the pictures drawn."""
    from ..evaluate.metrics import recall
    from ..results.folder import RERANKED, RETRIEVED, Results, write_results
    from ..search.searching import search

    for store in stores:
        asked.preset.description.check_store(store, asked.preset.name)
        if asked.plan.depth != 0 and asked.preset.description.pooling == "patchnetvlad" and not store.grids:
            raise MismatchError(
                f"{store.folder} holds global descriptors alone, so {asked.preset.name} cannot re-rank with it: "
                "extract with a preset that makes patches, or match by the preset netvlad_extract"
            )
    with bar("re-rank") as progress, lone_workers() as workers:
        found = search(
            stores,
            asked.plan,
            descriptors=asked.descriptors,
            device=asked.device,
            workers=workers,
            progress=progress,
            order=asked.order,
            excluded=asked.exclusion.rows if asked.exclusion else None,
        )
    stages = {RETRIEVED: found.retrieved} | ({} if found.reranked is None else {RERANKED: found.reranked})
    recalls = {}
    counted = ""
    if asked.truth is not None:
        measured = {stage: recall(r, asked.truth, asked.preset.ks, asked.denominator) for stage, r in stages.items()}
        recalls = {stage: one.values for stage, one in measured.items()}
        counted = measured[RETRIEVED].describe()
    over = f"{counted}; recall over {asked.denominator} queries" if counted else ""
    making = _making(asked, stores, found.retrieved)
    results = Results(stores.map(lambda store: store.names), stages, making, recalls, over, asked.exclusion)
    drawing = None if draw is None else lambda folder: draw(found.ranking, folder)
    drawn = write_results(asked.out, results, drawing, asked.reference_root)
    return Shown(results, asked.truth, dict(zip(stages, found.seconds, strict=False)), counted), drawn


def _making(asked: Asking, stores: "Sides[FeatureStore]", retrieved: "Ranking") -> "Making":
    """How numbers can be made again."""
    from ..results.folder import Making

    recipe, manifest, plan = stores.database.recipe, stores.database.manifest, asked.plan
    queries, database = ({"images": len(store), "sha256": store.manifest.images_sha256} for store in stores)
    return Making(
        patchvlad=__version__,
        preset=asked.preset.name,
        model=recipe.model,
        fingerprint=recipe.fingerprint,
        image_size=recipe.size,
        precision=manifest.precision,
        store_dtype=manifest.dtype,
        patch_sizes=tuple(recipe.patch_grids()),
        matcher=plan.matcher,
        weights=plan.weights,
        candidates=min(plan.candidates, retrieved.indices.shape[1]),
        reranked=plan.depth,
        time_budget=plan.time_budget,
        group=plan.group,
        retrieved_by="other descriptors" if asked.descriptors else plan.candidates_file or "own descriptors",
        index=plan.index,
        excluded=asked.exclusion.describe() if asked.exclusion else "",
        queries=queries,
        database=database,
    )


@dataclass(frozen=True)
class Shown:
    """Results, and what is said of them besides."""

    results: "Results"
    truth: "GroundTruth | None"
    seconds: dict[str, float]
    counted: str


def print_results(shown: Shown, most: int = 20) -> None:
    """Recall before and after re-ranking, times, and the best matches of a few queries."""
    ranking, truth = shown.results.ranking, shown.truth
    queries = max(len(ranking.query_names), 1)
    if truth is None or len(ranking.query_names) <= most:
        print("query -> best matches (a score compares candidates of one query)")
        for row, query in enumerate(ranking.query_names[:most]):
            best = []
            for index, score in list(zip(ranking.indices[row], ranking.scores[row], strict=True))[:3]:
                if index >= 0:
                    right = "*" if truth is not None and index in truth.positives[row] else ""
                    best.append(f"{ranking.database_names[index]}{right} {score:.2f}")
            print(f"  {query} -> {', '.join(best) or 'nothing'}")
        if len(ranking.query_names) > most:
            print(f"  ... and {len(ranking.query_names) - most} more queries")
        if truth is not None:
            print("  * is a right place")
    for stage, seconds in shown.seconds.items():
        print(f"{stage}: {1000 * seconds / queries:.0f} ms per query")
    if shown.results.recalls:
        ks = list(next(iter(shown.results.recalls.values())))
        print("recall [%]    " + "".join(f"{'@' + str(k):>7}" for k in ks))
        for stage, values in shown.results.recalls.items():
            print(f"{stage:14}" + "".join(f"{100 * value:7.1f}" for value in values.values()))
        print(shown.counted)
