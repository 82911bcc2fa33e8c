"""Mutual nearest neighbours against the slow loop: exact, screened, of int8, and by tensor operations."""

import numpy as np
import oracle
import pytest
import torch

from patchvlad.features.quantisation import quantise
from patchvlad.search import neighbours
from patchvlad.search.neighbours import batched_neighbours, mutual_nearest_neighbours


def random_patches(count: int, dim: int, seed: int) -> torch.Tensor:
    values = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=1)


def pairs_of(found: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, int]]:
    return list(zip(found[0].tolist(), found[1].tolist(), strict=True))


@pytest.mark.parametrize(("count0", "count1", "dim"), [(1, 1, 1), (1, 9, 2), (8, 1, 3), (30, 20, 4), (25, 40, 16)])
def test_mutual_nearest_neighbours_equal_the_loop(count0: int, count1: int, dim: int) -> None:
    for seed in range(5):
        patches0, patches1 = random_patches(count0, dim, seed), random_patches(count1, dim, 100 + seed)
        rows0, rows1 = mutual_nearest_neighbours(patches0, patches1)
        expected = oracle.mutual_nearest_neighbours(patches0.numpy(), patches1.numpy())
        assert pairs_of((rows0, rows1)) == expected
        assert pairs_of(batched_neighbours(patches0, patches1[None])[0]) == expected
        assert len(expected) >= 1


def test_ties_go_to_the_lower_index() -> None:
    patches = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]])
    rows0, rows1 = mutual_nearest_neighbours(patches, patches)
    assert rows0.tolist() == [0, 2]
    assert rows1.tolist() == [0, 2]
    assert oracle.mutual_nearest_neighbours(patches.numpy(), patches.numpy()) == [(0, 0), (2, 2)]


def alike(count: int, dim: int, seed: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 patches of two images: some the same but for noise, some twice the same, the rest at random."""
    generator = torch.Generator().manual_seed(seed)
    patches0 = torch.randn(count, dim, generator=generator)
    patches1 = torch.randn(count, dim, generator=generator)
    patches1[: count // 2] = patches0[: count // 2] + noise * patches1[: count // 2]
    patches1[count // 4] = patches1[count // 4 + 1]
    patches0[-1] = patches0[3]
    return torch.nn.functional.normalize(patches0, dim=1), torch.nn.functional.normalize(patches1, dim=1)


@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("dim", [8, 16, 300])
def test_screening_finds_the_same_as_the_float_product(noise: float, dim: int) -> None:
    for seed in range(4):
        patches0, patches1 = alike(90, dim, seed, noise)
        expected = oracle.mutual_nearest_neighbours(patches0.double().numpy(), patches1.double().numpy())
        assert pairs_of(neighbours._screened(patches0, patches1)) == expected
        assert pairs_of(mutual_nearest_neighbours(patches0, patches1)) == expected


def test_screening_looks_closer_where_rounding_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches that differ by less than the rounding to eight bits are told apart by exact products only."""
    base = random_patches(20, 64, 0).float()
    patches0 = torch.nn.functional.normalize(base.repeat_interleave(3, dim=0) + 1e-2 * random_patches(60, 64, 1), dim=1)
    patches1 = patches0.flip(0).contiguous()
    asked = []
    original = torch.linalg.vecdot
    monkeypatch.setattr(torch.linalg, "vecdot", lambda a, b: asked.append(len(a)) or original(a, b))
    expected = oracle.mutual_nearest_neighbours(patches0.double().numpy(), patches1.double().numpy())
    assert len(expected) == 60
    assert pairs_of(neighbours._screened(patches0.float(), patches1.float())) == expected
    assert sum(asked) >= 120


def test_a_blank_image_is_not_screened_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.linalg, "vecdot", lambda *_: pytest.fail("asked for exact products"))
    blank = torch.nn.functional.normalize(torch.ones(80, 12), dim=1)
    assert pairs_of(neighbours._screened(blank, blank)) == [(0, 0)]


@pytest.mark.parametrize("integers", [True, False])
def test_int8_finds_the_neighbours_of_the_rounded_descriptors(integers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if integers and not neighbours.has_integer_products():
        pytest.skip("this CPU has no fast integer products")
    monkeypatch.setattr(neighbours, "has_integer_products", lambda: integers)
    for seed in range(4):
        patches0, patches1 = (quantise(patches) for patches in alike(70, 33, seed, 0.5))
        expected = oracle.mutual_nearest_neighbours(patches0.double().numpy(), patches1.double().numpy())
        assert pairs_of(mutual_nearest_neighbours(patches0, patches1)) == expected
        assert pairs_of(batched_neighbours(patches0, patches1[None])[0]) == expected


def test_a_float_image_meets_an_int8_one_rounded() -> None:
    patches0, patches1 = alike(40, 20, 0, 0.5)
    expected = pairs_of(mutual_nearest_neighbours(quantise(patches0), quantise(patches1)))
    assert pairs_of(mutual_nearest_neighbours(patches0, quantise(patches1))) == expected
    assert pairs_of(mutual_nearest_neighbours(quantise(patches0).clone(), patches1.half())) == expected


def test_float16_is_compared_exactly() -> None:
    patches0, patches1 = (patches.half() for patches in alike(40, 20, 0, 0.5))
    expected = oracle.mutual_nearest_neighbours(patches0.double().numpy(), patches1.double().numpy())
    assert pairs_of(mutual_nearest_neighbours(patches0, patches1)) == expected


def test_large_images_are_screened_and_small_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "has_integer_products", lambda: True)
    screened = []
    monkeypatch.setattr(neighbours, "_screened", lambda a, b, rounded: screened.append(len(a)))
    monkeypatch.setattr(neighbours, "SCREENED_PRODUCTS", 40 * 40 * 20)
    mutual_nearest_neighbours(*alike(40, 20, 0, 0.5))
    mutual_nearest_neighbours(*alike(40, 19, 0, 0.5))
    assert screened == [40]


def test_rounding_error_stays_within_what_screening_allows_for() -> None:
    patches0, patches1 = alike(200, 512, 0, 1.0)
    rounded0, step0 = neighbours._rounded(patches0)
    rounded1, step1 = neighbours._rounded(patches1)
    assert rounded0.abs().max() == 127
    error = rounded0.double() @ rounded1.double().T * step0 * step1 - patches0.double() @ patches1.double().T
    deviation = np.sqrt((step0**2 + step1**2) / 12)
    assert 0.9 * deviation < error.std() < 1.1 * deviation
    assert error.abs().max() < 0.6 * neighbours.SIGMAS * deviation


def test_the_query_is_rounded_once_for_all_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "SCREENED_PRODUCTS", 0)
    monkeypatch.setattr(neighbours, "has_integer_products", lambda: True)
    rounded: list[int] = []
    monkeypatch.setattr(neighbours, "_rounded", lambda p, round=neighbours._rounded: rounded.append(len(p)) or round(p))
    query, candidate = alike(40, 20, 0, 0.5)
    found = neighbours.neighbours_of_many(query.half(), [candidate[:30], candidate[:20].half()])
    assert rounded == [40, 30, 20]
    expected = oracle.mutual_nearest_neighbours(query.half().double().numpy(), candidate[:30].double().numpy())
    assert pairs_of(found[0]) == expected
