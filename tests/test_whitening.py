"""Whitening: the layer against a loop, the fit against its definition."""

import numpy as np
import oracle
import pytest
import torch
from torch.nn import functional as F

from patchvlad.errors import ModelError
from patchvlad.model.whitening import Whitening, concatenate, fit_whitening


@pytest.mark.parametrize(("dim", "components", "cuts"), [(1, 1, [1]), (6, 4, [2, 4]), (12, 5, [3, 6, 9]), (8, 8, [8])])
def test_blocks_whiten_as_the_whole_descriptor(dim: int, components: int, cuts: list[int]) -> None:
    generator = torch.Generator().manual_seed(dim)
    layer = Whitening(dim, components).double().requires_grad_(False)
    layer.weight.copy_(torch.randn(components, dim, generator=generator))
    layer.bias.copy_(torch.randn(components, generator=generator))
    raw = torch.randn(2, 3, dim, generator=generator, dtype=torch.float64)
    found = layer(raw.tensor_split(cuts, dim=-1))
    for n in range(2):
        for p in range(3):
            expected = oracle.whiten(oracle.normalise(raw[n, p].numpy()), layer.weight.numpy(), layer.bias.numpy())
            np.testing.assert_allclose(found[n, p].numpy(), expected, atol=1e-12)


def test_leading_components_are_the_whole_cut_short_and_normalised_again() -> None:
    torch.manual_seed(0)
    layer, blocks = Whitening(12, 8).requires_grad_(False), torch.randn(1, 5, 12).split(4, dim=-1)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    whole = layer(blocks)
    assert torch.allclose(layer(blocks, components=3), F.normalize(whole[..., :3], dim=-1), atol=1e-6)
    assert torch.allclose(layer(blocks, components=8), whole)


def test_bfloat16_stays_close_and_follows_the_weights() -> None:
    torch.manual_seed(0)
    layer, blocks = Whitening(96, 40).requires_grad_(False), torch.randn(1, 30, 96).split(32, dim=-1)
    for _ in range(2):
        torch.nn.init.normal_(layer.weight)
        fast, exact = layer(blocks, precision=torch.bfloat16), layer(blocks)
        assert fast.dtype == torch.float32
        assert not torch.equal(fast, exact)
        assert F.cosine_similarity(fast, exact, dim=-1).min() > 0.9999


def test_blocks_of_another_length_are_refused() -> None:
    with pytest.raises(ModelError, match="length 6, not 4"):
        Whitening(6, 2)([torch.ones(1, 1, 4)])


@pytest.mark.parametrize(("count", "dim"), [(400, 12), (30, 50)], ids=["covariance", "gram"])
def test_fitted_whitening_makes_samples_white(count: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(count)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    samples = torch.randn(count, dim, generator=generator, dtype=torch.float64) @ mixing + 3
    weight, bias = fit_whitening(samples.clone(), 10)
    white = samples @ weight.T + bias
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(10, dtype=torch.float64), atol=1e-9, rtol=0)
    covariance = white.T @ white / (count - 1)
    torch.testing.assert_close(covariance, torch.eye(10, dtype=torch.float64), atol=1e-6, rtol=0)


def test_components_are_those_of_largest_variance_whichever_way_they_are_found() -> None:
    generator = torch.Generator().manual_seed(5)
    samples = torch.randn(40, 40, generator=generator, dtype=torch.float64) * torch.linspace(3, 0.1, 40)
    by_covariance, _ = fit_whitening(torch.cat([samples, -samples]), 4)  # 80 x 40
    centred = torch.cat([samples, -samples])
    values, vectors = np.linalg.eigh(np.cov(centred.numpy().T))
    for row, value, vector in zip(by_covariance, values[::-1], vectors.T[::-1], strict=False):
        expected = vector / np.sqrt(value + 1e-9)
        assert min(np.abs(row.numpy() - expected).max(), np.abs(row.numpy() + expected).max()) < 1e-8


def test_too_many_components_say_how_many_samples_they_need() -> None:
    with pytest.raises(ModelError, match="at least 11 sampled descriptors"):
        fit_whitening(torch.randn(10, 30), 10)
    with pytest.raises(ModelError, match="fewer components"):
        fit_whitening(torch.randn(100, 5), 6)


def test_without_whitening_blocks_are_joined_and_normalised() -> None:
    joined = concatenate([torch.tensor([[[3.0]]]), torch.tensor([[[4.0]]])])
    torch.testing.assert_close(joined, torch.tensor([[[0.6, 0.8]]]))
