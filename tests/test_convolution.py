"""Winograd's convolution against loops and PyTorch's; weights in another form; VGG16 by stripes."""

import gc

import numpy as np
import oracle
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from patchvlad.model import convolution
from patchvlad.model.backbones.vgg16 import VGG16, in_stripes
from patchvlad.model.convolution import Derived, suits_winograd, winograd


def make(channels: int, channels_out: int, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(channels)
    return nn.Conv2d(channels, channels_out, 3, padding=1, bias=bias).requires_grad_(False)


def test_winograd_equals_the_loop() -> None:
    layer, x = make(2, 3), torch.randn(1, 2, 6, 7)
    expected = oracle.convolution(x[0].double().numpy(), layer.weight.double().numpy(), layer.bias.double().numpy())
    np.testing.assert_allclose(winograd(layer, x)[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (4, 4), (5, 8), (8, 3), (13, 18)])
def test_winograd_equals_the_direct_convolution(height: int, width: int, count: int, bias: bool) -> None:
    layer, x = make(9, 5, bias), torch.randn(count, 9, height, width)
    exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double() if bias else None, padding=1)
    found = winograd(layer, x)
    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 1e-5
    assert torch.equal(winograd(layer, x.contiguous(memory_format=torch.channels_last)), found)


@pytest.mark.parametrize("numbers", [1, 36 * 5 * 9, 36 * 11 * 9])
def test_how_many_tiles_are_held_at_a_time_changes_nothing(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = make(9, 5), torch.randn(1, 9, 17, 18)
    whole = winograd(layer, x)
    monkeypatch.setattr(convolution, "TILE_NUMBERS", numbers)
    assert torch.allclose(winograd(layer, x), whole, atol=1e-6)


def test_winograd_is_for_inference_of_wide_layers() -> None:
    wide, x = make(128, 4), torch.zeros(1, 128, 4, 4)
    assert suits_winograd(wide, x)
    assert not suits_winograd(make(127, 4), torch.zeros(1, 127, 4, 4))
    assert not suits_winograd(nn.Conv2d(128, 4, 1).requires_grad_(False), x)
    assert not suits_winograd(nn.Conv2d(128, 4, 3).requires_grad_(False), x)
    assert not suits_winograd(make(128, 4).double(), x.double())
    assert not suits_winograd(wide, x.clone().requires_grad_())
    wide.weight.requires_grad_()
    assert not suits_winograd(wide, x)
    with torch.no_grad():
        assert suits_winograd(wide, x)


def test_another_form_of_a_weight_follows_the_weight_and_goes_with_it() -> None:
    made = []
    double = Derived(lambda weight: made.append(len(weight)) or weight * 2)
    weight = nn.Parameter(torch.ones(3))
    assert double(weight).tolist() == double(weight).tolist() == [2, 2, 2]
    assert len(made) == 1
    with torch.no_grad():
        weight.mul_(5)
    assert double(weight).tolist() == [10, 10, 10]
    weight.data = torch.zeros(3)
    assert double(weight).tolist() == [0, 0, 0]
    assert len(double._known) == 1
    del weight
    gc.collect()
    assert len(double._known) == 0


@pytest.mark.parametrize("numbers", [1, 8 * 20 * 6, 10**9])
@pytest.mark.parametrize(("height", "width"), [(2, 20), (7, 20), (30, 21)])
def test_stripes_equal_the_whole(height: int, width: int, numbers: int) -> None:
    torch.manual_seed(0)
    block = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    x = torch.randn(2, 3, height, width)
    with torch.no_grad():
        whole = nn.Sequential(*block)(x)
        found = in_stripes(block, x, numbers)
    assert found.shape == whole.shape
    assert torch.allclose(found, whole, atol=1e-6)


def test_vgg16_at_inference_is_its_layers_and_has_gradients_in_training() -> None:
    torch.manual_seed(0)
    backbone = VGG16()
    images = torch.rand(2, 3, 52, 70)
    plain = backbone.layers((images - backbone.mean) / backbone.std)
    with torch.inference_mode():
        found = backbone(images)
    assert found.shape == (2, 512, 3, 4)
    assert (found - plain).abs().max() < 1e-5 * plain.abs().max()
    backbone(images).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
