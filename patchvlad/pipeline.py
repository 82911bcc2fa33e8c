"""The steps that commands are made of: what a config says, done with models, stores and files."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from . import __version__
from .atomic import write_text
from .config import Config
from .errors import ConfigError, GroundTruthError, MismatchError
from .evaluate.exports import write_kapture_pairs, write_recalls
from .evaluate.figures import write_match_figure
from .evaluate.ground_truth import GroundTruth
from .evaluate.metrics import Recall, recall
from .evaluate.predictions import CONFIDENCES, LISTS, RESULTS, SUFFIX, describe_making
from .features.extraction import recipe_of
from .features.global_descriptors import GlobalDescriptors
from .features.images import ImageList, read_image
from .features.store import FeatureStore
from .model.checkpoints import load_model
from .model.network import Descriptors, PatchNetVLAD
from .search.matching import MATCHERS, Match, PatchMatcher
from .search.reranking import rerank
from .search.retrieval import Ranking, read_candidates, retrieve

log = logging.getLogger(__name__)

Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]  # label -> progress(done, in all)


@dataclass
class Results:
    """What matching found.

    Attributes:
        stages: rankings by the name of the stage that made them, in order: `NetVLAD`, `PatchNetVLAD`.
        recalls: of the same stages; empty without a ground truth.
        seconds: that each stage took.
    """

    truth: GroundTruth | None
    stages: dict[str, Ranking] = field(default_factory=dict)
    recalls: dict[str, Recall] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ranking(self) -> Ranking:
        """The last stage's."""
        return list(self.stages.values())[-1]


def load(settings: Config, device: str = "auto", *stores: FeatureStore) -> PatchNetVLAD:
    """Loads the model that a config names, checked against what else the config says.

    Raises:
        ConfigError: there is no such device.
        ModelError: there is no such model, or the config asks for another.
        MismatchError: one of the stores was made by another model, so its features cannot meet this one's.
    """
    device = usable_device(device)
    model = load_model(
        settings.model,
        pooling=settings.pooling,
        patch_sizes=settings.patch_sizes,
        patch_strides=settings.patch_strides,
        clusters=settings.clusters,
        components=settings.components,
        device=device,
    )
    if settings.patch_components is not None and model.whitening is not None:
        model.set_patches(model.patch_sizes, model.patch_strides, min(settings.patch_components, model.dim))
    model.precision = usable_precision(settings.precision, device)
    for store in stores:
        differences = store.recipe.differences(recipe_of(model, settings.size or store.recipe.size))
        if differences:
            raise MismatchError(
                f"{store.folder} and preset {settings.name} do not belong together: {'; '.join(differences)}. "
                "Give the preset or config, and the model, that the store was extracted with"
            )
    return model


def usable_device(name: str) -> str:
    """The device of that name; `auto` is the GPU where there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ConfigError(f"device {name} cannot be used here ({reason}): try --device cpu") from error
    return name


def usable_precision(name: str, device: str) -> torch.dtype:
    """The precision of that name, or float32 on a CPU that is not faster in it."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if name == "bfloat16" and device == "cpu" and not (supported is not None and supported()):
        log.info("this CPU multiplies no faster in bfloat16: using float32")
        return torch.float32
    return getattr(torch, name)


def check_patches(settings: Config, store: FeatureStore) -> None:
    """Raises MismatchError unless a store's patches are those that the config matches."""
    found, wanted = dict(store.recipe.grids), dict(zip(settings.patch_sizes, settings.patch_strides, strict=True))
    if found and found != wanted:
        raise MismatchError(
            f"{store.folder} was extracted by preset {store.manifest.preset or '?'} with patch sizes {tuple(found)} "
            f"and strides {tuple(found.values())}, {settings.name} matches {tuple(wanted)}, {tuple(wanted.values())}: "
            "give the preset or config that it was extracted with"
        )


def read_truth(
    path: Path | None, radius: float | None, queries: Sequence[str], database: Sequence[str]
) -> GroundTruth | None:
    """Reads the ground truth of images of these names, if there is one; `radius` in metres overrides the file's."""
    if path is None and radius is not None:
        raise GroundTruthError("a radius means nothing without a ground truth: give both")
    return None if path is None else GroundTruth.read(path, queries, database, radius)


def match_stores(
    settings: Config,
    queries: FeatureStore,
    database: FeatureStore,
    out: Path,
    bar: Bar,
    *,
    truth: GroundTruth | None = None,
    candidates: int | None = None,
    depth: int | None = None,
    time_budget: float | None = None,
    groups: np.ndarray | None = None,
    descriptors: tuple[GlobalDescriptors, GlobalDescriptors] | None = None,
    denominator: str = "all",
    device: str = "cpu",
) -> Results:
    """Retrieves and re-ranks; writes rankings and recalls into the folder `out`.

    Args:
        settings: which matcher, weights and numbers of candidates.
        queries, database: stores made with these settings.
        out: folder for NetVLAD_predictions.txt, PatchNetVLAD_predictions.txt and recalls.txt.
        bar: opens a progress bar.
        truth: what recall is measured by, if it is.
        candidates: retrieved a query; None takes the settings' largest k.
        depth: re-ranked of these; None for all, 0 for none.
        time_budget: seconds a query for re-ranking, see `rerank`.
        groups: see `retrieve`.
        descriptors: of another method, which retrieves in place of the stores' own.
        denominator: see `recall`.
        device: where patch descriptors are compared.
    """
    for store in (queries, database):
        check_patches(settings, store)
    results = Results(truth)
    started = time.perf_counter()
    wanted = candidates if candidates is not None else max(settings.ks)
    if settings.candidates_file:
        retrieved = read_candidates(settings.candidates_file, queries, database)
    else:
        asked, searched = (queries, database) if descriptors is None else descriptors
        retrieved = retrieve(asked, searched, min(wanted, max(len(database), 1)), groups)
    results.stages["NetVLAD"] = retrieved
    results.seconds["NetVLAD"] = time.perf_counter() - started
    if queries.grids and depth != 0:
        started = time.perf_counter()
        with bar("re-rank") as progress:
            matcher = matcher_of(settings)
            fusion = settings.weights, settings.global_weight, settings.least_spread
            reranked = rerank(
                retrieved,
                queries,
                database,
                matcher,
                *fusion,
                depth=depth,
                time_budget=time_budget,
                read=reader(settings),
                device=device,
                progress=progress,
            )
        results.stages["PatchNetVLAD"] = reranked
        results.seconds["PatchNetVLAD"] = time.perf_counter() - started
    for stale in (f"PatchNetVLAD{SUFFIX}", CONFIDENCES, "recalls.txt"):  # of an earlier run that did more
        (out / stale).unlink(missing_ok=True)
    for stage, ranking in results.stages.items():
        write_kapture_pairs(out / f"{stage}{SUFFIX}", ranking)
        if ranking.confidences is not None:
            plain = replace(ranking, scores=ranking.confidences, confidences=None)
            write_kapture_pairs(out / CONFIDENCES, plain)
    for name, store in zip(LISTS, (queries, database), strict=True):
        write_text(out / name, "".join(f"{image}\n" for image in store.names))
    made_by = _made_by(
        *(settings, queries, database, retrieved, wanted, depth, time_budget, groups, descriptors is not None)
    )
    write_text(out / RESULTS, json.dumps(made_by, indent=1))
    if truth is not None:
        results.recalls = {
            stage: recall(ranking, truth, settings.ks, denominator) for stage, ranking in results.stages.items()
        }
        write_recalls(
            out / "recalls.txt", results.recalls, describe_making(made_by | {"stage": list(results.stages)[-1]})
        )
    return results


def _made_by(
    settings: Config,
    queries: FeatureStore,
    database: FeatureStore,
    retrieved: Ranking,
    candidates: int,
    depth: int | None,
    time_budget: float | None,
    groups: np.ndarray | None,
    other_descriptors: bool,
) -> dict:
    """What results.json says, so that numbers can be made again."""
    recipe = database.recipe
    return {
        "patchvlad": __version__,
        "preset": settings.name,
        "model": recipe.model,
        "fingerprint": recipe.fingerprint,
        "image_size": recipe.size,
        "precision": database.manifest.precision,
        "store_dtype": database.manifest.dtype,
        "patch_sizes": list(recipe.patch_grids()),
        "matcher": settings.matcher,
        "weights": settings.weights,
        "candidates": min(candidates, retrieved.indices.shape[1]),
        "reranked": depth,
        "time_budget": time_budget,
        "group": 1 if groups is None else int(np.bincount(groups).max(initial=1)),
        "retrieved_by": "other descriptors" if other_descriptors else settings.candidates_file or "own descriptors",
        "queries": {"images": len(queries), "sha256": queries.manifest.images_sha256},
        "database": {"images": len(database), "sha256": database.manifest.images_sha256},
    }


def matcher_of(settings: Config) -> PatchMatcher:
    """The matcher that a config names."""
    if settings.query_step < 1:
        raise ConfigError(f"{settings.name}: querystep = {settings.query_step} must be at least 1")
    return replace(MATCHERS[settings.matcher], query_step=settings.query_step)


def reader(settings: Config) -> Callable[[FeatureStore, int], Descriptors]:
    """How a store's descriptors are read: as they are, or reduced to what the fast variant of a preset compares."""
    if settings.store_dtype != "int8" or settings.patch_components is None:
        return FeatureStore.descriptors
    components = settings.patch_components
    return lambda store, row: store.compact_descriptors(row, components)


def compare(settings: Config, model: PatchNetVLAD, first: Path, second: Path, plot: Path | None = None) -> Match:
    """Matches two photos; draws the match into `plot` if given."""
    image0, image1 = read_image(first), read_image(second)
    if model.pooling != "patchnetvlad":
        raise ConfigError(f"{settings.name} makes no patches (pooling {model.pooling}): choose another preset")
    if settings.size is None and image0.shape != image1.shape:
        raise ConfigError(f"{first} and {second} differ in size and {settings.name} does not resize: set imageresizew")
    size = settings.size or image0.shape[:2]
    match = matcher_of(settings)(*model.describe([image0, image1], size))
    if plot is not None:
        title = f"score {match.weighted(settings.weights):.4f}"
        write_match_figure(plot, image0, image1, match, size, (first.name, second.name), title)
    return match


def draw_best(
    settings: Config,
    ranking: Ranking,
    stores: Mapping[str, FeatureStore],
    photos: Mapping[str, ImageList],
    folder: Path,
    count: int,
) -> list[Path]:
    """Draws the best match of the first `count` queries; `stores` and `photos` have keys `queries` and `database`."""
    drawn, read = [], reader(settings)
    for row in range(min(count, len(ranking.query_names))):
        best = ranking.indices[row, 0]
        if best < 0:
            continue
        match = matcher_of(settings)(read(stores["queries"], row), read(stores["database"], best))
        query, found = ranking.query_names[row], ranking.database_names[best]
        drawn.append(folder / f"{row:06d}_{Path(query).stem[:100]}.png")
        write_match_figure(
            drawn[-1],
            read_image(photos["queries"].path(row)),
            read_image(photos["database"].path(best)),
            match,
            stores["queries"].recipe.size,
            (f"query {query}", f"best of {len(ranking.database_names)}: {found}"),
            f"score {match.weighted(settings.weights):.4f}",
        )
    return drawn
