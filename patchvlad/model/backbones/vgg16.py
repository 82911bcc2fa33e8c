"""VGG16 up to conv5_3, the paper's backbone."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ModelError
from ..convolution import suits_winograd, winograd
from ..hub import cached_file
from .base import Backbone


class VGG16(Backbone):
    """VGG16 up to conv5_3, without its last ReLU and pooling (Simonyan and Zisserman 2015; Hausler et al. 2021).

    Layer numbers are torchvision's, so that `layers.<i>` takes the weights of `features.<i>`.
    """

    mean: Tensor
    std: Tensor
    name = "vgg16"
    dim = 512
    stride = 16
    trained_layers = 3  # conv5, which the paper trains
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

    @classmethod
    def published_file(cls) -> Path:
        """The repository timm/vgg16.tv_in1k holds torchvision's weights, ImageNet's."""
        return cached_file("timm/vgg16.tv_in1k", "model.safetensors", "ImageNet weights of VGG16 (553 MB)")

    @classmethod
    def fold(cls, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Takes torchvision's `features.<i>` for `layers.<i>`."""
        with torch.device("meta"):
            names = cls().state_dict()
        try:
            return {name: published[name.replace("layers.", "features.", 1)].float() for name in names}
        except KeyError as error:
            raise ModelError(f"{error} of torchvision's VGG16 is missing") from error


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
