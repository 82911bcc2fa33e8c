"""PatchNetVLAD: shapes, poolings, batches and what is refused."""

import numpy as np
import oracle
import pytest
import torch
from torch import nn

from patchvlad.errors import ConfigError
from patchvlad.images.pixels import resize
from patchvlad.model.inputs import stack
from patchvlad.model.network import PatchNetVLAD
from patchvlad.model.vlad import VLAD
from patchvlad.model.whitening import Whitening


class Tiny(nn.Module):
    """One convolution, 5 channels, stride 16."""

    name, dim, stride = "tiny", 5, 16

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 16, 16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images)


def make(pooling: str = "patchnetvlad", components: int = 6, **options) -> PatchNetVLAD:
    torch.manual_seed(0)
    vlad = None
    if "netvlad" in pooling:
        vlad = VLAD(3, 5)
        nn.init.normal_(vlad.centroids)
        nn.init.normal_(vlad.assignment.weight, std=4)
    whitening = None
    if components:
        whitening = Whitening(15 if vlad else 5, components)
        nn.init.normal_(whitening.weight)
        nn.init.normal_(whitening.bias)
    return PatchNetVLAD(Tiny(), vlad, whitening, pooling, **options).eval()


def test_descriptors_equal_the_oracle_end_to_end() -> None:
    model = make(patch_sizes=(1, 2, 3), patch_strides=(1, 1, 2)).double()
    images = torch.rand(2, 3, 80, 64, dtype=torch.float64)
    described = model.describe(images)
    feature_maps = model.backbone(images).detach().numpy()
    weight, centroids = model.vlad.assignment.weight.detach().numpy(), model.vlad.centroids.detach().numpy()
    matrix, bias = model.whitening.weight.detach().numpy(), model.whitening.bias.detach().numpy()
    for found, feature_map in zip(described, feature_maps, strict=True):
        expected = oracle.vlad(list(feature_map.reshape(5, -1).T), weight, centroids)
        np.testing.assert_allclose(found.global_, oracle.whiten(expected, matrix, bias), atol=1e-12)
        for size, step in ((1, 1), (2, 1), (3, 2)):
            windows = oracle.patch_vlads(feature_map, size, step, weight, centroids)
            assert len(windows) == len(found.grids[size])
            for patch, window in zip(found.patches[size], windows, strict=True):
                np.testing.assert_allclose(patch, oracle.whiten(window, matrix, bias), atol=1e-12)


def test_patches_of_leading_components_leave_global_descriptors_whole() -> None:
    model, images = make(patch_sizes=(1, 2)), torch.rand(1, 3, 48, 64)
    (whole,) = model.describe(images)
    model.set_patches((1, 2), None, 4)
    (cut,) = model.describe(images)
    assert (model.dim, model.patch_dim) == (6, 4)
    assert torch.equal(cut.global_, whole.global_)
    for size in (1, 2):
        expected = nn.functional.normalize(whole.patches[size][:, :4], dim=1)
        assert torch.allclose(cut.patches[size], expected, atol=1e-6)


@pytest.mark.parametrize("components", [0, 7])
def test_patch_components_that_are_not_there_are_refused(components: int) -> None:
    with pytest.raises(ConfigError, match=f"{components} patch components.*1 to 6"):
        make().set_patches((2,), (1,), components)
    with pytest.raises(ConfigError, match="components of a whitening"):
        make(components=0).set_patches((2,), (1,), 3)


def test_bfloat16_describes_alike_and_is_not_float32() -> None:
    model, images = make(patch_sizes=(1, 2)), torch.rand(2, 3, 48, 64)
    exact = model.describe(images)
    model.precision = torch.bfloat16
    for one, other in zip(exact, model.describe(images), strict=True):
        assert other.global_.dtype == other.patches[1].dtype == torch.float32
        assert not torch.equal(one.patches[1], other.patches[1])
        assert nn.functional.cosine_similarity(one.global_, other.global_, dim=0) > 0.99
        assert nn.functional.cosine_similarity(one.patches[2], other.patches[2]).mean() > 0.98


@pytest.mark.parametrize("pooling", ["patchnetvlad", "netvlad", "max", "avg"])
@pytest.mark.parametrize("components", [0, 4])
def test_every_pooling_makes_unit_descriptors(pooling: str, components: int) -> None:
    model = make(pooling, components, patch_sizes=(2,))
    (found,) = model.describe([np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)])
    assert found.global_.shape == (model.dim,)
    assert model.dim == (components or (15 if model.vlad else 5))
    assert float(found.global_.norm()) == pytest.approx(1, abs=1e-5)
    if pooling == "patchnetvlad":
        assert found.patches[2].shape == (6, model.dim)
        torch.testing.assert_close(found.patches[2].norm(dim=1), torch.ones(6))
    else:
        assert found.patches == found.grids == {}


def test_max_and_avg_pool_the_feature_map() -> None:
    images = torch.rand(1, 3, 48, 64)
    for pooling, reduce in (("max", lambda m: m.amax(1)), ("avg", lambda m: m.mean(1))):
        model = make(pooling, 0)
        pooled = reduce(model.backbone(images)[0].flatten(1))
        torch.testing.assert_close(model.describe(images)[0].global_, pooled / pooled.norm())


def test_a_batch_equals_its_images_one_at_a_time() -> None:
    model = make(patch_sizes=(2, 3))
    images = torch.rand(3, 3, 64, 80)
    for alone, image in zip(model.describe(images), images, strict=True):
        (found,) = model.describe(image[None])
        torch.testing.assert_close(found.global_, alone.global_)
        for size in (2, 3):
            torch.testing.assert_close(found.patches[size], alone.patches[size])


def test_any_size_that_leaves_room_for_the_largest_patch_is_described() -> None:
    model = make(patch_sizes=(2, 3))
    (found,) = model.describe([np.zeros((48, 48, 3), np.uint8)])
    assert [len(found.patches[size]) for size in (2, 3)] == [4, 1]
    with pytest.raises(ConfigError, match="at least 48 pixels"):
        model.describe([np.zeros((47, 48, 3), np.uint8)])


def test_arrays_and_tensors_agree_and_sizes_are_kept_or_changed() -> None:
    model = make(patch_sizes=(2,))
    array = np.random.default_rng(1).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    (from_array,) = model.describe([array], size=(64, 96))
    (from_tensor,) = model.describe(stack([array], (64, 96)))
    assert torch.equal(from_array.patches[2], from_tensor.patches[2])
    assert len(from_array.grids[2]) == 3 * 5
    with pytest.raises(ConfigError, match="differ in size"):
        model.describe([array, array[:40]])
    assert len(model.describe([array, array[:40]], size=(32, 32))) == 2


def test_resizing_is_antialiased_and_stacking_scales_to_one() -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = np.repeat(checkers[..., None], 3, axis=2).astype(np.uint8)
    assert np.ptp(resize(image, (16, 16)).astype(int)) <= 2  # without antialiasing it would be black or white
    assert resize(image, (64, 64)) is image
    batch = stack([np.full((2, 2, 3), 255, np.uint8)])
    assert batch.shape == (1, 3, 2, 2)
    assert batch.max() == 1


def test_describing_leaves_training_mode_as_it_was_and_keeps_no_gradients() -> None:
    model = make(patch_sizes=(2,)).train()
    (found,) = model.describe(torch.rand(1, 3, 32, 32))
    assert model.training
    assert not found.global_.requires_grad


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch_sizes": (2, 2)}, "name one size twice"),
        ({"patch_sizes": (2, 5), "patch_strides": (1,)}, "2 patch sizes"),
        ({"patch_sizes": ()}, "at least one patch size"),
        ({"patch_sizes": (0,)}, "at least 1 cell"),
        ({"pooling": "gem"}, "patchnetvlad, netvlad, max, avg"),
    ],
)
def test_impossible_settings_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(**options)


def test_pooling_and_vlad_layer_must_go_together() -> None:
    with pytest.raises(ConfigError, match="with a VLAD layer"):
        PatchNetVLAD(Tiny(), None, None, "netvlad")
    with pytest.raises(ConfigError, match="without a VLAD layer"):
        PatchNetVLAD(Tiny(), VLAD(2, 5), None, "max")


def test_gradients_flow_through_image_and_windows() -> None:
    model = make(patch_sizes=(2,), components=3).double()
    images = torch.rand(1, 3, 32, 48, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: (model(x)[0], model(x)[1][2]), images, atol=1e-4, fast_mode=True)
