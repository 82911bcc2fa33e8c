"""Backbones: layer plans, padding, folding and compaction against what they stand for."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import patchvlad as pv
from patchvlad.errors import ModelError
from patchvlad.model.backbones.efficientnet_lite0 import EfficientNetLite0, compact
from patchvlad.model.backbones.vgg16 import VGG16
from patchvlad.model.checkpoints import fingerprint, imagenet_weights, make_backbone
from patchvlad.model.pickles import read_pickle


def test_vgg16_has_torchvisions_layer_numbers_and_ends_before_the_last_relu() -> None:
    layers = VGG16().layers
    convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    assert convolutions == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert pools == [4, 9, 16, 23]
    assert len(layers) == 29


def test_vgg16_normalises_as_imagenet_and_has_stride_16() -> None:
    backbone = VGG16().eval()
    seen: list[Tensor] = []
    backbone.layers[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    image = torch.rand(1, 3, 48, 70)
    with torch.inference_mode():
        feature_map = backbone(image)
    assert feature_map.shape == (1, 512, 3, 4)
    assert (feature_map < 0).any()
    expected = (image[0, 1] - 0.456) / 0.224
    torch.testing.assert_close(seen[0][0, 1], expected)


def published_lite0(image: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The published network, straight from its weights: batch norms unfolded, SAME padding, 672 channels out."""

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[name]
        total = [max((-(-n // stride) - 1) * stride + kernel.shape[-1] - n, 0) for n in x.shape[2:]]
        pads = [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
        return F.conv2d(F.pad(x, pads), kernel, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        values = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *values, eps=1e-3)

    x = F.relu6(norm(convolve((image * 255 - 127) / 128, "_conv_stem.weight", 2), "_bn0"))
    for i in range(11):
        name, start = f"_blocks.{i}", x
        if i > 0:
            x = F.relu6(norm(convolve(x, f"{name}._expand_conv.weight"), f"{name}._bn0"))
        stride = 2 if i in (1, 3, 5) else 1
        x = F.relu6(norm(convolve(x, f"{name}._depthwise_conv.weight", stride, x.shape[1]), f"{name}._bn1"))
        x = norm(convolve(x, f"{name}._project_conv.weight"), f"{name}._bn2")
        x = x + start if x.shape == start.shape else x
    return norm(convolve(x, "_blocks.11._expand_conv.weight"), "_blocks.11._bn0")


@pytest.mark.parametrize("size", [(64, 96), (65, 96), (47, 50), (33, 63)])
def test_lite0_has_the_dot_products_of_the_published_networks_672_channels(size: tuple[int, int]) -> None:
    published = {name: value.double() for name, value in read_pickle(EfficientNetLite0.published_file()).items()}
    image = torch.rand(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    backbone = EfficientNetLite0().eval()
    backbone.load_state_dict(imagenet_weights("efficientnet-lite0"))
    with torch.inference_mode():
        found = backbone.double()(image)
        expected = published_lite0(image, published)
    assert expected.shape == (1, 672, -(-size[0] // 16), -(-size[1] // 16))
    assert found.shape == (1, 113, *expected.shape[2:])
    ours, theirs = found.flatten(2)[0], expected.flatten(2)[0]
    gram = theirs.T @ theirs
    assert ((ours.T @ ours) - gram).abs().max() / gram.abs().max() < 1e-5


def test_compaction_keeps_dot_products() -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(20, 5, 1, 1), torch.randn(20), torch.randn(2, 5, 3, 4)
    small, small_bias = compact(weight, bias)
    assert small.shape == (6, 5, 1, 1)
    wide, narrow = F.conv2d(x, weight, bias).flatten(2), F.conv2d(x, small, small_bias).flatten(2)
    torch.testing.assert_close(narrow.mT @ narrow, wide.mT @ wide, atol=1e-4, rtol=1e-5)


def test_compaction_is_the_cholesky_factor() -> None:
    torch.manual_seed(1)
    weight, bias = torch.randn(30, 6, 1, 1), torch.randn(30)
    affine = torch.cat([weight[:, :, 0, 0], bias[:, None]], dim=1).double()
    expected = torch.linalg.cholesky(affine.T @ affine).T.float()
    small, small_bias = compact(weight, bias)
    torch.testing.assert_close(torch.cat([small[:, :, 0, 0], small_bias[:, None]], dim=1), expected)


def test_the_fingerprint_of_the_embedded_model_is_the_same_on_every_machine() -> None:
    model = pv.load_model("lite")
    assert fingerprint(model) == "ca2949cee2041d9c83c6cd315be90ed3a2bf8d0fb61c4b28f059c37f6565b2fd"


def test_channels_last_changes_nothing() -> None:
    torch.manual_seed(0)
    backbone = EfficientNetLite0().eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = backbone(image)
        found = backbone.to(memory_format=torch.channels_last)(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_other_weights_and_names_are_refused() -> None:
    with pytest.raises(ModelError, match="_bn0"):
        EfficientNetLite0.fold({"features.0.weight": torch.ones(1)})
    with pytest.raises(ModelError, match="vgg16, lite"):
        make_backbone("resnet")
