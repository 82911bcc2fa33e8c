"""Damage of stores: whatever happens to the bytes of one, a search ends in a named error or in the same answer."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image

from patchvlad.errors import ModelError, PatchvladError, StoreError
from patchvlad.features.extraction import extract
from patchvlad.features.manifest import Manifest
from patchvlad.features.store import FeatureStore
from patchvlad.features.store_writing import open_writer
from patchvlad.images.lists import ImageList
from patchvlad.search.matchers.rapid import match_rapid
from patchvlad.search.reranking import rerank
from patchvlad.search.retrieval import retrieve

SIZE = (32, 48)
DTYPES = ("float32", "float16", "int8")


def photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> ImageList:
    root = tmp_path_factory.mktemp("damage") / "photos"
    for seed in range(6):
        photo(root / f"{seed}.png", seed)
    return ImageList.read(root)


@pytest.fixture(scope="module")
def stores(photos: ImageList) -> Path:
    """A folder with a store per dtype."""
    folder = photos.root.parent / "stores"
    for dtype in DTYPES:
        extract(toy.model(), photos, folder / dtype, SIZE, dtype=dtype)
    return folder


@pytest.fixture
def copy(tmp_path: Path, stores: Path) -> Path:
    return Path(shutil.copytree(stores / "float32", tmp_path / "copy"))


def answer(queries: Path, database: Path) -> tuple[bytes, ...]:
    """All that a search finds."""
    stores = FeatureStore(queries), FeatureStore(database)
    found = rerank(retrieve(*stores, 4), *stores, match_rapid)
    return found.indices.tobytes(), found.scores.tobytes(), str((found.query_names, found.database_names)).encode()


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


# --- rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["global.npy", "patches_1.npy", "patches_2.npy"])
def test_a_changed_bit_is_named_with_its_photo_where_it_is_read_and_nowhere_else(
    tmp_path: Path, stores: Path, name: str, dtype: str
) -> None:
    folder = Path(shutil.copytree(stores / dtype, tmp_path / "s"))
    size = (folder / name).stat().st_size - 128
    flip(folder / name, 128 + size // 6 * 4 + 1)  # of the fifth of six rows
    read = FeatureStore(folder)
    for row in (0, 1, 2, 3, 5):
        read.descriptors(row)
    said = rf"{name.replace('.', '[.]')} is not what was written for 4\.png: .*'patchvlad verify .*/s --repair'"
    for _ in range(2):
        with pytest.raises(StoreError, match=said):
            read.descriptors(4)
    with pytest.raises(StoreError, match=said):
        answer(folder, stores / dtype)
    with pytest.raises(StoreError, match=said):
        np.asarray(read.global_ if name == "global.npy" else read.patches[int(name[8])])


def test_rows_are_checked_however_they_are_asked_for(copy: Path) -> None:
    whole = np.asarray(FeatureStore(copy).global_)
    row = whole[0].nbytes
    flip(copy / "global.npy", 128 + 3 * row)
    for key in (3, -3, slice(2, 4), slice(None, None, -1), [1, 3], np.arange(6) == 3, (3, 0), (slice(None), 1), ...):
        with pytest.raises(StoreError, match=r"not what was written for 3\.png"):
            FeatureStore(copy).global_[key]
    for key in (2, -2, slice(0, 3), [1, 4], np.arange(6) == 2, (2, 0), (slice(4, 6), 1)):
        np.testing.assert_array_equal(FeatureStore(copy).global_[key], whole[key])
    with pytest.raises(IndexError):
        FeatureStore(copy).global_[6]


def test_checksums_of_photos_are_checked_themselves(copy: Path) -> None:
    sums = FeatureStore(copy).photo_sums
    assert sums is not None
    assert len(set(sums.tolist()) - {0}) == 6
    flip(copy / "sums.npy", 128 + 2 * np.load(copy / "sums.npy")[0].nbytes - 16)  # the second row's, last but one
    with pytest.raises(StoreError, match=r"sums\.npy is not what was written for 1\.png: mend it"):
        _ = FeatureStore(copy).photo_sums


def test_a_row_is_checked_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = FeatureStore(copy)
    before = read.descriptors(3).patches[1].numpy().copy()
    monkeypatch.setattr("patchvlad.features.rows.row_sums", lambda rows: pytest.fail("checked again"))
    np.testing.assert_array_equal(read.descriptors(3).patches[1].numpy(), before)


# --- headers and manifest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"'<f4'", b"'>f4'"),
        (b"'<f4'", b"'<i4'"),
        (b"'<f4'", b"'|O8'"),
        (b"'<f4'", b"'<f9'"),
        (b"'fortran_order': False", b"'fortran_order': True "),
        (b"'fortran_order': False", b"'fortran_order': 1    "),
        (b"(6, 7)", b"(7, 6)"),
        (b"(6, 7)", b"(-6,7)"),
        (b"(6, 7)", b"(((((("),
        (b"(6, 7), }" + b" " * 20, b"(600000000000, 700000000), }"),
        (b"\x93NUMPY\x02", b"\x93NUMPY\x01"),
        (b"\x93NUMPY\x02", b"\x93NUMPY\x03"),
        (b"\x93NUMPY\x02\x00\x74\x00", b"\x93NUMPY\x02\x00\x34\x00"),
        (b"\x93NUMPY\x02\x00\x74\x00", b"\x93NUMPY\x02\x00\x74\xff"),
    ],
)
def test_a_header_that_says_something_else_is_named(copy: Path, old: bytes, new: bytes) -> None:
    data = (copy / "global.npy").read_bytes()
    assert old in data
    (copy / "global.npy").write_bytes(data.replace(old, new, 1))
    with pytest.raises(StoreError, match=r"global\.npy is missing or damaged \(.+\): mend it with"):
        FeatureStore(copy)


VALUES = (
    *(None, -1, [], [1, [2]], {}, 1e30, 10**30, "x", "", True, 0, 2**33, [[1, 1]] * 3),
    *("NaN", "-Infinity", "[" * 200_000),
)


def _edits() -> list[tuple[str, ...]]:
    return [(name,) for name in Manifest.__dataclass_fields__] + [
        ("recipe", name) for name in Manifest.__dataclass_fields__["recipe"].type.__dataclass_fields__
    ]


@pytest.mark.parametrize("format_", [1, 2])
@pytest.mark.parametrize("place", [*_edits(), ("other",), ("sum",)], ids="/".join)
def test_every_edit_of_a_manifest_is_named_or_changes_nothing(copy: Path, place: tuple[str, ...], format_: int) -> None:
    path = copy / "manifest.json"
    if format_ == 1:
        before_0_2(copy)
    right, said = answer(copy, copy), json.loads(path.read_text())
    for value in VALUES:
        changed = json.loads(json.dumps(said))
        into = changed["recipe"] if len(place) == 2 else changed
        into[place[-1]] = "@"
        raw = value if isinstance(value, str) and value[:1] in ("N", "-", "[") else json.dumps(value)
        path.write_text(json.dumps(changed).replace('"@"', raw))
        try:
            found = answer(copy, copy)
        except PatchvladError as error:
            assert "manifest.json" in str(error) or "copy" in str(error)
            assert len(str(error)) < 1000
        else:
            assert found == right
            assert format_ == 1 or value == (said["recipe"] if len(place) == 2 else said)[place[-1]]


def before_0_2(folder: Path) -> None:
    """Makes a store what 0.1.0 wrote: without checksums."""
    values = json.loads((folder / "manifest.json").read_text())
    values.pop("sum")
    (folder / "manifest.json").write_text(json.dumps({**values, "format": 1}, indent=1))
    for name in ("sums.npy", "photos.txt"):
        (folder / name).unlink()


# --- stores of 0.1.0 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_stores_without_checksums_open_and_answer_as_before(tmp_path: Path, stores: Path, dtype: str) -> None:
    old = Path(shutil.copytree(stores / dtype, tmp_path / "old"))
    before_0_2(old)
    assert answer(old, old) == answer(stores / dtype, stores / dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize(
    ("dtype", "name"),
    [("float32", "global.npy"), ("float32", "patches_2.npy"), ("float16", "patches_1.npy")],
)
def test_nan_and_infinity_in_a_store_without_checksums_are_named(
    tmp_path: Path, stores: Path, dtype: str, name: str, value: float
) -> None:
    old = Path(shutil.copytree(stores / dtype, tmp_path / "old"))
    before_0_2(old)
    with np.errstate(over="ignore"):
        array = np.load(old / name, mmap_mode="r+")
        array[(2, *[-1] * (array.ndim - 1))] = value
        array.flush()
    with pytest.raises(StoreError, match=rf"{name.replace('.', '[.]')} holds NaN or infinity for 2\.png: mend it"):
        answer(old, old)


def test_descriptors_that_are_no_numbers_are_refused_when_they_are_written(tmp_path: Path, stores: Path) -> None:
    recipe = FeatureStore(stores / "float32").recipe
    values = np.ones((2, recipe.dim), dtype=np.float32)
    patches = {p: np.ones((2, len(g), recipe.patch_dim), dtype=np.float32) for p, g in recipe.patch_grids().items()}
    patches[2][1, 0, 0] = np.inf
    with (
        pytest.raises(ModelError, match=r"the descriptors of b\.jpg are NaN or infinite: the weights of the model"),
        open_writer(tmp_path / "s", recipe, ["a.jpg", "b.jpg"]) as writer,
    ):
        writer.append(values, patches)
    with pytest.raises(StoreError, match="0 of 2 images"):
        FeatureStore(tmp_path / "s")


# --- readers of a store that is replaced ----------------------------------------------------------------------------

READER = """
import sys
import numpy as np
from patchvlad.features.store import FeatureStore
read = FeatureStore(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
for row in range(len(read)):
    one = read.descriptors(row)
    print(*(values.numpy().tobytes().hex()[:16] for values in (one.global_, *one.patches.values())))
"""


@pytest.mark.parametrize("how", ["overwrite", "fewer photos", "delete"])
def test_a_reader_keeps_the_store_that_it_opened(copy: Path, photos: ImageList, how: str) -> None:
    read = FeatureStore(copy)
    expected = [
        " ".join(values.numpy().tobytes().hex()[:16] for values in (one.global_, *one.patches.values()))
        for one in map(read.descriptors, range(6))
    ]
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(copy)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        if how == "delete":
            shutil.rmtree(copy)
        else:
            other = photos if how == "overwrite" else ImageList(photos.root, photos.names[:1])
            extract(toy.model(seed=5), other, copy, SIZE, overwrite=True)
        found, _ = reader.communicate("\n")
    assert reader.returncode == 0
    assert found.splitlines() == expected
    if how != "delete":
        assert len(FeatureStore(copy)) == len(other)


def test_readers_that_open_while_a_store_is_replaced_see_one_or_the_other(copy: Path, photos: ImageList) -> None:
    code = """
import sys, time
from patchvlad.features.store import FeatureStore
seen = set()
until = time.monotonic() + 60
print("ready", flush=True)
while len(seen) < 2 and time.monotonic() < until or time.monotonic() < until - 59:
    read = FeatureStore(sys.argv[1])
    seen.add((read.recipe.fingerprint, len(read), tuple(read.descriptors(0).global_.tolist())))
print(len({one[:2] for one in seen}), len(seen))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(copy)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for seed in range(8):
            extract(toy.model(seed=seed % 2), photos, copy, SIZE, overwrite=True)
        found, errors = reader.communicate(timeout=120)
    assert (reader.returncode, errors) == (0, "")
    assert found in ("1 1\n", "2 2\n")


# --- at random places -----------------------------------------------------------------------------------------------


def corrupt(folder: Path, random: np.random.Generator) -> str:
    """Damages one file of a store; says how."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    path = files[random.integers(len(files))]
    data = bytearray(path.read_bytes())
    start, length = int(random.integers(len(data))), int(random.integers(1, 200))
    kinds: dict[str, Callable[[], bytes]] = {
        "a bit": lambda: data[:start] + bytes([data[start] ^ 1 << int(random.integers(8))]) + data[start + 1 :],
        "zeros": lambda: data[:start] + bytes(len(data[start : start + length])) + data[start + length :],
        "noise": lambda: data[:start] + random.bytes(len(data[start : start + length])) + data[start + length :],
        "cut": lambda: data[:start],
        "longer": lambda: data + random.bytes(length),
        "without": lambda: data[:start] + data[start + length :],
        "twice": lambda: data[: start + length] + data[start:],
        "header": lambda: data[: start % 128] + bytes([int(random.integers(256))]) + data[start % 128 + 1 :],
        "another": lambda: files[int(random.integers(len(files)))].read_bytes(),
        "empty": lambda: b"",
        "reversed": lambda: data[:128] + data[:127:-1],
    }
    kind = str(random.choice(sorted(kinds)))
    changed = kinds[kind]()
    path.write_bytes(changed)
    if kind == "empty" and random.integers(2):
        path.unlink()
    return f"{kind} at {start} ({length}) of {path.name}"


def _corruptions(tmp_path: Path, stores: Path, seeds: range) -> None:
    right = {dtype: answer(stores / dtype, stores / dtype) for dtype in DTYPES}
    named = 0
    for seed in seeds:
        random = np.random.default_rng(seed)
        dtype = DTYPES[seed % len(DTYPES)]
        folder = Path(shutil.copytree(stores / dtype, tmp_path / "s"))
        done = corrupt(folder, random)
        try:
            found = answer(folder, folder)
        except PatchvladError as error:
            named += 1
            assert str(folder) in str(error), (seed, done)
        else:
            assert found == right[dtype], f"seed {seed}: {done} gives another answer without a word"
        shutil.rmtree(folder)
    assert named > 0.6 * len(seeds)  # the rest is what a search does not read, or does not change what is read


def test_a_search_in_a_corrupted_store_is_refused_or_right(tmp_path: Path, stores: Path) -> None:
    _corruptions(tmp_path, stores, range(150))


@pytest.mark.slow
def test_a_search_in_any_of_2000_corrupted_stores_is_refused_or_right(tmp_path: Path, stores: Path) -> None:
    _corruptions(tmp_path, stores, range(150, 2150))
