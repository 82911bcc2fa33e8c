"""patchvlad verify: damage is named with its photos, and repaired from the photos that were described."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_damage import before_0_2
from tiny import TinyBackbone, write_config, write_model, write_photos

from patchvlad.errors import StoreError
from patchvlad.features import store_writing
from patchvlad.features.manifest import Manifest
from patchvlad.features.store import FeatureStore
from patchvlad.files import leftovers
from patchvlad.files.locks import locked
from patchvlad.model.registry import BACKBONES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos, a model, and the results of a match."""
    monkeypatch.setattr(BACKBONES, "_things", {**BACKBONES._things, "tiny": TinyBackbone})
    write_photos(tmp_path / "photos")
    write_model(tmp_path / "tiny.safetensors")
    write_config(tmp_path / "tiny.ini", "model = tiny.safetensors")
    words = ["--queries", "photos/queries", "--database", "photos/database", "--config", "tiny.ini"]
    assert run("match", *words, "--out", "results", "--figures", "1")[0] == 0
    return tmp_path


DATABASE = Path("results/stores/database")
REPAIR = ("verify", DATABASE, "--repair", "--model", "tiny.safetensors")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_repaired(before: dict[str, bytes]) -> None:
    """The store is as it was, but for last digits of what was described again, in other batches than before."""
    after = contents(DATABASE)
    assert after.keys() == before.keys()
    for name, data in after.items():
        if name not in ("global.npy", "patches_1.npy", "patches_2.npy", "sums.npy"):
            assert data == before[name]
        elif name != "sums.npy":
            assert data[:128] == before[name][:128]
            now, then = (np.frombuffer(content[128:], dtype=np.float32) for content in (data, before[name]))
            np.testing.assert_allclose(now, then, atol=1e-6)
            assert (now == then).mean() > 0.1


def damage(path: Path, place: int, count: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        before = file.read(count)
        file.seek(place)
        file.write(bytes(255 - byte for byte in before))


def row_size(name: str) -> int:
    return np.load(DATABASE / name, mmap_mode="r")[0].nbytes


def test_all_that_a_folder_holds_is_checked(world: Path, run: Run) -> None:
    code, out, err = run("verify", ".")
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        *("results", "results/stores/database", "results/stores/queries", "tiny.safetensors")
    ]
    assert out.count(": intact, ") == 4
    assert run("verify", "results/stores/queries", "tiny.safetensors")[1].count("intact") == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("photos", "photos: no store, results or model there"),
        ("tiny.ini", "tiny.ini has no checksums of its own"),
        ("nowhere", "nowhere does not exist"),
    ],
)
def test_what_cannot_be_checked_is_an_error(world: Path, run: Run, path: str, said: str) -> None:
    code, out, err = run("verify", path)
    assert (code, out) == (1, "")
    assert said in err


def test_options_of_repair_need_it(world: Path, run: Run) -> None:
    code, _, err = run("verify", "results", "--photos", "photos/database")
    assert code == 2
    assert "--photos is for --repair: give both" in err


def test_damage_is_named_with_its_photos_and_repaired(world: Path, run: Run) -> None:
    before = contents(world / "results")
    for name, row in (("global.npy", 1), ("patches_1.npy", 1), ("patches_1.npy", 4), ("patches_2.npy", 0)):
        damage(DATABASE / name, 128 + row * row_size(name))
    code, out, err = run("verify", "results")
    assert code == 1
    assert err == "patchvlad: error: 1 of 3 damaged: see above\n"
    assert out.splitlines()[1:5] == [
        f"{DATABASE}: DAMAGED, {out.splitlines()[1].split(', ')[1]}",
        f"  {DATABASE}/global.npy is damaged for 1 photo: street/2.png",
        f"  {DATABASE}/patches_1.npy is damaged for 2 photos: street/2.png, street/10.png",
        f"  {DATABASE}/patches_2.npy is damaged for 1 photo: street/1.png",
    ]
    code, out, err = run(*REPAIR)
    assert (code, err) == (0, "")
    assert f"{DATABASE}: 3 photos described again, " in out
    assert out.splitlines()[-1].startswith(f"{DATABASE}: intact, ")
    assert_repaired({name.removeprefix("stores/database/"): data for name, data in before.items() if "base/" in name})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def header(path: Path) -> None:
    damage(path, 20)


@pytest.mark.parametrize("how", [cut, longer, empty, header, Path.unlink])
@pytest.mark.parametrize("name", ["global.npy", "patches_2.npy", "sums.npy", "images.txt"])
def test_whole_files_are_repaired_too(world: Path, run: Run, name: str, how: Callable[[Path], None]) -> None:
    before = contents(DATABASE)
    how(DATABASE / name)
    code, out, _ = run("verify", DATABASE)
    assert code == 1
    assert f"{DATABASE / name} " in out
    code, out, err = run(*REPAIR)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"{DATABASE}: intact, ")
    assert_repaired(before)


def test_a_photo_that_has_changed_is_not_taken(world: Path, run: Run) -> None:
    damage(DATABASE / "global.npy", 128 + row_size("global.npy"))
    before = contents(DATABASE)
    shutil.copy("photos/database/street/1.png", "photos/database/street/2.png")
    code, _, err = run(*REPAIR)
    assert code == 1
    assert "street/2.png below results/stores/database/../../../photos/database: not the same any more" in err
    Path("photos/database/street/2.png").unlink()
    code, _, err = run(*REPAIR)
    assert "street/2.png below results/stores/database/../../../photos/database: missing" in err
    assert contents(DATABASE) == before


def test_another_model_is_not_taken(world: Path, run: Run) -> None:
    damage(DATABASE / "global.npy", 128)
    before = contents(DATABASE)
    write_model(Path("other.safetensors"), components=7)
    code, _, err = run(*REPAIR[:-1], "other.safetensors")
    assert code == 1
    assert "is not repaired: the store was made in another way than it would be repaired: model tiny.safetensors" in err
    assert "with --model" in err
    assert contents(DATABASE) == before


def test_photos_that_have_moved_are_given(world: Path, run: Run) -> None:
    damage(DATABASE / "global.npy", 128)
    Path("photos").rename("moved")
    code, _, err = run(*REPAIR)
    assert code == 1
    assert (
        "are not at results/stores/database/../../../photos/database any more: give their folder with --photos" in err
    )
    assert run(*REPAIR, "--photos", "moved/database")[0] == 0
    assert (DATABASE / "photos.txt").read_text() == "../../../moved/database\n"
    damage(DATABASE / "global.npy", 128)
    assert run(*REPAIR)[0] == 0


def test_unreadable_photos_stay_zeros(world: Path, run: Run) -> None:
    Path("photos/database/street/3.png").write_bytes(b"no photo")
    words = [
        "extract",
        "photos/database",
        "--config",
        "tiny.ini",
        "--skip-unreadable",
        "--out",
        DATABASE,
        "--overwrite",
    ]
    assert run(*words)[0] == 0
    before = contents(DATABASE)
    for row in (2, 3):
        damage(DATABASE / "global.npy", 128 + row * row_size("global.npy"))
    assert run(*REPAIR)[0] == 0
    assert_repaired(before)
    assert FeatureStore(DATABASE).manifest.unreadable == (2,)
    assert not FeatureStore(DATABASE).global_[2].any()


def test_a_damaged_manifest_is_named_and_not_repaired(world: Path, run: Run) -> None:
    path = DATABASE / "manifest.json"
    path.write_text(path.read_text().replace('"preset": "tiny', '"preset": "tony'))
    code, out, err = run(*REPAIR)
    assert code == 1
    assert "manifest.json is damaged (its checksum is another" in out
    assert "is not repaired" in err


def test_an_incomplete_store_is_checked_as_far_as_it_goes(world: Path, run: Run) -> None:
    manifest = Manifest.read(DATABASE)
    Manifest(**{**manifest.__dict__, "rows": 3}).write(DATABASE)
    code, out, _ = run("verify", DATABASE)
    assert code == 0
    assert "is incomplete (3 of 5 images)" in out
    damage(DATABASE / "global.npy", 128 + row_size("global.npy"))
    assert "is damaged for 1 photo: street/2.png" in run("verify", DATABASE)[1]


# --- stores of 0.1.0 ------------------------------------------------------------------------------------------------


def test_a_store_without_checksums_says_so_and_gets_them(world: Path, run: Run) -> None:
    before_0_2(DATABASE)
    code, out, _ = run("verify", DATABASE)
    assert code == 0
    assert "not damaged, as far as can be told" in out
    assert "has no checksums: it is of patchvlad 0.1.0" in out
    old = np.array(FeatureStore(DATABASE).global_)
    code, out, _ = run(*REPAIR)
    assert code == 0
    assert "checksums added" in out
    assert out.splitlines()[-1].startswith(f"{DATABASE}: intact, ")
    np.testing.assert_array_equal(FeatureStore(DATABASE).global_, old)
    damage(DATABASE / "global.npy", 128)
    assert run("verify", DATABASE)[0] == 1


def test_a_store_without_checksums_is_repaired_from_photos_that_are_given(world: Path, run: Run) -> None:
    whole = contents(DATABASE)
    before_0_2(DATABASE)
    array = np.load(DATABASE / "patches_2.npy", mmap_mode="r+")
    array[3, 0, 0] = np.nan
    array.flush()
    code, out, _ = run("verify", DATABASE)
    assert code == 1
    assert "patches_2.npy is damaged for 1 photo: street/4.png" in out
    code, _, err = run(*REPAIR)
    assert code == 1
    assert "does not say where its photos are: give their folder or list with --photos" in err
    shutil.copytree("photos/database", "changed")
    shutil.copy("photos/queries/a.png", "changed/street/10.png")
    code, _, err = run(*REPAIR, "--photos", "changed")
    assert code == 1
    assert "the photos below changed are not those that" in err
    assert run(*REPAIR, "--photos", "photos/database")[0] == 0
    assert_repaired(whole)


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["NetVLAD_predictions.txt", "PatchNetVLAD_predictions.txt", "PatchNetVLAD_confidences.txt", "results.json"]
)
@pytest.mark.parametrize("how", [cut, header, Path.unlink])
def test_results_that_were_changed_are_not_evaluated(
    world: Path, run: Run, name: str, how: Callable[[Path], None]
) -> None:
    words = ["evaluate", "results", "--ground-truth", "photos/gt.csv", "--ks", "1"]
    assert run(*words)[0] == 0
    how(Path("results", name))
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert f"results/{name} is not what was written: run match again" in err
    code, out, _ = run("verify", "results")
    assert code == 1
    assert f"results/{name} is" in out


def test_pictures_and_lists_have_checksums(world: Path, run: Run) -> None:
    sums = json.loads(Path("results/checksums.json").read_text())
    there = {name for name in contents(Path("results")) if not name.startswith("stores/")}
    assert {*sums, "checksums.json"} == there
    assert any(name.startswith("figures/") for name in sums)
    for name in sums:
        before = Path("results", name).read_bytes()
        damage(Path("results", name), len(before) // 2, 1)
        code, out, _ = run("verify", "results")
        assert code == 1
        assert f"results/{name} is not what was written" in out
        Path("results", name).write_bytes(before)
    assert run("verify", "results")[0] == 0


def test_results_without_checksums_are_evaluated_as_before_and_verify_says_so(world: Path, run: Run) -> None:
    Path("results/checksums.json").unlink()
    assert run("evaluate", "results", "--ground-truth", "photos/gt.csv", "--ks", "1")[0] == 0
    code, out, _ = run("verify", "results")
    assert code == 0
    assert "results has no checksums: its results are of patchvlad 0.1.0" in out


def test_a_repair_that_was_killed_when_all_was_done_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    machine = leftovers.mark().split("-")[2]
    (tmp_path / ".lock").touch()
    (tmp_path / f"sums.partial-999999999-{machine}-1.npy").touch()
    (tmp_path / "global.npy").touch()
    store_writing.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["global.npy"]
    (tmp_path / ".lock").touch()
    with locked(tmp_path / ".lock"), pytest.raises(StoreError, match="is being written by another process"):
        store_writing.clear(tmp_path)
