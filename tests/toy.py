"""A whole Patch-NetVLAD small enough to run, save and load within a test, laid out as the released ones are."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from patchvlad.model.backbones.base import Backbone
from patchvlad.model.network import PatchNetVLAD
from patchvlad.model.registry import GLOBAL_POOLINGS
from patchvlad.model.vlad import VLAD
from patchvlad.model.whitening import Whitening


def backbone(seed: int = 0) -> Backbone:
    """One convolution, `layers.0`: 4 channels, stride 16."""
    made = nn.Sequential(OrderedDict(layers=nn.Sequential(nn.Conv2d(3, 4, 16, 16))))
    made.name, made.dim, made.stride = "toy", 4, 16
    return randomised(made, seed)


def model(
    pooling: str = "patchnetvlad",
    clusters: int = 3,
    components: int = 7,
    bias: bool = False,
    cluster_weight: str = "exact",
    patch_sizes: Sequence[int] = (1, 2),
    patch_strides: Sequence[int] | None = None,
    seed: int = 0,
) -> PatchNetVLAD:
    """Random weights, the same for the same seed."""
    vlad = None if pooling in GLOBAL_POOLINGS else VLAD(clusters, 4, bias, cluster_weight)
    whitening = Whitening(vlad.dim if vlad else 4, components) if components else None
    made = PatchNetVLAD(backbone(), vlad, whitening, pooling, patch_sizes, patch_strides)
    return randomised(made, seed).eval()


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """Overwrites all weights by normal random numbers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return module.requires_grad_(False)


def released(made: PatchNetVLAD) -> dict[str, Tensor]:
    """Its weights under the names and in the shapes of the reference's checkpoints."""
    names = {
        "backbone.layers": "encoder",
        "vlad.centroids": "pool.centroids",
        "vlad.assignment": "pool.conv",
        "whitening": "WPCA.0",
    }
    state = {}
    for name, tensor in made.state_dict().items():
        ours = next(prefix for prefix in names if name.startswith(prefix))
        theirs = name.replace(ours, names[ours], 1)
        state[theirs] = tensor[..., None, None] if theirs in ("pool.conv.weight", "WPCA.0.weight") else tensor
    return state
