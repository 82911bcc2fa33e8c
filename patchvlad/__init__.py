"""Visual place recognition that people run: Patch-NetVLAD, from two folders of photos to a verified, measured answer.

    import patchvlad as pv
    model = pv.load_model("lite")
    database = pv.extract(model, pv.ImageList.read("photos/database"), "stores/database")
    queries = pv.extract(model, pv.ImageList.read("photos/queries"), "stores/queries")
    ranking = pv.rerank(pv.retrieve(queries, database), queries, database)

Names are imported on first use, so that `import patchvlad` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import PatchvladError as PatchvladError
    from .evaluate.ground_truth import GroundTruth as GroundTruth
    from .evaluate.metrics import recall as recall
    from .evaluate.sources import make_ground_truth as make_ground_truth
    from .features.extraction import extract as extract
    from .features.global_descriptors import read_global_descriptors as read_global_descriptors
    from .features.images import ImageList as ImageList
    from .features.images import read_image as read_image
    from .features.store import FeatureStore as FeatureStore
    from .model.checkpoints import load_model as load_model
    from .model.checkpoints import save_model as save_model
    from .model.network import Descriptors as Descriptors
    from .model.network import PatchNetVLAD as PatchNetVLAD
    from .search.matching import Match as Match
    from .search.matching import match_ransac as match_ransac
    from .search.matching import match_rapid as match_rapid
    from .search.matching import match_voting as match_voting
    from .search.reranking import rerank as rerank
    from .search.retrieval import Ranking as Ranking
    from .search.retrieval import retrieve as retrieve
    from .train.fitting import fit as fit

__version__ = "0.1.0"

_HOMES = {
    "Descriptors": "model.network",
    "FeatureStore": "features.store",
    "GroundTruth": "evaluate.ground_truth",
    "ImageList": "features.images",
    "Match": "search.matching",
    "PatchNetVLAD": "model.network",
    "PatchvladError": "errors",
    "Ranking": "search.retrieval",
    "extract": "features.extraction",
    "fit": "train.fitting",
    "load_model": "model.checkpoints",
    "make_ground_truth": "evaluate.sources",
    "match_ransac": "search.matching",
    "match_rapid": "search.matching",
    "match_voting": "search.matching",
    "read_global_descriptors": "features.global_descriptors",
    "read_image": "features.images",
    "recall": "evaluate.metrics",
    "rerank": "search.reranking",
    "retrieve": "search.retrieval",
    "save_model": "model.checkpoints",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'patchvlad' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
