"""What the network asks of a backbone: RGB photos (N, 3, H, W) in [0, 1] to feature maps (N, C, h, w).

A backbone knows its own `dim` (C), `stride` (pixels per cell), input normalisation, trained layers and published
weights; nobody else does.
"""

from pathlib import Path

from torch import Tensor, nn

from ...errors import ModelError


class Backbone(nn.Module):
    """The contract; a new backbone is one file with a subclass, and one line in `model/registry.py`.

    For training it comes in two parts, `head(trunk(images))`: the trunk stays as it is, the head is trained. How much
    is trained is counted in layers from the end, in units of the backbone's own.

    Attributes:
        name: that checkpoints call it by.
        dim: C, channels of the feature map.
        stride: pixels per cell.
        trained_layers: how many layers training changes unless told otherwise.
        cluster_weight: of a VLAD layer fitted to it unless told otherwise, see `model.registry.CLUSTER_WEIGHTS`.
    """

    name: str
    dim: int
    stride: int
    trained_layers: int = 1
    cluster_weight: str = "exact"

    def trunk(self, images: Tensor, trained: int) -> Tensor:
        """Images (N, 3, H, W) -> maps in front of the last `trained` layers; here everything is trained."""
        return images

    def head(self, maps: Tensor, trained: int) -> Tensor:
        """Maps of `trunk` -> feature map (N, dim, h, w)."""
        return self(maps)

    def head_layers(self, trained: int) -> nn.Module:
        """What is trained, with its parameters."""
        return self

    @classmethod
    def published_file(cls) -> Path:
        """Where its published ImageNet weights lie on this machine, fetched if need be.

        Raises:
            ModelError: there are none, or they cannot be had.
        """
        raise ModelError(f"{cls.name} has no published weights: give a file of them")

    @classmethod
    def fold(cls, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Turns published weights into this module's own state.

        Raises:
            ModelError: these are not its published weights.
        """
        return published
