"""Visual place recognition that people run: Patch-NetVLAD, from two folders of photos to a verified, measured answer.

    import patchvlad as pv
    model = pv.load_model("lite")
    database = pv.extract(model, pv.ImageList.read("photos/database"), "stores/database")
    queries = pv.extract(model, pv.ImageList.read("photos/queries"), "stores/queries")
    ranking = pv.rerank(pv.retrieve(queries, database), queries, database)

Names are imported on first use, so that `import patchvlad` costs nothing.
"""

TYPE_CHECKING = False  # as of typing, whose import takes longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from .errors import PatchvladError as PatchvladError
    from .evaluate.metrics import recall as recall
    from .features.extraction import extract as extract
    from .features.global_descriptors import read_global_descriptors as read_global_descriptors
    from .features.store import FeatureStore as FeatureStore
    from .images.lists import ImageList as ImageList
    from .images.pixels import read_image as read_image
    from .model.checkpoints import load_model as load_model
    from .model.checkpoints import save_model as save_model
    from .model.network import Descriptors as Descriptors
    from .model.network import PatchNetVLAD as PatchNetVLAD
    from .places.ground_truth import GroundTruth as GroundTruth
    from .places.truth_making import make_ground_truth as make_ground_truth
    from .search.matchers.base import Match as Match
    from .search.matchers.ransac import match_ransac as match_ransac
    from .search.matchers.rapid import match_rapid as match_rapid
    from .search.matchers.voting import match_voting as match_voting
    from .search.ranking import Ranking as Ranking
    from .search.reranking import rerank as rerank
    from .search.retrieval import retrieve as retrieve
    from .train.fitting import fit as fit

__version__ = "0.2.0.dev0"

_HOMES = {
    "Descriptors": "model.network",
    "FeatureStore": "features.store",
    "GroundTruth": "places.ground_truth",
    "ImageList": "images.lists",
    "Match": "search.matchers.base",
    "PatchNetVLAD": "model.network",
    "PatchvladError": "errors",
    "Ranking": "search.ranking",
    "extract": "features.extraction",
    "fit": "train.fitting",
    "load_model": "model.checkpoints",
    "make_ground_truth": "places.truth_making",
    "match_ransac": "search.matchers.ransac",
    "match_rapid": "search.matchers.rapid",
    "match_voting": "search.matchers.voting",
    "read_global_descriptors": "features.global_descriptors",
    "read_image": "images.pixels",
    "recall": "evaluate.metrics",
    "rerank": "search.reranking",
    "retrieve": "search.retrieval",
    "save_model": "model.checkpoints",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'patchvlad' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
