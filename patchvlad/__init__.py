"""Visual place recognition that people run: Patch-NetVLAD, from two folders of photos to a verified, measured answer.

    import patchvlad as pv
    model = pv.load_model("lite")
    database = pv.extract(model, pv.ImageList.read("photos/database"), "stores/database")
    queries = pv.extract(model, pv.ImageList.read("photos/queries"), "stores/queries")
    ranking = pv.rerank(pv.retrieve(queries, database), queries, database)

Names are imported on first use, so that `import patchvlad` costs nothing.
"""

import importlib
from typing import Any

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
    "match_ransac": "search.matching",
    "match_rapid": "search.matching",
    "match_voting": "search.matching",
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
