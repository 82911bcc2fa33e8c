"""What can be chosen of models: backbones, poolings, weights of clusters, precisions. Nothing is imported for it."""

from typing import Any

from ..errors import ModelError
from ..registry import Registry

BACKBONES: Registry[Any] = Registry(
    "backbone",
    {
        "vgg16": "patchvlad.model.backbones.vgg16:VGG16",
        "efficientnet-lite0": "patchvlad.model.backbones.efficientnet_lite0:EfficientNetLite0",
    },
    aliases={"lite": "efficientnet-lite0"},
    error=ModelError,
)
# Poolings of a whole feature map without a VLAD layer, beside `patchnetvlad` and `netvlad`.
GLOBAL_POOLINGS: Registry[Any] = Registry(
    "pooling", {"max": "patchvlad.model.network:global_max", "avg": "patchvlad.model.network:global_mean"}
)
POOLINGS = ("patchnetvlad", "netvlad", *GLOBAL_POOLINGS)
# How much a cluster of a window weighs after intra-normalisation, by the window's mean soft assignment to it.
# `exact` is the paper's formula; the others keep clusters with next to no mass from speaking as loud as the rest.
CLUSTER_WEIGHTS: Registry[Any] = Registry(
    "cluster weight",
    {"exact": "patchvlad.model.vlad:keep_all", "floor": "patchvlad.model.vlad:keep_above_floor", "root": "torch:sqrt"},
)
PRECISIONS = ("float32", "bfloat16")
