"""PatchNetVLAD = backbone, VLAD and whitening: photos in, a global descriptor and patch descriptors out."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .backbones.base import Backbone
from .grid import PatchGrid
from .inputs import Picture, batch_of, check_room
from .registry import GLOBAL_POOLINGS, POOLINGS
from .vlad import VLAD, normalised_cells
from .whitening import Whitening, concatenate


@dataclass(frozen=True)
class Descriptors:
    """What is known of one image. All descriptors are L2-normalised; empty dictionaries where there are no patches.

    Attributes:
        global_: (D,) global descriptor.
        patches: for each patch size (P, D') patch descriptors in raster order of the grid, D' at most D. From a store
            they may be float16, or int8 (see `features.quantisation`).
        grids: for each patch size the grid that says where the patches lie.
    """

    global_: Tensor
    patches: dict[int, Tensor]
    grids: dict[int, PatchGrid]

    def to(self, device: str | torch.device) -> "Descriptors":
        """The same on another device."""
        patches = {size: values.to(device) for size, values in self.patches.items()}
        return Descriptors(self.global_.to(device), patches, self.grids)


def global_max(feature_map: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C): the reference's pooling `max`."""
    return F.normalize(feature_map.amax(dim=(2, 3)), dim=-1)


def global_mean(feature_map: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C): the reference's pooling `avg`."""
    return F.normalize(feature_map.mean(dim=(2, 3)), dim=-1)


Encoder = Callable[..., Tensor]  # blocks of unnormalised descriptors -> descriptors (N, P, D)


class PatchNetVLAD(nn.Module):
    """The whole model. Parts are injected; nothing here knows where their weights come from.

    Args:
        backbone: photos to feature maps.
        vlad: the VLAD layer; None for the poolings `max` and `avg`.
        whitening: None leaves descriptors unwhitened (num_pcs = 0 in the reference's configs).
        pooling: `patchnetvlad`, or global descriptors alone by `netvlad`, `max` or `avg`.
        patch_sizes, patch_strides: in cells, one patch stride per patch size.

    Attributes:
        precision: that backbone and whitening multiply in at inference, `torch.float32` unless set; sums stay float32.
    """

    def __init__(
        self,
        backbone: Backbone,
        vlad: VLAD | None,
        whitening: Whitening | None = None,
        pooling: str = "patchnetvlad",
        patch_sizes: Sequence[int] = (5,),
        patch_strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ConfigError(f"unknown pooling {pooling!r}: choose from {', '.join(POOLINGS)}")
        if (vlad is None) != (pooling in GLOBAL_POOLINGS):
            raise ConfigError(f"pooling {pooling!r} goes {'without' if vlad else 'with'} a VLAD layer")
        self.backbone = backbone
        self.vlad = vlad
        self.whitening = whitening
        self.pooling = pooling
        self.name = "unnamed"
        self.precision = torch.float32
        self.set_patches(patch_sizes, patch_strides)

    def set_patches(
        self,
        patch_sizes: Sequence[int],
        patch_strides: Sequence[int] | None = None,
        patch_components: int | None = None,
    ) -> None:
        """Sets the patch sizes and strides, in cells; they are no weights, so any will do for any model.

        Args:
            patch_sizes, patch_strides: one patch stride per patch size, 1 if not given.
            patch_components: leading components of the whitening that patch descriptors keep, all if not given; global
                descriptors always keep all.
        """
        sizes, strides = tuple(patch_sizes), tuple(patch_strides or (1,) * len(patch_sizes))
        if len(sizes) != len(strides):
            raise ConfigError(f"{len(sizes)} patch sizes {sizes} but {len(strides)} patch strides {strides}")
        if len(set(sizes)) != len(sizes):
            raise ConfigError(f"patch sizes {sizes} name one size twice")
        if self.pooling == "patchnetvlad" and not sizes:
            raise ConfigError("pooling 'patchnetvlad' needs at least one patch size")
        if any(number < 1 for number in sizes + strides):
            raise ConfigError(f"patch sizes {sizes} and patch strides {strides} must be at least 1 cell")
        if patch_components is not None and not 1 <= patch_components <= self.dim:
            raise ConfigError(f"{patch_components} patch components: a descriptor of this model has 1 to {self.dim}")
        if patch_components is not None and self.whitening is None:
            raise ConfigError("patch components are components of a whitening, and this model has none")
        self.patch_sizes, self.patch_strides, self.patch_components = sizes, strides, patch_components

    @property
    def dim(self) -> int:
        """D, the length of every descriptor."""
        if self.whitening is not None:
            return self.whitening.bias.numel()
        return self.vlad.dim if self.vlad is not None else self.backbone.dim

    @property
    def patch_dim(self) -> int:
        """D', the length of patch descriptors."""
        return self.patch_components or self.dim

    def forward(self, images: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Images (N, 3, H, W) RGB in [0, 1] -> global (N, D), and for each patch size patches (N, P, D').

        Raises:
            ConfigError: the largest patch does not fit the images.
        """
        return self.describe_map(self.feature_map(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) RGB in [0, 1] -> feature map (N, C, h, w)."""
        if self.precision == torch.float32:
            if images.device.type == "cpu" and not torch.is_grad_enabled():  # one image's maps are nearer to the cache
                return torch.cat([self.backbone(image[None]) for image in images])
            return self.backbone(images)
        with torch.autocast(images.device.type, self.precision):
            return self.backbone(images).to(images.dtype)

    def describe_map(self, feature_map: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """The same from a feature map (N, C, H, W)."""
        if self.vlad is None or self.pooling == "netvlad":
            return self.describe_globally(feature_map), {}
        encode = self._encoder()
        self.grids(feature_map.shape[2:])
        cells = normalised_cells(feature_map)
        assignment = self.vlad.soft_assignment(cells)
        global_ = encode(self.vlad.image_blocks(cells, assignment))[:, 0]
        patches: list[list[Tensor]] = []
        for i in range(len(cells)):  # an image at a time: the windows of a few clusters stay in the cache
            patches.append(self._describe_patches(self.vlad, encode, cells[i : i + 1], assignment[i : i + 1]))
        return global_, {
            size: torch.cat([image[number] for image in patches]) for number, size in enumerate(self.patch_sizes)
        }

    def describe_globally(self, feature_map: Tensor) -> Tensor:
        """Feature map (N, C, H, W) -> global descriptors (N, D) alone."""
        if self.vlad is None:
            return self._encoder()([GLOBAL_POOLINGS[self.pooling](feature_map)[:, None]])[:, 0]
        cells = normalised_cells(feature_map)
        return self._encoder()(self.vlad.image_blocks(cells, self.vlad.soft_assignment(cells)))[:, 0]

    def _encoder(self) -> Encoder:
        if self.whitening is None:
            return concatenate
        return functools.partial(self.whitening, precision=self.precision)

    def _describe_patches(self, vlad: VLAD, encode: Encoder, cells: Tensor, assignment: Tensor) -> list[Tensor]:
        """Cells (1, H, W, C) and soft assignment (1, H, W, K) -> for each patch size (1, P, D')."""
        if self.patch_components is not None:
            encode = functools.partial(encode, components=self.patch_components)
        return [
            encode(vlad.window_blocks(cells, assignment, size, step))
            for size, step in zip(self.patch_sizes, self.patch_strides, strict=True)
        ]

    def grids(self, map_size: Sequence[int]) -> dict[int, PatchGrid]:
        """The patch grids on a feature map of that (height, width); empty for global poolings."""
        if self.pooling != "patchnetvlad":
            return {}
        return {
            size: PatchGrid(map_size[0], map_size[1], size, step, self.backbone.stride)
            for size, step in zip(self.patch_sizes, self.patch_strides, strict=True)
        }

    @torch.inference_mode()
    def describe(self, images: Tensor | Sequence[Picture], size: tuple[int, int] | None = None) -> list[Descriptors]:
        """Describes a batch of images.

        Args:
            images: (N, 3, H, W) RGB, floating in [0, 1] or uint8; or N pictures: arrays (H, W, 3) RGB, uint8 or
                floating in [0, 1], which is rounded to 8 bits, and pictures of PIL. Grey, (N, 1, H, W), (H, W) or
                (H, W, 1), is repeated; a fourth channel, transparency, is dropped.
            size: (height, width) to resize to; None keeps the size, which then all images must share.

        Returns:
            as many descriptors as images; an empty list of an empty batch.

        Raises:
            ConfigError: another shape, dtype or range, NaN, sizes that differ, or no room for the largest patch.
            ImageError: a picture of PIL cannot be decoded.
        """
        batch = batch_of(images, size)
        if not len(batch):
            return []
        check_room(batch.shape, self.backbone.stride, self.backbone.name)
        was_training = self.training
        self.eval()
        parameter = next(self.parameters())
        feature_map = self.feature_map(batch.to(parameter.device, parameter.dtype))
        global_, patches = self.describe_map(feature_map)
        self.train(was_training)
        grids = self.grids(feature_map.shape[2:])
        return [
            Descriptors(global_[i], {p: values[i] for p, values in patches.items()}, grids) for i in range(len(batch))
        ]
