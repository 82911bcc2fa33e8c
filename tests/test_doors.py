"""The doors of the public functions: whatever a caller holds is used, or refused by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from PIL import ExifTags, Image

import patchvlad as pv
from patchvlad.errors import ConfigError, ImageError, MismatchError, StoreError
from patchvlad.features.extraction import extract
from patchvlad.features.global_descriptors import GlobalDescriptors
from patchvlad.features.store import FeatureStore
from patchvlad.model.inputs import batch_of
from patchvlad.search.indexes.flat import FlatIndex
from patchvlad.search.matchers.base import Match

RGB = np.random.default_rng(3).integers(0, 256, (40, 56, 3), dtype=np.uint8)
GREY, ALPHA = RGB[..., 0], RGB[..., 2]
UNIT = torch.from_numpy(RGB).permute(2, 0, 1)[None].float() / 255
SIZE = (32, 48)


@pytest.fixture(scope="module")
def model() -> pv.PatchNetVLAD:
    return toy.model()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("doors")
    (folder / "photos").mkdir()
    for name in range(3):
        Image.fromarray(np.roll(RGB, 9 * name, axis=1)).save(folder / "photos" / f"{name}.png")
    return extract(toy.model(), pv.ImageList.read(folder / "photos"), folder / "store", SIZE)


# --- pictures -------------------------------------------------------------------------------------------------------


def turned() -> Image.Image:
    """A picture of PIL on its side, whose EXIF says so."""
    picture = Image.fromarray(np.ascontiguousarray(np.rot90(RGB)))
    picture.getexif()[ExifTags.Base.Orientation] = 6
    return picture


GREYS = np.dstack([GREY] * 3)
USED = {
    "RGB": ([RGB], RGB),
    "grey": ([GREY], GREYS),
    "grey with a channel": ([GREY[..., None]], GREYS),
    "RGBA": ([np.dstack([RGB, ALPHA])], RGB),
    "a tuple": ((RGB,), RGB),
    "a batch in one array": (RGB[None], RGB),
    "greys in one array of four dimensions": (GREY[None, ..., None], GREYS),
    "floats in [0, 1]": ([RGB / 255], RGB),
    "float32 in [0, 1]": ([(RGB / 255).astype(np.float32)], RGB),
    "a view with strides": ([np.flip(RGB, 1)], RGB[:, ::-1]),
    "PIL": ([Image.fromarray(RGB)], RGB),
    "PIL, grey": ([Image.fromarray(GREY)], GREYS),
    "PIL, RGBA": ([Image.fromarray(np.dstack([RGB, ALPHA]))], RGB),
    "PIL, turned": ([turned()], RGB),
    "a tensor": (UNIT, RGB),
    "a tensor of doubles": (UNIT.double(), RGB),
    "a tensor of bytes": (torch.from_numpy(RGB).permute(2, 0, 1)[None], RGB),
    "a grey tensor": (UNIT[:, :1], GREYS),
    "a tensor with transparency": (torch.cat([UNIT, UNIT[:, :1]], dim=1), RGB),
}


@pytest.mark.parametrize("name", USED)
def test_pictures_that_are_meant_are_used(name: str, model: pv.PatchNetVLAD) -> None:
    given, expected = USED[name]
    batch = batch_of(given, None)
    np.testing.assert_allclose(batch[0].permute(1, 2, 0).numpy() * 255, expected, atol=1e-3)
    (found,), (same,) = model.describe(given), model.describe([np.ascontiguousarray(expected)])
    torch.testing.assert_close(found.global_, same.global_, atol=1e-4, rtol=0)
    assert model.describe(given, SIZE)[0].grids == model.describe([RGB], SIZE)[0].grids


REFUSED = {
    "one array": (RGB, "not a batch: give a list"),
    "one grey array": (GREY, "not a batch: give a list"),
    "one picture of PIL": (Image.fromarray(RGB), "not a batch: give a list"),
    "a path": ("a.jpg", "not a batch: give a list"),
    "a Path": (Path("a.jpg"), "not a batch: give a list"),
    "paths": (["a.jpg"], "picture 0 is a str"),
    "nothing": (None, "not a batch"),
    "a number": (3, "not a batch"),
    "a picture and nothing": ([RGB, None], "picture 1 is a NoneType"),
    "tensors": ([UNIT[0]], "picture 0 is a Tensor"),
    "channels first": ([RGB.transpose(2, 0, 1)], r"picture 0 is an array of shape \(3, 40, 56\)"),
    "channels first in one array": (RGB.transpose(2, 0, 1)[None], r"shape \(3, 40, 56\)"),
    "two channels": ([RGB[..., :2]], "shape"),
    "five dimensions": (RGB[None, None], "shape"),
    "no pixels": ([RGB[:0]], "shape"),
    "16 bits": ([GREY.astype(np.uint16)], "array of uint16.*read_image"),
    "int64": ([RGB.astype(np.int64)], "array of int64"),
    "bool": ([GREY > 9], "array of bool"),
    "text": ([np.array(["a"])], "shape"),
    "objects": ([np.full((9, 9, 3), None)], "array of object"),
    "floats up to 255": ([RGB.astype(np.float32)], "from 0 to 255.*divide by 255"),
    "negative floats": ([RGB / 255.0 - 0.5], "normalised"),
    "floats with NaN": ([np.where(RGB == 7, np.nan, RGB / 255)], "NaN"),
    "floats with infinity": ([np.where(RGB == 7, np.inf, RGB / 255)], "infinity"),
    "PIL, 16 bits": ([Image.fromarray(GREY.astype(np.uint16))], "more than 8 bits"),
    "PIL, floats": ([Image.fromarray(GREY.astype(np.float32))], "more than 8 bits"),
    "a tensor up to 255": (UNIT * 255, "from 0 to 255.*divide by 255"),
    "a normalised tensor": ((UNIT - 0.45) / 0.22, "before it was normalised"),
    "a tensor with NaN": (UNIT.where(UNIT < 0.9, torch.nan), "NaN"),
    "a tensor of one picture": (UNIT[0], r"tensor of shape \(3, 40, 56\)"),
    "a tensor with channels last": (UNIT.permute(0, 2, 3, 1), "tensor of shape"),
    "a tensor of int64": ((UNIT * 255).long(), "tensor of int64"),
    "a complex tensor": (UNIT.to(torch.complex64), "tensor of complex64"),
    "a sparse tensor": (UNIT.to_sparse(), "layout torch.sparse_coo"),
    "a tensor without pixels": (UNIT[:, :, :0], "no pixel"),
    "pictures of two sizes": ([RGB, RGB[:30]], "differ in size"),
    "a picture smaller than a cell": ([RGB[:9, :9]], "too small for toy: 16 at least"),
    "a picture of one pixel": ([RGB[:1, :1]], "too small"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_pictures_that_are_not_meant_are_refused_by_name(name: str, model: pv.PatchNetVLAD) -> None:
    given, said = REFUSED[name]
    with pytest.raises(ConfigError, match=said):
        model.describe(given)


@pytest.mark.parametrize("size", [0, (0, 9), (-1, 9), (9,), (9, 9, 9), "ab", (9.5, 9), (None, 9), [32, 0]])
def test_sizes_that_cannot_be_are_refused(size, model: pv.PatchNetVLAD) -> None:
    for given in ([RGB], UNIT):
        with pytest.raises(ConfigError, match="size"):
            model.describe(given, size)


def test_an_empty_batch_has_no_descriptors(model: pv.PatchNetVLAD) -> None:
    for given in ([], (), UNIT[:0], RGB[None][:0]):
        assert model.describe(given) == [] and model.describe(given, SIZE) == []


def test_a_picture_of_pil_that_cannot_be_decoded_is_named(tmp_path: Path, model: pv.PatchNetVLAD) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "a.png") as picture, pytest.raises(ImageError, match="picture 0 cannot be decoded"):
        model.describe([picture])


# --- descriptors ----------------------------------------------------------------------------------------------------

MATCHERS = [pv.match_ransac, pv.match_rapid, pv.match_voting]


@pytest.mark.parametrize("matcher", MATCHERS)
def test_matchers_refuse_what_are_no_descriptors(matcher: Callable, model: pv.PatchNetVLAD) -> None:
    (right,) = model.describe([RGB], SIZE)
    patches = right.patches
    wrong = {
        "image 1 is a NoneType": None,
        "image 1 is a ndarray": RGB,
        "image 1 is a list": [right],
        "a ndarray, not a tensor": replace(right, patches={p: v.numpy() for p, v in patches.items()}),
        "their grid has 6": replace(right, patches={p: v[:-1] for p, v in patches.items()}),
        r"are \(6, 7, 1\)": replace(right, patches={p: v[..., None] for p, v in patches.items()}),
        "size 1 are a NoneType": replace(right, patches={}),
        r"not all finite numbers \(torch.float32\)": replace(
            right, patches={p: v.clone().index_fill_(0, torch.tensor(0), torch.nan) for p, v in patches.items()}
        ),
        r"not all finite numbers \(torch.int64\)": replace(right, patches={p: v.long() for p, v in patches.items()}),
    }
    for said, other in wrong.items():
        with pytest.raises(ConfigError, match=said):
            matcher(right, other)
        with pytest.raises(ConfigError, match=said.replace("image 1", "image 0")):
            matcher(other, right)
    with pytest.raises(MismatchError, match=r"\[5, 7\] components do not belong together"):
        matcher(right, replace(right, patches={p: v[:, :5] for p, v in patches.items()}))
    assert matcher(right, right).score > 0


def descriptors(count: int, dim: int = 4, **changes) -> GlobalDescriptors:
    values = np.random.default_rng(count).normal(size=(count, dim)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return replace(GlobalDescriptors(tuple(f"{row}.jpg" for row in range(count)), values), **changes)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1.0, 0.0]] * 3, "not list"),
        (torch.ones(3, 2), "not Tensor"),
        (np.ones(3), r"not float64 \(3,\)"),
        (np.ones((3, 2, 1)), "not float64"),
        (np.ones((3, 0)), "not float64"),
        (np.ones((3, 2), dtype=np.int64), "not int64"),
        (np.ones((3, 2), dtype=np.complex64), "not complex64"),
        (np.ones((2, 2)), "2 descriptors for 3 names"),
        (np.array([[1, 0], [np.nan, 0], [0, 1]]), r"descriptor of 1\.jpg holds NaN or infinity"),
        (np.array([[1, 0], [0, 1], [np.inf, 0]]), r"descriptor of 2\.jpg holds NaN or infinity"),
        (np.array([[1, 0], [np.inf, -np.inf], [0, 1]]), r"descriptor of 1\.jpg holds NaN or infinity"),
    ],
)
def test_global_descriptors_are_checked_where_they_are_made(values, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GlobalDescriptors(("0.jpg", "1.jpg", "2.jpg"), values)


def test_retrieval_refuses_what_cannot_be_searched(store: FeatureStore) -> None:
    right = descriptors(5)
    for wrong in (right.global_, [right], None, "store", store.folder):
        with pytest.raises(ConfigError, match="give a FeatureStore, or GlobalDescriptors"):
            pv.retrieve(wrong, right)
        with pytest.raises(ConfigError, match="the database are a"):
            pv.retrieve(right, wrong)
    for k in (0, -1, 2.5, None, "3"):
        with pytest.raises(ConfigError, match="candidates: ask for a whole number from 1"):
            pv.retrieve(right, right, k)
    for groups in (np.zeros(4), [0, 1], np.full(5, 0.5)):
        with pytest.raises(ConfigError, match="give one whole number for each of 5 images"):
            pv.retrieve(right, right, groups=groups)
    with pytest.raises(MismatchError, match="4 and 6 components"):
        pv.retrieve(right, descriptors(5, 6))
    with pytest.raises(ConfigError, match="unreadable rows"):
        descriptors(5, unreadable=(5,))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("queries", [1, 9])
def test_a_damaged_row_of_a_store_is_never_ranked(value: float, queries: int) -> None:
    database, asked = descriptors(20).global_.copy(), descriptors(queries).global_.copy()
    database[13, 2] = value
    with pytest.raises(StoreError, match="row 13 of the database holds NaN or infinity"):
        FlatIndex(database, np.zeros(0, dtype=np.int64)).search(asked, 3)
    asked[queries - 1, 0] = value
    with pytest.raises(StoreError, match=f"row {queries - 1} of the queries holds NaN or infinity"):
        FlatIndex(descriptors(20).global_, np.zeros(0, dtype=np.int64)).search(asked, 3)


# --- rankings -------------------------------------------------------------------------------------------------------

NAMES = ("q.jpg",), ("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    ("indices", "scores", "confidences"),
    [
        ([0, 1], [0.0, 1.0], None),
        ([[0, 1], [0, 1]], [[0.0, 1.0]] * 2, None),
        ([[0.0, 1.0]], [[1.0, 0.0]], None),
        ([[0, 2]], [[1.0, 0.0]], None),
        ([[-2, 0]], [[1.0, 0.0]], None),
        ([[0, 1]], [[1.0]], None),
        ([[0, 1]], [["a", "b"]], None),
        ([[0, 1]], [[1.0, 0.0]], [[1.0]]),
    ],
)
def test_rankings_that_cannot_be_are_refused(indices, scores, confidences) -> None:
    confidences = None if confidences is None else np.array(confidences)
    with pytest.raises(ConfigError):
        pv.Ranking(np.array(indices), np.array(scores), *NAMES, confidences)


def test_reranking_refuses_numbers_that_cannot_be(store: FeatureStore) -> None:
    candidates = pv.retrieve(store, store, k=2)
    for wrong in (None, candidates.indices, "r"):
        with pytest.raises(ConfigError, match="candidates are a Ranking"):
            pv.rerank(wrong, store, store)
    with pytest.raises(ConfigError, match="read from a FeatureStore, not from GlobalDescriptors"):
        pv.rerank(candidates, store, descriptors(3))
    with pytest.raises(ConfigError, match="NaN or infinite: retrieve again"):
        pv.rerank(replace(candidates, scores=np.full_like(candidates.scores, np.nan)), store, store)
    for name, value in (("depth", -1), ("time_budget", -0.5), ("time_budget", float("nan"))):
        with pytest.raises(ConfigError, match=name):
            pv.rerank(candidates, store, store, **{name: value})
    with pytest.raises(ConfigError, match="each must be a finite number"):
        pv.rerank(candidates, store, store, weights=[float("nan"), 1])
    matcher = lambda a, b: Match({1: float("nan"), 2: 0.0}, {}, {})  # noqa: E731
    with pytest.raises(ConfigError, match=r"the matcher gave 0\.png a score that is NaN"):
        pv.rerank(candidates, store, store, matcher)


def test_recall_refuses_what_cannot_be_counted(store: FeatureStore) -> None:
    ranking = pv.retrieve(store, store, k=2)
    truth = pv.GroundTruth((np.array([0]), np.array([1]), np.array([2])), 3, "test")
    assert pv.recall(ranking, truth, [1])[1] == 1
    for ks in ([0], [-1], [1.5], ["1"], [1, None]):
        with pytest.raises(ConfigError, match="each k is a whole number from 1"):
            pv.recall(ranking, truth, ks)
    for pair in ((ranking.indices, truth), (ranking, truth.positives), (None, None)):
        with pytest.raises(ConfigError, match="recall is of a Ranking and a GroundTruth"):
            pv.recall(*pair)


@pytest.mark.parametrize(
    "changes", [{"clusters": 0}, {"components": -1}, {"size": (0, 9)}, {"most_images": 0}, {"clusters": 1.5}]
)
def test_fit_refuses_numbers_that_cannot_be(tmp_path: Path, changes: dict) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(ConfigError):
        pv.fit(toy.backbone(), pv.ImageList.read(tmp_path), **changes)
    with pytest.raises(ConfigError, match="ImageList"):
        pv.fit(toy.backbone(), tmp_path)
