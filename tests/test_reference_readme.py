"""The reference's README, command by command, by our package and where it can run by the reference itself (0.1.8).

Its lists, roots and checkpoint are small stand-ins: photos of ../shared/data/toy, a training city in MSLS's layout, and
the parity checkpoint in the released format. The reference runs unmodified out of its wheel, beside a stand-in for
torchvision (benchmarks/stand_in) and with NumPy's `in1d`, which newer NumPy lacks.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import generated_city
import numpy as np
import pytest
from PIL import Image

from patchvlad.commands.reference import add_pca, feature_extract, feature_match, match_two, train
from patchvlad.errors import DownloadError

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).parents[1] / "benchmarks" / "stand_in"
FEATURES, RESULTS = "patchnetvlad/output_features", "patchnetvlad/results/pitts30k"
CONFIG = """[feature_extract]
batchsize = 3
cachebatchsize = 3
imageresizew = 640
imageresizeh = 480
[feature_match]
matcher = RANSAC
n_values_all = 1,5
dataset_name = NA
pred_input_path = None
imageresizew = 640
imageresizeh = 480
patchweights2use = 0.45,0.15,0.4
[global_params]
pooling = patchnetvlad
resumepath = ./pretrained_models/mapillary_WPCA
threads = 0
num_pcs = 128
ngpu = 1
patch_sizes = 2,5,8
strides = 1,1,1
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's package and scripts, unmodified, and what they need beside them."""
    from patchvlad.commands.wheels import REFERENCE, fetched

    folder = tmp_path_factory.mktemp("reference")
    try:
        with fetched(REFERENCE) as archive:
            archive.extractall(folder)
    except (DownloadError, zipfile.BadZipFile) as error:
        pytest.skip(f"needs the reference's wheel from PyPI: {error}")
    (folder / "sitecustomize.py").write_text("import numpy\nif not hasattr(numpy, 'in1d'): numpy.in1d = numpy.isin\n")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, parity_checkpoints: Path) -> Path:
    """The folder that the README's commands are given in."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "pretrained_models").mkdir()
    (folder / "pretrained_models/mapillary_WPCA128.pth.tar").symlink_to(parity_checkpoints / "imagenet_WPCA128.pth.tar")
    (folder / "patchnetvlad/configs").mkdir(parents=True)
    (folder / "patchnetvlad/results").mkdir()
    (folder / "patchnetvlad/configs/performance.ini").write_text(CONFIG)
    toy, names = shared_data / "toy", {"query": ("q1", "q3"), "index": ("db1", "db2", "db3", "db4", "db5", "db6")}
    for kind, part in (("query", "queries"), ("index", "database")):
        shutil.copytree(toy / part, folder / "Pitts" / part)
        lines = [f"./{part}/{name}.jpg\n" for name in names[kind]]
        (folder / f"pitts30k_imageNames_{kind}.txt").write_text("".join(lines))
    with open(toy / "gt.csv", newline="") as file:
        positives = {row["query"]: row["positives"].split(";") for row in csv.DictReader(file)}
    points = {name: np.array([100.0 * row, 0.0]) for row, name in enumerate(names["index"])}
    where = [
        next(
            (points[Path(p).stem] for p in positives[f"queries/{q}.jpg"] if Path(p).stem in points), np.array([1e4, 0])
        )
        for q in names["query"]
    ]
    np.savez(folder / "gt.npz", utmQ=np.stack(where), utmDb=np.stack(list(points.values())), posDistThr=25)
    generated_city.write_msls(folder / "msls", 6)
    for path in (folder / "msls").rglob("*.jpg"):
        Image.open(path).resize((160, 120)).save(path)
    return folder


def run(command: Callable[[Sequence[str]], int], *words: object) -> None:
    assert command([str(word) for word in words]) == 0


@pytest.fixture
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world)
    monkeypatch.setenv("PATCHVLAD_MODELS", str(world / "known"))
    monkeypatch.setenv("PATCHVLAD_CACHE", str(world / "cache"))
    return world


def theirs(reference: Path, *words: object, code: int = 0) -> str:
    """Runs the reference in the current folder; the first word is a script of its, or a module of its behind -m."""
    scripts = reference / "patchnetvlad-0.1.8.data" / "scripts"
    first = [str(words[0])] if words[0] in ("-m", "-c") else [str(scripts / str(words[0]))]
    path = os.pathsep.join(map(str, (reference, scripts, STAND_IN)))
    done = subprocess.run(
        [sys.executable, *first, *map(str, words[1:])],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def extract_words(kind: str, out: str) -> list[str]:
    words = ["--config_path", "patchnetvlad/configs/performance.ini"]
    words += [f"--dataset_file_path=pitts30k_imageNames_{kind}.txt", "--dataset_root_dir=Pitts"]
    return [*words, "--output_features_dir", out, "--nocuda"]


def match_words(query: str, index: str, out: str) -> list[str]:
    words = ["--config_path", "patchnetvlad/configs/performance.ini", "--dataset_root_dir=Pitts"]
    words += ["--query_file_path=pitts30k_imageNames_query.txt", "--index_file_path=pitts30k_imageNames_index.txt"]
    words += ["--query_input_features_dir", query, "--index_input_features_dir", index]
    return [*words, "--ground_truth_path", os.path.abspath("gt.npz"), "--result_save_folder", out, "--nocuda"]


@pytest.fixture(scope="module")
def extracted(world: Path, reference: Path) -> Path:
    """Features of both, by both."""
    before = Path.cwd()
    os.chdir(world)
    try:
        for kind in ("query", "index"):
            run(feature_extract.main, *extract_words(kind, f"{FEATURES}/pitts30k_{kind}"), "--reference-files")
            theirs(reference, "feature_extract.py", *extract_words(kind, f"theirs/{kind}"))
    finally:
        os.chdir(before)
    return world


def lines_of(folder: Path | str, stage: str) -> list[str]:
    """Predictions, with paths as the reference's would be without a dot in its lists."""
    return Path(folder, f"{stage}_predictions.txt").read_text().replace("/./", "/").splitlines()


def test_extraction_leaves_the_same_files(extracted: Path, here: Path) -> None:
    cosines: dict[str, list[float]] = {"2": [], "5": [], "8": []}
    for kind in ("query", "index"):
        left = sorted(Path("theirs", kind).glob("*.npy"))
        assert len(left) == 1 + 3 * (2 if kind == "query" else 6)
        for path in left:
            ours, other = np.load(f"{FEATURES}/pitts30k_{kind}/{path.name}"), np.load(path)
            assert (ours.dtype, ours.shape, ours.flags.c_contiguous) == (other.dtype, other.shape, True), path
            if path.name == "globalfeats.npy":
                np.testing.assert_allclose(ours, other, atol=1e-5)
            else:  # windows by differences of cumulative sums are noise where a cluster has no mass, see shared/parity
                cosines[path.name[16]].append(float((ours * other).sum(axis=0).mean()))
    for size, least in (("2", 0.94), ("5", 0.99), ("8", 0.999)):
        assert np.mean(cosines[size]) > least, (size, cosines[size])


def test_matching_leaves_the_same_files_from_the_same_features(extracted: Path, here: Path, reference: Path) -> None:
    theirs(reference, "feature_match.py", *match_words("theirs/query", "theirs/index", "theirs/results"))
    run(feature_match.main, *match_words("theirs/query", "theirs/index", RESULTS))
    for stage in ("NetVLAD", "PatchNetVLAD"):
        assert lines_of(RESULTS, stage) == lines_of("theirs/results", stage)
    ours, other = (Path(folder, "recalls.txt").read_text().splitlines() for folder in (RESULTS, "theirs/results"))
    assert ours[: len(other)] == other and all(line.startswith("#") for line in ours[len(other) :])


def test_the_reference_matches_our_features_and_converts_our_predictions(
    extracted: Path, here: Path, reference: Path
) -> None:
    words = match_words(f"{FEATURES}/pitts30k_query", f"{FEATURES}/pitts30k_index", "from_ours")
    theirs(reference, "feature_match.py", *words)
    run(feature_match.main, *words[: words.index("from_ours")], "by_ours", "--nocuda")
    for stage in ("NetVLAD", "PatchNetVLAD"):
        assert lines_of("by_ours", stage) == lines_of("from_ours", stage)
    module = "patchnetvlad.training_tools.convert_kapture_to_msls"
    theirs(reference, "-m", module, "by_ours/PatchNetVLAD_predictions.txt", "msls.txt")
    rows = [line.split() for line in Path("msls.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == ["q1", "q3"]
    assert all(len(row) == 1 + 5 and {name[:2] for name in row[1:]} == {"db"} for row in rows)


def test_match_two_with_the_examples(here: Path) -> None:
    run(match_two.main, "--config_path", "patchnetvlad/configs/performance.ini", "--nocuda")
    words = ["--first_im_path=patchnetvlad/example_images/tokyo_query.jpg"]
    words += ["--second_im_path=patchnetvlad/example_images/tokyo_db.png"]
    run(match_two.main, "--config_path", "patchnetvlad/configs/performance.ini", *words, "--nocuda")
    assert Path("results/patchMatchings.png").is_file()


# Loads a checkpoint as the reference's train.py does when it resumes, and its add_pca.py.
RESUMES = """
import sys, torch
from configparser import ConfigParser
from patchnetvlad.models.models_generic import get_backend, get_model
file, = sys.argv[1:]
config = ConfigParser()
config.read_dict({"global_params": {"pooling": "netvlad", "num_clusters": "16", "vladv2": "False"}})
dim, encoder = get_backend()
layers = list(encoder.children())
for layer in layers[:-5]:
    for parameter in layer.parameters():
        parameter.requires_grad = False
model = get_model(encoder, dim, config["global_params"], append_pca_layer=False)
checkpoint = torch.load(file, map_location="cpu")
model.load_state_dict(checkpoint["state_dict"])
optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1, momentum=0.9)
optimizer.load_state_dict(checkpoint["optimizer"])
for parameter in model.parameters():
    if parameter.requires_grad:
        parameter.grad = torch.zeros_like(parameter)
optimizer.step()
print(*(checkpoint[key] for key in ("epoch", "not_improved", "best_score", "parallel")), *sorted(checkpoint["recalls"]))
"""


def test_training_checkpoints_go_both_ways(here: Path, reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.ini").write_text(
        "[train]\nimageresizew = 160\nimageresizeh = 128\nlr = 0.001\n[global_params]\nnum_pcs = 16\n"
    )
    words = ["--config_path", "train.ini", "--save_path=runs", "--dataset_root_dir=msls", "--nocuda", "--threads", 2]
    start = "pretrained_models/mapillary_WPCA128.pth.tar"
    run(train.main, *words, f"--resume_path={start}", "--nEpochs", 1)
    (folder,) = Path("runs").iterdir()
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "checkpoint.pth.tar",
        "model_best.pth.tar",
    ]
    file = folder / "checkpoints/checkpoint.pth.tar"
    assert re.match(r"1 \d+ [\d.]+ False 1 5 10\n", theirs(reference, "-c", RESUMES, file))
    capsys.readouterr()
    # Ours goes on from it with more epochs, with its optimiser.
    run(train.main, *words, f"--resume_path={file}", "--nEpochs", 2, "--identifier", "again", "--save_every_epoch")
    (again,) = (path for path in Path("runs").iterdir() if path.name.endswith("again"))
    assert (again / "checkpoints/checkpoint_epoch2.pth.tar").is_file()
    # And a run of ours goes on as well.
    run(train.main, *words, f"--resume_path={folder}", "--nEpochs", 2)
    assert "of 2 epochs" in capsys.readouterr().out or (folder / "history.csv").read_text().count("\n") >= 4
    run(add_pca.main, "--config_path", "train.ini", f"--resume_path={file}", "--dataset_root_dir=msls", "--nocuda")
    whitened = folder / "checkpoints/checkpoint_WPCA16.pth.tar"
    code = (
        "import sys, torch; c = torch.load(sys.argv[1]); print(c['num_pcs'], c['state_dict']['WPCA.0.weight'].shape[0])"
    )
    assert theirs(reference, "-c", code, whitened) == "16 16\n"
