"""The model that a training starts from, and what it becomes afterwards."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import ConfigError, ModelError
from ..images.lists import ImageList
from ..model.checkpoints import load_model, locate, pretrained
from ..model.network import PatchNetVLAD
from ..model.pickles import read_pickle
from ..places.training import Places
from .clusters import Clusters, find_clusters, sample_cells, vlad_from
from .fitting import check_clusters, draw_images, fit_whitening_to

log = logging.getLogger(__name__)

CELLS = 50_000  # for k-means
MOST_CLUSTERED = 500  # photos that k-means takes its cells from: 100 cells of each, as in the paper
TEST_WORDS = {"test", "tests", "testing", "query", "queries", "tokyo247", "nordland"}


def model_from(source: str | os.PathLike, keep_whitening: bool) -> PatchNetVLAD:
    """A known or given model to go on from.

    Says what is not taken over: a whitening that would not fit the trained descriptors, the state of an optimiser.
    """
    model = load_model(source)
    if model.pooling not in ("patchnetvlad", "netvlad"):
        raise ModelError(f"{source} pools by {model.pooling}: only models with a VLAD layer are trained")
    if model.whitening is not None and not keep_whitening:
        log.info(
            "%s: its whitening is dropped, it would not fit once trained; 'patchvlad add-pca' adds a new one", source
        )
        model.whitening = None
    _, path = locate(source)
    held = read_pickle(path) if path.name.endswith(".pth.tar") else {}
    if "optimizer" in held:
        log.info(
            "%s: its optimiser's state (epoch %s) is of other software and not taken over", source, held.get("epoch")
        )
    else:
        log.info("%s holds no optimiser state: momentum starts from zero", source)
    return model


def model_from_photos(
    backbone: str,
    weights: str | os.PathLike | None,
    clusters: int,
    places: Places,
    *,
    size: tuple[int, int],
    known: Clusters | None = None,
    biased: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[PatchNetVLAD, Clusters]:
    """ImageNet's backbone, and clusters of 50,000 cells of the database photos trained on; returns these clusters too.

    Args:
        backbone: its name.
        weights: file of ImageNet weights; None finds or downloads them.
        clusters: K.
        places: to be trained on.
        size: (height, width) that photos are resized to.
        known: clusters that are known already; no photo is read then.
        biased: the reference's `vladv2`.
        seed: of the draws.
        progress: called after each photo.
    """
    network = pretrained(backbone, weights)
    if known is None:
        generator = np.random.default_rng(seed)
        images = draw_images(places.images.some(places.database), MOST_CLUSTERED, generator)
        # Drawn as `fit` draws, which this was a part of: the same photos and cells for the same seed.
        generator = np.random.default_rng(seed)
        images = draw_images(images, 1000, generator)
        known = find_clusters(sample_cells(network, images, size, CELLS, generator, progress), clusters, seed)
    check_clusters(known, clusters, network)
    vlad = vlad_from(known, network.cluster_weight, biased)
    return PatchNetVLAD(network, vlad, None, patch_sizes=(2, 5, 8)).eval(), known


def add_whitening(
    model: PatchNetVLAD,
    images: ImageList,
    components: int,
    *,
    size: tuple[int, int] = (480, 640),
    most_images: int = 10_000,
    samples: int = 30_000,
    memory: int = 2 << 30,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Fits the model a whitening, in place of one that it may have; returns the number of photos used.

    Exact PCA of patch descriptors sampled from all photos.

    Args:
        model: with a VLAD layer.
        images: photos of the kind of places to be recognised; never those that it will be tested on.
        components: D.
        size: (height, width) to resize to.
        most_images: of more photos than these, so many are drawn.
        samples: patch descriptors, as far as `memory` allows.
        memory: bytes that they may take.
        seed: of every draw.
        progress: called after each photo.

    Raises:
        ModelError: there is nothing to whiten, or too little for that many components.
    """
    if model.vlad is None:
        raise ModelError(f"{model.name} has no VLAD layer: there is nothing to whiten")
    if components > model.vlad.dim:
        raise ModelError(f"{components} components are more than the {model.vlad.dim} numbers of a descriptor")
    drawn = draw_images(images, most_images, np.random.default_rng(seed))
    model.whitening = fit_whitening_to(
        model.backbone,
        model.vlad,
        drawn,
        components,
        size=size,
        samples=samples,
        memory=memory,
        seed=seed,
        progress=progress,
    )
    return len(drawn)


def check_no_test_photos(photos: Path, images: ImageList) -> None:
    """Refuses a folder or list that is named after a test set or its queries, or that holds a folder that is.

    Whitening fitted to what it will be tested on makes results look better than they are.
    """
    for path in (Path(photos.resolve().name), *map(Path, images.names)):
        said = TEST_WORDS & {word for part in path.parts for word in re.split(r"[^a-z0-9]+", part.lower())}
        if said:
            raise ConfigError(
                f"{path} looks like part of a test set ({', '.join(sorted(said))}): whitening fitted to it would "
                "flatter the results; give training photos, or --i-know"
            )
