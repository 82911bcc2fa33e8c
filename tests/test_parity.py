"""Agreement with the reference implementation: golden numbers in ../shared/parity, made on ../shared/data/toy.

Patch descriptors of the reference are partly rounding noise: they are compared by mean cosine, and ours with float64.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import patchvlad as pv
from patchvlad.features.quantisation import quantise
from patchvlad.model.devices import usable_precision
from patchvlad.model.inputs import stack
from patchvlad.model.network import Descriptors
from patchvlad.search import neighbours
from patchvlad.search.neighbours import mutual_nearest_neighbours
from patchvlad.search.registry import MATCHERS
from patchvlad.search.reranking import fuse

pytestmark = pytest.mark.slow

KEPT = (0, 1, 5, 6, 7, 8)  # images whose golden patch descriptors are kept: queries 0 and 1, database 0 to 3
WEIGHTS = (0.45, 0.15, 0.4)


@pytest.fixture(scope="module")
def golden(parity: Path) -> dict[str, np.ndarray]:
    return dict(np.load(parity / "golden_128.npz"))


@pytest.fixture(scope="module")
def model(parity_checkpoints: Path):
    return pv.load_model(parity_checkpoints / "imagenet_WPCA128.pth.tar", patch_sizes=(2, 5, 8), components=128)


@pytest.fixture(scope="module")
def photos(golden, shared_data: Path) -> list[np.ndarray]:
    return [pv.read_image(shared_data / "toy" / name) for name in (*golden["queries"], *golden["database"])]


@pytest.fixture(scope="module")
def described(model, photos) -> list[Descriptors]:
    return [model.describe([photo], (480, 640))[0] for photo in photos]


def golden_descriptors(golden, image: int, grids) -> Descriptors:
    patches = {size: torch.from_numpy(golden[f"patches_{size}_of_{image}"]) for size in grids}
    return Descriptors(torch.from_numpy(golden["global_descriptors"][image]), patches, grids)


def test_global_descriptors_agree_within_1e_5(described, golden) -> None:
    found = np.stack([image.global_ for image in described])
    assert np.abs(found - golden["global_descriptors"]).max() < 1e-5


def test_global_descriptors_of_the_512_component_model_agree(parity: Path, parity_checkpoints: Path, photos) -> None:
    golden = np.load(parity / "golden_512.npz")
    model = pv.load_model(parity_checkpoints / "imagenet_WPCA512.pth.tar", patch_sizes=(5,), components=512)
    for image in (0, 5):
        (found,) = model.describe([photos[image]], (480, 640))
        assert np.abs(found.global_.numpy() - golden["global_descriptors"][image]).max() < 1e-5
        cosines = (found.patches[5].numpy() * golden[f"patches_5_of_{image}"]).sum(axis=1)
        assert cosines.mean() > 0.99


def test_patch_centres_agree(described, golden) -> None:
    for size in (2, 5, 8):
        assert np.array_equal(described[0].grids[size].points.T, golden[f"keypoints_{size}"])


@pytest.mark.parametrize("image", [0, 8])
def test_patch_descriptors_agree_with_float64(model, photos, described, image: int) -> None:
    exact = copy.deepcopy(model).double()
    batch = stack([photos[image]], (480, 640))
    with torch.inference_mode():
        feature_map = model.backbone(batch)
        same_map = exact.describe_map(feature_map.double())[1]
        from_pixels = exact(batch.double())[1]
    for size in (2, 5, 8):
        assert (described[image].patches[size] - same_map[size][0]).abs().max() < 1e-5
        assert (described[image].patches[size] - from_pixels[size][0]).abs().max() < 1e-4


@pytest.mark.parametrize("image", [0, 8])
def test_bfloat16_descriptors_stay_within_a_cosine_of_0_998(model, photos, described, image: int) -> None:
    if usable_precision("bfloat16", "cpu") != torch.bfloat16:
        pytest.skip("this CPU is no faster in bfloat16, so that the fast presets stay with float32")
    fast = copy.deepcopy(model)
    fast.precision = torch.bfloat16
    (found,) = fast.describe([photos[image]], (480, 640))
    assert float(found.global_ @ described[image].global_) > 0.998
    for size, patches in found.patches.items():
        assert (patches * described[image].patches[size]).sum(dim=1).mean() > 0.998, size


def test_screened_neighbours_are_those_of_the_plain_product(described) -> None:
    for size in (2, 5, 8):
        patches0, patches1 = described[0].patches[size], described[7].patches[size]
        screened = neighbours._screened(patches0, patches1)
        plain = neighbours._mutual((patches0 @ patches1.T).numpy())
        assert [rows.tolist() for rows in screened] == [rows.tolist() for rows in plain]


def test_int8_descriptors_score_almost_alike(described) -> None:
    """Rounding to one byte moves few matches, the more the fewer components there are (here 128)."""
    small = [
        Descriptors(image.global_, {size: quantise(values) for size, values in image.patches.items()}, image.grids)
        for image in described
    ]
    for matcher in (MATCHERS["rapid"], MATCHERS["voting"]):
        exact, rounded = (
            np.concatenate([matcher.score_many(images[query], images[5:]) for query in range(4)])
            for images in (described, small)
        )
        for column in range(3):
            assert np.corrcoef(exact[:, column], rounded[:, column])[0, 1] > 0.9


def test_patch_descriptors_agree_with_the_golden_ones_by_mean_cosine(described, golden) -> None:
    """Bounds by measurement: exact float64 arithmetic itself has 0.947, 0.994 and 0.999 on average over these."""
    for size, least in ((2, 0.94), (5, 0.99), (8, 0.999)):
        cosines = [
            float((described[image].patches[size].numpy() * golden[f"patches_{size}_of_{image}"]).sum(axis=1).mean())
            for image in KEPT
        ]
        assert np.mean(cosines) > least, (size, cosines)


@pytest.mark.parametrize("name", ["ransac", "rapid"])
def test_matchers_on_golden_descriptors_give_the_golden_scores(described, golden, name: str) -> None:
    grids = described[0].grids
    for query in (0, 1):
        for candidate in range(4):
            match = MATCHERS[name](
                golden_descriptors(golden, query, grids), golden_descriptors(golden, 5 + candidate, grids)
            )
            expected = golden[f"{name}_scores"][query, candidate]
            found = list(match.scores.values())
            if name == "ransac":
                assert found == pytest.approx(expected, abs=1e-12)
            else:
                assert found == pytest.approx(expected, rel=1e-3)


def test_mutual_matches_on_golden_descriptors_are_those_of_the_references_distances(golden) -> None:
    """The reference takes minima of sqrt(2 - 2 x.y + 1e-9); the maxima of x.y are the same matches."""
    patches0, patches1 = golden["patches_5_of_0"].astype(np.float64), golden["patches_5_of_6"].astype(np.float64)
    distances = np.sqrt(2 - 2 * patches0 @ patches1.T + 1e-9)
    nearest0, nearest1 = distances.argmin(axis=0), distances.argmin(axis=1)
    expected = np.flatnonzero(nearest1[nearest0] == np.arange(len(nearest0)))
    rows0, rows1 = mutual_nearest_neighbours(torch.from_numpy(patches0), torch.from_numpy(patches1))
    assert rows1.tolist() == expected.tolist()
    assert rows0.tolist() == nearest0[expected].tolist()


@pytest.mark.parametrize("name", ["ransac", "rapid"])
def test_fusion_of_golden_scores_gives_the_golden_ranking(golden, name: str) -> None:
    for query in range(5):
        candidates = golden["candidates"][query]
        scores = golden[f"{name}_scores"][query][candidates]
        order = candidates[np.argsort(-fuse(scores, WEIGHTS), kind="stable")]
        assert order.tolist() == golden[f"{name}_ranking"][query].tolist()


def test_scores_correlate_end_to_end_and_the_sure_queries_keep_their_first_place(described, golden) -> None:
    """The golden scores carry the reference's rounding noise; RANSAC on a handful of matches amplifies it most."""
    found = {}
    for name, least in (("ransac", (0.9, 0.88, 0.85)), ("rapid", (0.88, 0.94, 0.97))):
        found[name] = np.array(
            [
                [list(MATCHERS[name](described[query], described[5 + i]).scores.values()) for i in range(17)]
                for query in range(5)
            ]
        )
        for column, bound in enumerate(least):
            pair = found[name][..., column].ravel(), golden[f"{name}_scores"][..., column].ravel()
            assert np.corrcoef(*pair)[0, 1] >= bound, (name, column)
        fused = [[fuse(scores, WEIGHTS) for scores in all_] for all_ in (found[name], golden[f"{name}_scores"])]
        assert np.corrcoef(np.ravel(fused[0]), np.ravel(fused[1]))[0, 1] >= 0.93, name
    for query in (0, 2):
        assert fuse(found["ransac"][query], WEIGHTS).argmax() == golden["ransac_ranking"][query][0]
