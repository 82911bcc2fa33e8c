"""The reference's commands, with its flags, files and .ini format, from end to end."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import CONFIG, HEIGHT, RESUME, WIDTH, photo, write_checkpoint

from patchvlad.commands.reference import (
    add_pca,
    download_models,
    feature_extract,
    feature_match,
    match_realtime,
    match_two,
    train,
)
from patchvlad.features.store import FeatureStore
from patchvlad.images.pixels import read_image
from patchvlad.model import known_models

Run = Callable[..., tuple[int, str, str]]
FLAGS = {
    feature_extract.main: [
        *("--config_path", "--dataset_file_path", "--dataset_root_dir", "--output_features_dir", "--nocuda")
    ],
    feature_match.main: [
        *("--config_path", "--dataset_root_dir", "--query_file_path", "--index_file_path", "--nocuda"),
        *("--query_input_features_dir", "--index_input_features_dir", "--ground_truth_path"),
        *("--result_save_folder", "--posDistThr"),
    ],
    match_realtime.main: ["--config_path", "--nocuda"],
    match_two.main: ["--config_path", "--first_im_path", "--second_im_path", "--plot_save_path", "--nocuda"],
    download_models.main: ["--ask_for_permission"],
    train.main: [
        *("--config_path", "--cache_path", "--save_path", "--dataset_root_dir", "--resume_path", "--cluster_path"),
        *("--identifier", "--nEpochs", "--start_epoch", "--save_every_epoch", "--threads", "--nocuda"),
    ],
    add_pca.main: ["--config_path", "--resume_path", "--dataset_root_dir", "--dataset_choice", "--nocuda", "--threads"],
}
OURS = {  # further flags, ours
    feature_extract.main: ["--reference-files", "--pixel-range"],
    match_two.main: ["--pixel-range"],
    match_realtime.main: [
        *("--source", "--preset", "--http", "--video", "--no-window", "--every-frame", "--pixel-range")
    ],
    add_pca.main: ["--i-know"],
}


@pytest.fixture(autouse=True)
def place(reference_folder: Path) -> Path:
    return reference_folder


@pytest.fixture
def run(run_command: Run) -> Run:
    return run_command


def extract_words(kind: str, root: str = "data") -> list[str]:
    words = ["--config_path", "configs/tiny.ini", "--dataset_file_path", f"{kind}.txt", "--dataset_root_dir", root]
    return [*words, "--output_features_dir", f"output_features/{kind}", "--nocuda"]


def match_words(*more) -> list:
    words = ["--config_path", "configs/tiny.ini", "--dataset_root_dir", "data"]
    for kind in ("query", "index"):
        words += [f"--{kind}_file_path", f"{kind}.txt", f"--{kind}_input_features_dir", f"output_features/{kind}"]
    return [*words, "--result_save_folder", "results/tiny", "--nocuda", *more]


@pytest.fixture
def extracted(run: Run) -> None:
    for kind in ("query", "index"):
        code, out, _ = run(feature_extract.main, *extract_words(kind))
        assert (code, out) == (0, "Done. Finished extracting and saving features\n")


def pairs(file: str) -> list[list[str]]:
    lines = Path("results/tiny", file).read_text().splitlines()
    return [line.split(", ")[:2] for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("command", FLAGS, ids=lambda command: command.__name__)
def test_every_flag_of_the_reference_is_there(command: Callable, run: Run) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert out.startswith("usage: patchnetvlad-")
    assert set(re.findall(r"--[\w-]+", out)) == {*FLAGS[command], *OURS.get(command, ()), "--help"}


def test_features_are_named_by_the_list(extracted: None) -> None:
    assert FeatureStore("output_features/query").names == ("queries/a.png", "queries/b.png")
    assert FeatureStore("output_features/index").names[:2] == ("database/street/10.png", "database/street/4.png")


def test_match_writes_the_references_files(extracted: None, run: Run) -> None:
    code, out, err = run(feature_match.main, *match_words("--ground_truth_path", "gt.npz"))
    assert (code, err) == (0, "")
    assert out.endswith("\nDone\n")
    assert {path.name for path in Path("results/tiny").iterdir()} == {
        *("NetVLAD_predictions.txt", "PatchNetVLAD_predictions.txt", "recalls.txt"),
        *("PatchNetVLAD_confidences.txt", "results.json", "queries.txt", "database.txt", "checksums.json"),
    }
    # a.png shows 3.png, which is 10 m away; b.png shows 10.png, which is where it is.
    assert pairs("PatchNetVLAD_predictions.txt")[::2] == [
        ["data/queries/a.png", "data/database/street/3.png"],
        ["data/queries/b.png", "data/database/street/10.png"],
    ]
    lines = Path("results/tiny/recalls.txt").read_text().splitlines()
    assert [re.sub(r"\d\.\d{4}$", "", line) for line in lines] == [
        *(f"Recall {stage}@{k}: " for stage in ("NetVLAD", "PatchNetVLAD") for k in (1, 2)),
        "# 2 queries, 5 database images, positives within 15 m; recall over all queries",
        lines[-1],
    ]
    assert re.match(r"# preset .*tiny.ini, model .*, 96 x 128 px, .* re-ranked by ransac, patchvlad \S+$", lines[-1])
    assert lines[2:4] == ["Recall PatchNetVLAD@1: 1.0000", "Recall PatchNetVLAD@2: 1.0000"]


def test_posdistthr_overrides_the_ground_truths(extracted: None, run: Run) -> None:
    assert run(feature_match.main, *match_words("--ground_truth_path", "gt.npz", "--posDistThr", 5))[0] == 0
    lines = Path("results/tiny/recalls.txt").read_text().splitlines()
    assert lines[2] == "Recall PatchNetVLAD@1: 0.5000"
    assert "positives within 5 m;" in lines[-2]


def test_match_without_ground_truth_only_ranks(extracted: None, run: Run) -> None:
    assert run(feature_match.main, *match_words())[0] == 0
    assert not Path("results/tiny/recalls.txt").exists()
    assert len(pairs("NetVLAD_predictions.txt")) == 4


def test_tokyo247_keeps_the_best_cutout_of_each_panorama(place: Path, run: Run) -> None:
    names = [f"pano{number // 12}/{number % 12:02d}.png" for number in range(30)]
    for number, name in enumerate(names):
        (place / "data" / name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo(100 + number)).save(place / "data" / name)
    Path("index.txt").write_text("\n".join(names))
    path = Path("configs/tiny.ini")
    path.write_text(path.read_text().replace("n_values_all = 1,2", "n_values_all = 1,30"))
    for kind in ("query", "index"):
        assert run(feature_extract.main, *extract_words(kind))[0] == 0
    assert run(feature_match.main, *match_words())[0] == 0
    expected = []
    for query, name in pairs("NetVLAD_predictions.txt"):  # of all images, best first: the first of each panorama stays
        panorama = name.rpartition("/")[0]
        if (query, panorama) not in [(kept, other.rpartition("/")[0]) for kept, other in expected]:
            expected.append([query, name])
    np.savez("tokyo247.npz", utmQ=np.zeros((2, 2)), utmDb=np.zeros((30, 2)), posDistThr=25)
    code, out, _ = run(feature_match.main, *match_words("--ground_truth_path", "tokyo247.npz"))
    assert code == 0 and out.startswith("Tokyo 24/7: only the best of the 12 cut-outs")
    assert pairs("NetVLAD_predictions.txt") == expected
    assert len(expected) == 2 * 3


def test_match_two_scores_and_draws(run: Run) -> None:
    words = ["--first_im_path", "data/queries/a.png", "--second_im_path", "data/database/street/3.png"]
    code, out, err = run(
        match_two.main,
        "--config_path",
        "configs/tiny.ini",
        *words,
        "--plot_save_path",
        "deep/results",
        "--nocuda",
    )
    assert (code, err) == (0, "")
    score = 0.6 * 36 / 48 + 0.4 * 25 / 35
    assert out.startswith(f"Similarity score between the two images is: {score:.5f}. Larger scores indicate better")
    assert read_image("deep/results/patchMatchings.png").std() > 10


def test_missing_config_stands_for_the_preset_of_that_name(run: Run) -> None:
    write_checkpoint(Path("known/mapillary_WPCA512.pth.tar"), components=512)
    words = ["--first_im_path", "data/queries/a.png", "--second_im_path", "data/queries/a.png", "--nocuda"]
    code, out, err = run(match_two.main, "--config_path", "patchnetvlad/configs/speed.ini", *words)
    assert code == 0
    assert err == "patchnetvlad/configs/speed.ini does not exist: using the preset speed\n"
    columns, rows = 640 // 16 - 5, 480 // 16 - 5
    assert f"is: {columns**2 + rows**2:.5f}." in out  # rapid spatial score of equal images: no residual at any patch


def test_default_config_is_performance(run: Run) -> None:
    words = ["--first_im_path", "data/queries/a.png", "--second_im_path", "data/queries/a.png", "--nocuda"]
    write_checkpoint(Path("known/mapillary_WPCA4096.pth.tar"), components=13)
    code, _, err = run(match_two.main, *words)
    assert code == 1 and "mapillary_WPCA4096.pth.tar has 13 components, but 4096 were asked for" in err


def test_without_a_gpu_it_goes_on_and_says_so(run: Run) -> None:
    words = [word for word in extract_words("query") if word != "--nocuda"]
    code, _, err = run(feature_extract.main, *words)
    assert code == 0
    assert err.startswith("no GPU found: using the CPU")


def test_config_of_the_reference_is_taken_with_the_checkpoint_beside_it(place: Path, run: Run) -> None:
    (place / "pretrained_models").rename(place / "configs" / "pretrained_models")
    assert run(feature_extract.main, *extract_words("query"))[0] == 0


@pytest.mark.parametrize(
    ("answer", "fetched"), [("y\n", 6), ("YES\n", 6), ("n\n", 0), ("", 0)], ids=["y", "yes", "no", "no terminal"]
)
def test_download_asks_first_when_told(
    answer: str, fetched: int, run: Run, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    names = []
    monkeypatch.setattr(known_models, "download", lambda name: names.append(name) or place / name)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, out, err = run(download_models.main, "--ask_for_permission")
    assert len(names) == fetched
    assert re.match(r"Download all released models into \S+/known \(about \d+ MB\)\? \[y/n\] ", out)
    assert (code, err) == (0, "")
    assert out.endswith("nothing was downloaded\n") == (not fetched)


def test_download_fetches_every_released_model(run: Run, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(known_models, "download", lambda name: place / name)
    code, out, _ = run(download_models.main)
    assert code == 0
    assert {Path(line).name for line in out.splitlines()} == {
        f"{family}-{count}" for family in ("mapillary", "pittsburgh") for count in (128, 512, 4096)
    }


def test_features_of_another_list_are_refused(extracted: None, run: Run) -> None:
    Path("query.txt").write_text("queries/b.png\nqueries/a.png\n")
    code, _, err = run(feature_match.main, *match_words())
    assert code == 1
    assert err.startswith(
        "patchnetvlad-feature-match: error: output_features/query has features of 2 images, query.txt"
    )
    assert "extract this list first" in err


@pytest.mark.parametrize(
    ("command", "words", "code", "said"),
    [
        (feature_extract.main, ["--dataset_file_path", "no.txt"], 1, "no.txt does not exist: give"),
        (
            feature_extract.main,
            ["--config_path", "mine.ini", "--dataset_file_path", "query.txt"],
            2,
            "mine.ini",
        ),
        (feature_extract.main, extract_words("query", root="."), 1, "2 of 2 images are missing below .*root"),
        (feature_extract.main, [], 2, "required: --dataset_file_path"),
        (feature_match.main, match_words(), 1, "output_features/query is not a feature store"),
        (match_two.main, ["--first_im_path", "a.png", "--second_im_path", "b.png"], 1, "mapillary-4096"),
    ],
)
def test_mistakes_are_told(command: Callable, words: list[str], code: int, said: str, run: Run) -> None:
    found, out, err = run(command, *words)
    assert (found, out) == (code, "")
    line = err.splitlines()[-1]
    assert re.match(r"patchnetvlad-[a-z-]+: error: ", line) and re.search(said, line)


def test_tiny_config_is_in_the_references_format() -> None:
    text = CONFIG.format(model=RESUME, matcher="spatialApproximator", height=HEIGHT, width=WIDTH)
    sections = re.findall(r"^\[(\w+)\]$", text, flags=re.MULTILINE)
    assert sections == ["feature_extract", "feature_match", "global_params"]
