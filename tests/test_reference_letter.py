"""What someone with scripts, configs, weights, features and results of the reference implementation relies on."""

import argparse
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import generated_city
import h5py
import numpy as np
import pytest
import torch
from test_reference_cli import extract_words, match_words
from tiny import RESUME, write_checkpoint, write_config

from patchvlad.commands import packaged
from patchvlad.commands.ini import read_values
from patchvlad.commands.main import main
from patchvlad.commands.preset import read_config
from patchvlad.commands.reference import add_pca, feature_extract, feature_match, match_realtime, match_two, shared
from patchvlad.commands.wheels import Wheel
from patchvlad.errors import ConfigError, ImageError, MismatchError, ModelError, StoreError
from patchvlad.features.reference_features import ReferenceFeatures, is_reference_features
from patchvlad.features.store import FeatureStore
from patchvlad.images.lists import ImageList
from patchvlad.places.msls import training_database
from patchvlad.train.clusters import (
    Clusters,
    biased_assignment,
    read_clusters,
    vlad_from,
    write_clusters,
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def place(reference_folder: Path) -> Path:
    return reference_folder


@pytest.fixture
def run(run_command: Run) -> Run:
    return run_command


def extract_both(run: Run, *more: str) -> None:
    for kind in ("query", "index"):
        assert run(feature_extract.main, *extract_words(kind), *more)[0] == 0


# --- 1: results whose truth names a part of the database -------------------------------------------------------------


def test_both_stages_of_prefixed_results_are_counted_alike_by_a_short_truth(run: Run, caplog) -> None:
    extract_both(run)
    assert run(feature_match.main, *match_words())[0] == 0
    Path("gt.csv").write_text(
        "query,positives\nqueries/a.png,database/street/3.png\nqueries/b.png,database/street/10.png\n"
    )
    for name in (
        "queries.txt",
        "database.txt",
        "results.json",
        "checksums.json",
    ):  # as the reference leaves its results
        Path("results/tiny", name).unlink()
    code, out, err = run(main, "evaluate", "results/tiny", "--ground-truth", "gt.csv", "--ks", "1,5")
    assert code == 0, err
    lines = re.findall(r"^tiny (\w+) +([\d.]+) \[.*?\] +([\d.]+) \[", out.split("mAP")[0], re.MULTILINE)
    assert [(stage, at5) for stage, _, at5 in lines] == [("NetVLAD", "100.0"), ("PatchNetVLAD", "100.0")]
    assert "the database is taken to be what is named" in caplog.text


# --- 2: add-pca on MSLS ----------------------------------------------------------------------------------------------


def test_whitening_is_fitted_to_the_database_of_the_training_cities(run: Run, tmp_path: Path) -> None:
    generated_city.write_msls(tmp_path / "msls", 12)
    images = training_database(tmp_path / "msls")
    assert len(images) == 12  # panoramas count, as in the reference
    assert {name.rpartition("/")[0] for name in images.names} == {"train_val/trondheim/database/images"}
    Path("train.ini").write_text("[train]\n[global_params]\nnum_pcs = 6\n")
    words = ["--config_path", "train.ini", "--resume_path", "pretrained_models/mapillary_WPCA12.pth.tar", "--nocuda"]
    code, out, err = run(add_pca.main, *words, "--dataset_root_dir", "msls", "--threads", 6)
    assert code == 0, err
    assert "mapillary_WPCA12_WPCA6.pth.tar" in out and "whitening of 12 photos" in out
    code, _, err = run(add_pca.main, *words, "--dataset_root_dir", "msls", "--dataset_choice", "oxford")
    assert (code, "choose from mapillary, pitts" in err) == (2, True)


def test_a_folder_that_looks_like_a_test_set_needs_a_word(run: Run) -> None:
    words = ["--resume_path", "pretrained_models/mapillary_WPCA12.pth.tar", "--dataset_root_dir", "data", "--nocuda"]
    Path("train.ini").write_text("[train]\n[global_params]\nnum_pcs = 6\n")
    code, _, err = run(add_pca.main, "--config_path", "train.ini", *words)
    assert code == 2 and "looks like part of a test set" in err and "--i-know" in err and "is a flag of" not in err
    assert run(add_pca.main, "--config_path", "train.ini", *words, "--i-know")[0] == 0


# --- 3: models placed by hand ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["pretrained_models", "pkg/configs/pretrained_models", "pkg/pretrained_models"],
    ids=["cwd", "config", "package"],
)
@pytest.mark.parametrize(
    "name", ["mapillary_WPCA12.pth.tar", "mapillary_WPCA.pth.tar", "mapillary_WPCA12", "mapillary_WPCA"]
)
def test_a_model_is_found_as_the_reference_finds_it(where: str, name: str, place: Path) -> None:
    (place / "pretrained_models/mapillary_WPCA12.pth.tar").unlink()
    write_checkpoint(place / where / name)
    (place / "pkg/configs").mkdir(parents=True, exist_ok=True)
    config = write_config(place / "pkg/configs/tiny.ini", RESUME)
    assert Path(read_config(config).description.model).resolve() == (place / where / name).resolve()


def test_a_model_that_is_nowhere_is_told_with_every_place(place: Path, run: Run) -> None:
    config = write_config(place / "configs/mine.ini", RESUME.replace("mapillary_WPCA", "mine_"))
    with pytest.raises(ModelError) as caught:
        read_config(config).description.load("cpu")
    said = str(caught.value)
    for name in ("mine_12.pth.tar", "mine_.pth.tar", "mine_12", "mine_"):
        for folder in ("", f"{place}/configs/", f"{place}/"):
            assert f"{folder}pretrained_models/{name}" in said, (folder, name)
    other = ["--config_path", str(config), "--dataset_file_path", "query.txt", "--dataset_root_dir", "data", "--nocuda"]
    code, _, err = run(feature_extract.main, *other)
    assert code == 1 and "there is no model file" in err


# --- 4: what the reference's package holds ---------------------------------------------------------------------------


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, place: Path) -> list[Wheel]:
    """Stands for the reference's wheel on PyPI; returns which were fetched."""
    asked: list[Wheel] = []

    @contextmanager
    def fetched(wheel: Wheel) -> Iterator[zipfile.ZipFile]:
        asked.append(wheel)
        with zipfile.ZipFile(place / "wheel.zip", "w") as archive:
            for name in {*packaged.EXAMPLES, *packaged.LISTS}:
                data = (place / "data/queries/a.png").read_bytes() if "images/" in name else b"./x/1.jpg\n"
                if "example_imageNames" in name:
                    data = b"example_images/tokyo_query.jpg"
                archive.writestr(f"patchnetvlad/{name}", data)
        with zipfile.ZipFile(place / "wheel.zip") as archive:
            yield archive

    monkeypatch.setattr(packaged, "fetched", fetched)
    return asked


def test_examples_and_lists_are_fetched_once(wheel: list[Wheel], run: Run, place: Path) -> None:
    code, out, _ = run(main, "fetch", "lists")
    assert code == 0 and len(out.splitlines()) == 15
    assert (place / "cache/reference/dataset_imagenames/pitts30k_imageNames_index.txt").read_text() == "./x/1.jpg\n"
    assert run(main, "fetch", "lists")[0] == 0
    assert [one.requirement for one in wheel] == ["patchnetvlad==0.1.8"]
    assert run(main, "fetch", "examples")[0] == 0


def test_match_two_takes_the_examples(wheel: list[Wheel], run: Run) -> None:
    code, out, err = run(match_two.main, "--config_path", "configs/tiny.ini", "--nocuda")
    assert code == 0, err
    assert out.startswith("Similarity score between the two images is: ")
    assert Path("results/patchMatchings.png").is_file()
    words = ["--first_im_path", "patchnetvlad/example_images/tokyo_query.jpg", "--config_path", "configs/tiny.ini"]
    assert run(match_two.main, *words, "--nocuda")[0] == 0  # as the README names them, wherever it is run
    assert len(wheel) == 1


def test_a_missing_list_says_which_fetch_brings_it_and_is_found_then(wheel: list[Wheel], run: Run) -> None:
    words = ["--config_path", "configs/tiny.ini", "--dataset_root_dir", "data", "--nocuda"]
    code, _, err = run(feature_extract.main, "--dataset_file_path", "pitts30k_imageNames_index.txt", *words)
    assert code == 1 and "'patchvlad fetch lists' brings it" in err
    code, _, err = run(
        feature_match.main, *match_words("--ground_truth_path", "patchnetvlad/dataset_gt_files/nordland.npz")
    )
    assert code == 1
    packaged.fetch("lists")
    code, _, err = run(feature_extract.main, "--dataset_file_path", "pitts30k_imageNames_index.txt", *words)
    assert code == 1 and "x/1.jpg" in err  # the list is there, its photos are not
    packaged.fetch("examples")
    code, _, err = run(feature_extract.main, "--dataset_file_path", "example_imageNames_query.txt", *words)
    assert code == 0, err
    assert FeatureStore("output_features").names == ("example_images/tokyo_query.jpg",)


def test_lists_of_msls_are_made_of_its_tables(tmp_path: Path) -> None:
    generated_city.write_city(tmp_path / "msls", "cph", 0, 12)
    images = shared.images_of(Path("mapillarycph_imageNames_query.txt"), tmp_path / "msls")
    assert len(images) == 11  # without panoramas
    assert images.names[0] == "train_val/cph/query/images/cph_q0.jpg"
    with pytest.raises(ImageError, match="'patchvlad fetch lists' brings it"):
        shared.images_of(Path("mapillarysf_imageNames_query.txt"), tmp_path / "msls")


def test_a_wheel_that_is_another_file_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from patchvlad.commands import wheels
    from patchvlad.errors import DownloadError

    def pip(command: list[str], **_: object) -> argparse.Namespace:
        Path(command[command.index("--dest") + 1], "x-1.whl").write_bytes(b"something else")
        return argparse.Namespace(returncode=0, stderr="")

    monkeypatch.setattr(wheels.subprocess, "run", pip)
    with (
        pytest.raises(DownloadError, match=r"x==1: the file that pip fetched is another"),
        wheels.fetched(Wheel("x==1", "0")),
    ):
        pass


# --- 5: features that the reference extracted ------------------------------------------------------------------------


def test_features_round_trip_through_the_references_files(run: Run, place: Path) -> None:
    extract_both(run, "--reference-files")
    folder = place / "output_features/query"
    assert sorted(path.name for path in folder.glob("*feats*")) == [
        "globalfeats.npy",
        *(f"patchfeats_psize{size}_{stem}.npy" for size in (1, 2) for stem in "ab"),
    ]
    store = FeatureStore(folder)
    for size, grid in store.grids.items():
        array = np.load(folder / f"patchfeats_psize{size}_b.npy")
        assert (array.dtype, array.shape, array.flags.c_contiguous) == (np.float32, (12, len(grid)), True)
        np.testing.assert_array_equal(array, store.patches[size][1].T)
    np.testing.assert_array_equal(np.load(folder / "globalfeats.npy"), store.global_)

    before = match_and_read(run)
    for kind in ("query", "index"):  # what the reference leaves: its files alone
        for path in (place / "output_features" / kind).iterdir():
            if not re.match("globalfeats|patchfeats", path.name):
                path.unlink()
        assert is_reference_features(place / "output_features" / kind)
    assert match_and_read(run) == before
    words = ["match", "--queries", "output_features/query", "--database", "output_features/index", "--out", "r"]
    words += ["--config", "configs/tiny.ini"]
    code, _, err = run(main, *words)
    assert code == 2 and "give it with --query-list or --database-list" in err
    code, _, err = run(main, *words, "--query-list", "query.txt", "--database-list", "index.txt", "--root", "data")
    assert code == 0, err


def match_and_read(run: Run) -> list[str]:
    code, _, err = run(feature_match.main, *match_words("--ground_truth_path", "gt.npz"))
    assert code == 0, err
    names = ("NetVLAD_predictions.txt", "PatchNetVLAD_predictions.txt", "PatchNetVLAD_confidences.txt")
    return [Path("results/tiny", name).read_text() for name in names]


def test_features_of_the_reference_that_do_not_fit_are_refused(run: Run, place: Path, caplog) -> None:
    extract_both(run, "--reference-files")
    folder = place / "output_features/query"
    for path in folder.iterdir():
        if not re.match("globalfeats|patchfeats", path.name):
            path.unlink()
    described = read_config("configs/tiny.ini").description
    names = ("queries/a.png", "queries/b.png")
    opened = ReferenceFeatures(folder, names, described)
    opened.check_matches(FeatureStore(place / "output_features/index"))
    assert "which model made its features" in caplog.text
    with pytest.raises(MismatchError, match=r"globalfeats.npy is \(2, 12\), and the list names 1 image:"):
        ReferenceFeatures(folder, names[:1], described)
    with pytest.raises(StoreError, match=r"x/a.png and y/a.png are both 'a': it would keep the features of one"):
        ReferenceFeatures(folder, ("x/a.png", "y/a.png"), described)
    from dataclasses import replace

    with pytest.raises(StoreError, match="holds patches of sizes 1, 2, not of 5: give the preset"):
        ReferenceFeatures(folder, names, replace(described, patch_sizes=(5,), patch_strides=(1,)))
    with pytest.raises(StoreError, match="patch size 1 and patch stride 2 make"):
        ReferenceFeatures(folder, names, replace(described, patch_strides=(2, 1)))
    for name, use in (("patchfeats_psize2_b.npy", lambda: opened.patches[2][1]), ("globalfeats.npy", lambda: None)):
        values = np.load(folder / name)
        values[1, 2] = np.nan
        np.save(folder / name, values)
        with pytest.raises(StoreError, match=rf"{name} holds NaN or infinity: extract it again"):
            use() or ReferenceFeatures(folder, names, described)
        values[1, 2] = 0
        np.save(folder / name, values)
    (folder / "patchfeats_psize2_b.npy").unlink()
    with pytest.raises(StoreError, match=r"patchfeats_psize2_b.npy and 0 other files are missing"):
        ReferenceFeatures(folder, names, described)


def test_equal_file_names_are_refused_before_anything_is_extracted(run: Run, place: Path) -> None:
    for folder in "xy":
        (place / "data" / folder).mkdir()
        (place / "data" / folder / "1.png").write_bytes((place / "data/queries/a.png").read_bytes())
    Path("query.txt").write_text("x/1.png\ny/1.png\n")
    code, _, err = run(feature_extract.main, *extract_words("query"), "--reference-files")
    assert code == 1 and "x/1.png and y/1.png are both '1'" in err
    assert not Path("output_features").exists()
    assert run(feature_extract.main, *extract_words("query"))[0] == 0  # ours go by path


# --- 8: errors advise flags that the command has; overwriting is said -----------------------------------------------


@pytest.mark.parametrize("command", [feature_extract, feature_match, match_two, add_pca])
def test_no_message_advises_a_flag_that_the_command_lacks(command, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Every flag in any message of the library, as the command would say it."""
    package = Path(shared.__file__).parents[2]
    flags = {
        flag
        for path in package.rglob("*.py")
        if "commands" not in path.parts
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", path.read_text())
    }
    assert len(flags) > 10
    parsers: list[argparse.ArgumentParser] = []
    monkeypatch.setattr(command, "run_as", lambda parser, argv, ours: parsers.append(parser) or 0)
    command.main([])
    own = {option for action in parsers[0]._actions for option in action.option_strings}
    for flag in sorted(flags):
        said = shared.in_own_flags(f"this is wrong: give {flag} X", parsers[0], "patchvlad other")
        left = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", said)) - own
        assert not left or "of 'patchvlad other'" in said, said


def test_a_quoted_command_keeps_its_own_flags(run: Run) -> None:
    code, _, err = run(feature_match.main, *match_words())  # nothing was extracted
    assert code == 1
    assert "make one with 'patchvlad extract PHOTOS --out output_features/query'" in err
    assert "--result_save_folder" not in err and "--out is a flag" not in err


def test_features_and_results_are_overwritten_and_it_is_said(run: Run, place: Path) -> None:
    extract_both(run)
    assert run(feature_match.main, *match_words())[0] == 0
    code, _, err = run(feature_match.main, *match_words())
    assert code == 0 and "results/tiny holds results: they are overwritten" in err
    Path("query.txt").write_text("queries/b.png\n")
    code, _, err = run(feature_extract.main, *extract_words("query"))
    assert code == 0 and "output_features/query holds other features: they are overwritten" in err
    assert FeatureStore("output_features/query").names == ("queries/b.png",)


# --- 9: prediction lines -------------------------------------------------------------------------------------------


def test_predictions_have_two_fields_as_the_references(run: Run) -> None:
    extract_both(run)
    assert run(feature_match.main, *match_words())[0] == 0
    for stage in ("NetVLAD", "PatchNetVLAD"):
        lines = Path(f"results/tiny/{stage}_predictions.txt").read_text().splitlines()
        assert lines[:2] == ["# kapture format: 1.0", "# query_image, map_image"]
        assert len(lines) == 2 + 2 * 2
        assert all(len(line.split(",")) == 2 and line.startswith("data/queries/") for line in lines[2:])
    # The same by ours: scores in the third field.
    words = ["match", "--queries", "output_features/query", "--database", "output_features/index", "--out", "ours"]
    assert run(main, *words, "--config", "configs/tiny.ini")[0] == 0
    lines = Path("ours/PatchNetVLAD_predictions.txt").read_text().splitlines()
    assert all(len(line.split(",")) == 3 for line in lines[3:])


# --- 10: no silence -------------------------------------------------------------------------------------------------


def test_unknown_and_idle_keys_are_told(caplog: pytest.LogCaptureFixture) -> None:
    text = (
        "[feature_extract]\nbatchsize = 5\nimagersizew = 640\n[global_params]\nthreads = 0\nngpu = 1\nvladv2 = True\n"
    )
    text += "[glob]\n"
    with caplog.at_level("INFO"):
        read_values(text, "my.ini", ("feature_extract", "global_params"))
    assert caplog.messages == [
        "my.ini: [feature_extract] imagersizew is unknown and ignored: did you mean imageresizew?",
        "my.ini: section [glob] is unknown and ignored",
        "my.ini: without effect here: batchsize, threads, ngpu, vladv2",
    ]


def test_a_missing_config_is_never_a_default(run: Run) -> None:
    code, _, err = run(
        feature_extract.main, "--config_path", "speed.conf", "--dataset_file_path", "query.txt", "--nocuda"
    )
    assert code == 2 and "speed.conf" in err
    code, _, err = run(add_pca.main, "--config_path", "a/b.ini", "--resume_path", "x", "--dataset_root_dir", "data")
    assert code == 2 and "a/b.ini does not exist: give an .ini file" in err
    words = ["--resume_path", "no.pth.tar", "--dataset_root_dir", "data/database", "--nocuda"]
    code, _, err = run(add_pca.main, "--config_path", "patchnetvlad/configs/train.ini", *words)
    assert err.startswith("patchnetvlad/configs/train.ini does not exist: using the packaged train.ini\n")


def test_a_store_without_patches_cannot_be_reranked(run: Run, place: Path) -> None:
    text = Path("configs/tiny.ini").read_text()
    Path("configs/plain.ini").write_text(text.replace("patchnetvlad", "netvlad"))
    for kind in ("query", "index"):
        words = [word.replace("tiny.ini", "plain.ini") for word in extract_words(kind)]
        assert run(feature_extract.main, *words)[0] == 0
    code, _, err = run(feature_match.main, *match_words())
    assert code == 1 and "holds global descriptors alone, so configs/tiny.ini cannot re-rank with it" in err
    assert run(feature_match.main, *[str(w).replace("tiny.ini", "plain.ini") for w in match_words()])[0] == 0


# --- 12: clusters and vladv2 ----------------------------------------------------------------------------------------


def test_vladv2_is_the_softmax_of_squared_distances() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.nn.functional.normalize(torch.randn(200, 5, generator=generator), dim=1)
    centroids = torch.randn(4, 5, generator=generator) * 0.3
    weight, bias = biased_assignment(cells, centroids)
    gaps = []
    for cell in cells:  # the definition, one cell at a time
        squares = sorted(float(((cell - centroid) ** 2).sum()) for centroid in centroids)
        gaps.append(squares[1] - squares[0])
    alpha = np.log(100) / np.mean(gaps)
    for cell in cells[:20]:
        expected = torch.softmax(torch.stack([-alpha * ((cell - c) ** 2).sum() for c in centroids]), 0)
        torch.testing.assert_close(torch.softmax(weight @ cell + bias, 0), expected, atol=1e-4, rtol=1e-4)
    vlad = vlad_from(Clusters(centroids, cells), biased=True)
    assert vlad.assignment.bias is not None and torch.equal(vlad.assignment.bias, bias)


def test_clusters_are_kept_as_the_reference_keeps_them(tmp_path: Path) -> None:
    clusters = Clusters(torch.randn(3, 8), torch.randn(20, 8))
    path = write_clusters(tmp_path / "centroids" / "c.hdf5", clusters)
    with h5py.File(path) as file:
        assert {name: (data.shape, data.dtype) for name, data in file.items()} == {
            "centroids": ((3, 8), np.float32),
            "descriptors": ((20, 8), np.float32),
        }
    found = read_clusters(path)
    assert torch.equal(found.centroids, clusters.centroids) and torch.equal(found.cells, clusters.cells)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["centroids"] = np.zeros((3, 8))
    with pytest.raises(ModelError, match="holds no dataset 'descriptors'"):
        read_clusters(tmp_path / "x.hdf5")


def test_lists_of_absolute_paths_are_matched(run: Run, place: Path) -> None:
    for kind in ("query", "index"):
        names = ImageList.read(f"{kind}.txt", "data").names
        Path(f"{kind}.txt").write_text("".join(f"{place / 'data' / name}\n" for name in names))
    extract_both(run)
    assert run(feature_match.main, *match_words("--ground_truth_path", "gt.npz"))[0] == 0


def test_config_error_of_reference_config_is_exit_code_2(run: Run) -> None:
    Path("configs/tiny.ini").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"is not an \.ini file"):
        read_config("configs/tiny.ini")


# --- 13: the table ----------------------------------------------------------------------------------------------------


def test_the_table_names_every_flag_and_key_and_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    from patchvlad.commands.ini import WITHOUT_EFFECT
    from patchvlad.commands.reference import download_models, train

    table = (Path(__file__).parents[1] / "docs" / "reference.md").read_text(encoding="utf-8")
    assert not re.search(r"TODO|missing \|", table)
    told = re.findall(r"differs because \|\n\|[-|]+\n((?:\|.*\n)+)", table)
    rows = [row for rows in told for row in rows.splitlines()]
    assert len(rows) > 100
    for row in rows:
        verdict = re.split(r"(?<!\\)\| ", row)[-1]
        assert re.match(r"\*\*(same|better|differs)\*\*|as above|see below", verdict), row
    parsers: list[argparse.ArgumentParser] = []
    for command in (feature_extract, feature_match, match_realtime, match_two, add_pca, train, download_models):
        monkeypatch.setattr(command, "run_as", lambda parser, argv, ours: parsers.append(parser) or 0)
        command.main([])
    for parser in parsers:
        for option in (option for action in parser._actions for option in action.option_strings):
            assert option in ("-h", "--help") or f"`{option}" in table or f"{option}`" in table, (parser.prog, option)
    theirs = {
        *("batchsize", "cachebatchsize", "imageresizew", "imageresizeh", "matcher", "n_values_all", "dataset_name"),
        *("pred_input_path", "patchweights2use", "pooling", "resumepath", "num_pcs", "threads", "ngpu", "patch_sizes"),
        *("strides", "vladv2", "optim", "seed", "lr", "lrstep", "lrgamma", "weightdecay", "momentum", "patience"),
        *("evalevery", "margin", "num_clusters", "includepanos", "nneg"),
        *(key for keys in WITHOUT_EFFECT.values() for key in keys),
    }
    for key in theirs:
        assert re.search(rf"\b{key}\b", table, re.IGNORECASE), key
