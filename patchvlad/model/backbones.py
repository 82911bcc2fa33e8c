"""Dense backbones: RGB photos (N, 3, H, W) in [0, 1] to feature maps (N, C, h, w).

A backbone knows its own `dim` (C), `stride` (pixels a cell) and input normalisation; nobody else does.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError, ModelError
from .convolution import suits_winograd, winograd


class Backbone(nn.Module):
    """What the network asks of a backbone, besides mapping (N, 3, H, W) to (N, dim, h, w).

    For training it comes in two parts, `head(trunk(images))`: the trunk stays as it is, the head is trained. How much
    is trained is counted in layers from the end, in units of the backbone's own.
    """

    name: str
    dim: int
    stride: int

    def trunk(self, images: Tensor, trained: int) -> Tensor:
        """Images (N, 3, H, W) -> maps in front of the last `trained` layers; here everything is trained."""
        return images

    def head(self, maps: Tensor, trained: int) -> Tensor:
        """Maps of `trunk` -> feature map (N, dim, h, w)."""
        return self(maps)

    def head_layers(self, trained: int) -> nn.Module:
        """What is trained, with its parameters."""
        return self


class VGG16(Backbone):
    """VGG16 up to conv5_3, without its last ReLU and pooling (Simonyan and Zisserman 2015; Hausler et al. 2021).

    Layer numbers are torchvision's, so that `layers.<i>` takes the weights of `features.<i>`.
    """

    mean: Tensor
    std: Tensor
    name = "vgg16"
    dim = 512
    stride = 16
    _plan = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for step in self._plan:
            if isinstance(step, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, step, 3, padding=1), nn.ReLU(inplace=True)]
                channels = step
        self.layers = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] -> (N, 512, H // 16, W // 16)."""
        return self.trunk(images, 0)

    def trunk(self, images: Tensor, trained: int) -> Tensor:
        """The layers in front of the last `trained` convolutions; 3 are conv5, which the paper trains."""
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        # Maps of half the size gain nothing from stripes.
        plain = torch.is_grad_enabled() or x.device.type != "cpu" or torch.is_autocast_enabled("cpu")
        block: list[nn.Module] = []
        for layer in list(self.layers)[: self._first_trained(trained)]:
            block.append(layer)
            if isinstance(layer, nn.MaxPool2d):
                x = _run(block, x) if plain or x.shape[1] > 64 else in_stripes(block, x)
                block = []
        return _run(block, x)

    def head(self, maps: Tensor, trained: int) -> Tensor:
        """The last `trained` convolutions."""
        return _run(
            list(self.layers)[self._first_trained(trained) :], maps.contiguous(memory_format=torch.channels_last)
        )

    def head_layers(self, trained: int) -> nn.Module:
        """The last `trained` convolutions and what lies between them."""
        return nn.Sequential(*list(self.layers)[self._first_trained(trained) :])

    def _first_trained(self, trained: int) -> int:
        convolutions = [number for number, layer in enumerate(self.layers) if isinstance(layer, nn.Conv2d)]
        if not 0 <= trained <= len(convolutions):
            raise ConfigError(f"{trained} layers cannot be trained: {self.name} has {len(convolutions)} convolutions")
        return [*convolutions, len(self.layers)][len(convolutions) - trained]


def _run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        if isinstance(layer, nn.Conv2d) and suits_winograd(layer, x):
            x = winograd(layer, x.float())
        else:
            x = layer(x)
    return x


def in_stripes(block: Sequence[nn.Module], x: Tensor, numbers: int = 1 << 22) -> Tensor:
    """Runs 3 x 3 convolutions and a last 2 x 2 pooling on (N, C, H, W) stripe by stripe, with the same result.

    The first maps of VGG16 have 20 million numbers. Whole, they leave the cache, and the memory for them, given back
    and asked for anew each time, costs more than the pooling. A stripe takes as many rows more on either side as there
    are convolutions; what is wrong there, for want of neighbours, is cut off before the pooling.

    Args:
        block: convolutions with padding 1 and ReLUs, then the pooling.
        x: the maps.
        numbers: of a stripe of the largest map, about.
    """
    convolutions = [layer for layer in block if isinstance(layer, nn.Conv2d)]
    edge, height = len(convolutions), x.shape[2] // 2 * 2
    wide = max(layer.out_channels for layer in convolutions)
    rows = max(2, numbers // (len(x) * wide * x.shape[3]) // 2 * 2)
    pooled = []
    for start in range(0, height, rows):
        end = min(start + rows, height)
        first, last = max(start - edge, 0), min(end + edge, x.shape[2])
        stripe = _run(block[:-1], x[:, :, first:last])
        pooled.append(block[-1](stripe[:, :, start - first : end - first]))
    return torch.cat(pooled, dim=2)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection (Sandler et al. 2018), batch norms folded into the convolutions."""

    def __init__(self, dim_in: int, dim_out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        dim = dim_in * expansion
        self.expand = nn.Conv2d(dim_in, dim, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(dim, dim, kernel, stride, padding=kernel // 2, groups=dim)
        self.project = nn.Conv2d(dim, dim_out, 1)
        self.residual = stride == 1 and dim_in == dim_out

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.residual else y


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 (Tan and Le 2019) up to a stride-16 expansion layer, before its activation.

    The feature map is the 1 x 1 expansion of block 11. Its 672 channels are an affine image of 112, so they span 113
    dimensions only, and are expressed in an orthonormal basis of these: no dot product changes, and everything behind
    the backbone is six times smaller. Batch norms (eps 1e-3) are folded into the convolutions. Input is
    (RGB - 127) / 128 of 8-bit values.

    TensorFlow's SAME padding puts the odd pixel at the bottom and the right. Turned by 180 degrees it is at the top and
    the left, where ordinary symmetric padding has it, and leaves the other side unused: so images, kernels and feature
    map are turned, which saves a copy at every stride.
    """

    name = "efficientnet-lite0"
    dim = 113
    stride = 16
    last = 11
    # (blocks, expansion, kernel, stride of the first block, channels out) up to `last`
    _plan = ((1, 1, 3, 1, 16), (2, 6, 3, 2, 24), (2, 6, 5, 2, 40), (3, 6, 3, 2, 80), (3, 6, 5, 1, 112))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, padding=1)
        blocks = []
        channels = 32
        for count, expansion, kernel, stride, dim_out in self._plan:
            for number in range(count):
                blocks.append(InvertedResidual(channels, dim_out, expansion, kernel, stride if number == 0 else 1))
                channels = dim_out
        self.blocks = nn.ModuleList(blocks[: self.last])
        self.expand = nn.Conv2d(channels, self.dim, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] -> (N, 113, ceil(H / 16), ceil(W / 16))."""
        return self.head(self.trunk(images, 1), 1)

    def trunk(self, images: Tensor, trained: int) -> Tensor:
        """The layers in front of the last `trained`, which are the expansion and the blocks before it; turned maps."""
        turned = images.flip(2, 3).contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.stem((turned * 255 - 127) / 128), inplace=True)
        for block in self.blocks[: self._first_trained(trained)]:
            x = block(x)
        return x

    def head(self, maps: Tensor, trained: int) -> Tensor:
        """The last `trained` layers."""
        x = maps.contiguous(memory_format=torch.channels_last)
        for layer in self.head_layers(trained):
            x = layer(x)
        return x.flip(2, 3)

    def head_layers(self, trained: int) -> nn.ModuleList:
        """The expansion and the `trained` - 1 blocks in front of it."""
        return nn.ModuleList([*self.blocks[self._first_trained(trained) :], self.expand])

    def _first_trained(self, trained: int) -> int:
        if not 1 <= trained <= self.last + 1:
            raise ConfigError(f"{trained} layers cannot be trained: {self.name} trains 1 to {self.last + 1}")
        return self.last + 1 - trained

    @classmethod
    def fold(cls, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Turns the published weights (`_blocks.<i>._expand_conv.weight`, `_bn0.*`, ...) into this module's own."""
        state: dict[str, Tensor] = {}

        def fold_into(ours: str, conv: str, norm: str) -> None:
            scale = published[f"{norm}.weight"].double() / (published[f"{norm}.running_var"].double() + 1e-3).sqrt()
            weight = published[f"{conv}.weight"].double() * scale.view(-1, 1, 1, 1)
            bias = published[f"{norm}.bias"].double() - published[f"{norm}.running_mean"].double() * scale
            state[f"{ours}.weight"], state[f"{ours}.bias"] = weight.float().flip(2, 3), bias.float()

        try:
            fold_into("stem", "_conv_stem", "_bn0")
            for i in range(cls.last):
                if f"_blocks.{i}._expand_conv.weight" in published:
                    fold_into(f"blocks.{i}.expand", f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
                fold_into(f"blocks.{i}.depthwise", f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
                fold_into(f"blocks.{i}.project", f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
            fold_into("expand", f"_blocks.{cls.last}._expand_conv", f"_blocks.{cls.last}._bn0")
            state["expand.weight"], state["expand.bias"] = compact(state["expand.weight"], state["expand.bias"])
        except KeyError as error:
            raise ModelError(
                f"these are not EfficientNet-Lite0's published weights: {error.args[0]} is missing"
            ) from error
        return state


def compact(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A 1 x 1 convolution to no more channels than it has degrees of freedom, with the same dot products of outputs.

    Outputs A [x; 1] with A = [weight bias] have dot products [x; 1]' A'A [y; 1]. With the unique Cholesky factor
    A'A = L L', L' [x; 1] has the same. Both are computed by elementwise operations in a fixed order, not by BLAS, so
    that every machine gets the same bits, and a model the same fingerprint.

    Args:
        weight: (C', C, 1, 1) with C' > C.
        bias: (C',).

    Returns:
        weight (C + 1, C, 1, 1) and bias (C + 1,).
    """
    affine = torch.cat([weight[:, :, 0, 0], bias[:, None]], dim=1).double().numpy()
    rest = np.zeros((affine.shape[1], affine.shape[1]))
    for row in affine:
        rest += row[:, None] * row
    root = np.zeros_like(rest)  # L'
    for j in range(len(rest)):
        root[j, j:] = rest[j, j:] / np.sqrt(rest[j, j])
        rest[j:, j:] -= root[j, j:, None] * root[j, j:]
    compacted = torch.from_numpy(root.astype(np.float32))
    return compacted[:, :-1, None, None].contiguous(), compacted[:, -1].contiguous()


BACKBONES: dict[str, Callable[[], Backbone]] = {VGG16.name: VGG16, EfficientNetLite0.name: EfficientNetLite0}


def make_backbone(name: str) -> Backbone:
    """Returns the backbone of that name without trained weights."""
    if name not in BACKBONES:
        raise ModelError(f"unknown backbone {name!r}: choose from {', '.join(BACKBONES)}")
    return BACKBONES[name]()
