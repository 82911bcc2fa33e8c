"""Descriptors in one byte per component against the formula, and what rounding does to them."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from patchvlad.features.quantisation import compacted, quantise


def unit(count: int, dim: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(dim)), dim=1)


@pytest.mark.parametrize("dim", [3, 64, 512])
def test_quantising_is_the_formula(dim: int) -> None:
    descriptors = unit(20, dim)
    expected = [
        [max(-127, min(127, round(24 * math.sqrt(dim) * value))) for value in row] for row in descriptors.tolist()
    ]
    found = quantise(descriptors)
    assert found.dtype == torch.int8
    assert np.abs(np.array(expected) - found.numpy()).max() <= (descriptors.dtype == torch.float32)  # ties of rounding
    assert np.mean(np.array(expected) != found.numpy()) < 1e-3


def test_large_components_are_clipped_and_int8_stays() -> None:
    one = torch.eye(100)[:2]
    assert quantise(one)[0, 0] == 127
    assert quantise(-one)[0, 0] == -127
    assert quantise(quantise(one)) is not None
    assert torch.equal(quantise(quantise(one)), quantise(one))
    assert quantise(one.half()).dtype == torch.int8


def test_rounding_turns_a_descriptor_by_less_than_a_degree() -> None:
    for dim in (128, 512, 1024):
        descriptors = unit(50, dim)
        cosines = F.cosine_similarity(quantise(descriptors).float(), descriptors, dim=1)
        assert cosines.min() > math.cos(math.radians(1))


def test_compacting_keeps_leading_components_of_unit_length() -> None:
    descriptors = unit(10, 60)
    assert torch.equal(compacted(descriptors, 20), quantise(F.normalize(descriptors[:, :20], dim=1)))
    assert torch.equal(compacted(descriptors.half(), 60), quantise(descriptors.half()))
    already = quantise(descriptors)
    assert torch.equal(compacted(already, 60), already)
    cut = F.cosine_similarity(compacted(already, 20).float(), descriptors[:, :20], dim=1)
    assert cut.min() > 0.999
