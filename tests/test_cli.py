"""The command line as users meet it: what it does, what it says, and how it ends."""

import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TinyBackbone, photo, write_config, write_model, write_photos

from patchvlad import __version__
from patchvlad.commands.main import build_parser, main
from patchvlad.commands.options import preset_of
from patchvlad.commands.preset import read_preset
from patchvlad.errors import StoreError
from patchvlad.features.manifest import Manifest
from patchvlad.features.store import FeatureStore
from patchvlad.images.pixels import read_image
from patchvlad.model import checkpoints, known_models
from patchvlad.model.registry import BACKBONES

Run = Callable[..., tuple[int, str, str]]

MODEL_OPTIONS = ["--preset", "--config", "--fast", "--model", "--device"]
EXTRACTION_OPTIONS = [
    *("--batch", "--workers", "--store-dtype", "--patch-components", "--precision", "--overwrite", "--skip-unreadable")
]
PLACES_OPTIONS = [
    *("DATASET", "--radius", "--negative-radius", "--validation-radius", "--heading-limit", "--validation"),
    *("--cities", "--validation-cities", "--panoramas", "--seed"),
]
COUNTING_OPTIONS = ["--dataset", "--group"]
EXCLUSION_OPTIONS = ["--no-exclude-self", "--exclude-neighbours", "--exclude-seconds", "--times"]
LIST_OPTIONS = ["--queries", "--database", "--root", "--row-order", *EXCLUSION_OPTIONS]
POSE_OPTIONS = ["--database-poses", "--pose-format"]
OPTIONS = {
    "": [
        *("demo", "extract", "match", "compare", "fit", "places", "train", "add-pca", "models", "--version"),
        *("ground-truth", "list", "datasets", "check-dataset", "evaluate", "export"),
    ],
    "demo": ["--out"],
    "extract": ["photos", "--root", "--out", *MODEL_OPTIONS, *EXTRACTION_OPTIONS],
    "match": [
        *("--queries", "--database", "--out", "--root", "--ground-truth", "--radius", "--candidates", "--rerank"),
        *("--matcher", "--time-budget", "--figures", "--descriptors", *COUNTING_OPTIONS),
        *("--row-order", *EXCLUSION_OPTIONS, *MODEL_OPTIONS, *EXTRACTION_OPTIONS),
    ],
    "compare": ["A", "B", "--plot", "--matcher", *MODEL_OPTIONS],
    "fit": [
        *("photos", "--out", "--backbone", "--backbone-weights", "--clusters", "--components", "--cluster-weight"),
        *("--images", "--samples", "--seed", "--half", "--without-backbone"),
    ],
    "places": PLACES_OPTIONS,
    "train": [
        *(
            *PLACES_OPTIONS,
            "--out",
            "--resume",
            "--recipe",
            "--model",
            "--backbone",
            "--backbone-weights",
            "--clusters",
        ),
        *("--epochs", "--batch", "--learning-rate", "--trained-layers", "--size", "--memory", "--workers"),
        *("--precision", "--device"),
    ],
    "add-pca": [
        *("CHECKPOINT", "photos", "--components", "--out", "--images", "--samples", "--memory", "--seed", "--i-know"),
        *("--reference-format", "--device"),
    ],
    "ground-truth": [*LIST_OPTIONS, "--out", "--from", "--radius", "--heading-limit", "--frames", "--frame-step"],
    "list": ["photos", "--out", "--root"],
    "datasets": [],
    "check-dataset": ["NAME", "ROOT", "--queries", "--database", "--write"],
    "evaluate": [
        *("PREDICTIONS", "--ground-truth", *LIST_OPTIONS, "--radius", "--ks", "--denominator", *COUNTING_OPTIONS),
        *("--scores", "--descriptors", "--query-poses", *POSE_OPTIONS, "--json", "--figure"),
    ],
    "export": [
        *("SOURCE", "--format", "--out", "--stage", "--top", "--query-prefix", "--map-prefix", *LIST_OPTIONS),
        *("--scores", *POSE_OPTIONS, "--pose-folders"),
    ],
    "models": ["download"],
    "models download": ["NAME", "--all"],
}


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photos, a model, a config and the stores of both sets of photos; tests write elsewhere."""
    folder = tmp_path_factory.mktemp("world")
    write_photos(folder / "photos")
    write_model(folder / "tiny.safetensors")
    write_config(folder / "tiny.ini", "model = tiny.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES._things, "tiny", TinyBackbone)
        for name in ("queries", "database"):
            words = ["extract", folder / "photos" / name, "--out", folder / name, "--config", folder / "tiny.ini"]
            assert main([str(word) for word in words]) == 0
        yield folder


def match_words(world: Path, *more, stores: bool = True) -> list:
    place = world if stores else world / "photos"
    words = ["--queries", place / "queries", "--database", place / "database", "--config", world / "tiny.ini"]
    return ["match", *words, "--out", "results", *more]


def pairs(file: str) -> list[list[str]]:
    lines = Path("results", file).read_text().splitlines()
    return [line.split(", ") for line in lines if not line.startswith("#")]


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", OPTIONS)
def test_help_tells_every_option(command: str, run: Run) -> None:
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: patchvlad {command}".strip())
    listed = set(re.findall(r"^ +(-{0,2}[\w-]+)", out, flags=re.MULTILINE))
    assert set(OPTIONS[command]) <= listed
    assert listed >= set(re.findall(r"--[\w-]+", out.split("\n\n")[0])) - {"--help"}  # what the usage line names


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"patchvlad {__version__}\n", "")


def test_module_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys, patchvlad, patchvlad.commands.main\n"
        "try: patchvlad.commands.main.main(['match', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'cv2', 'faiss', 'matplotlib', 'PIL', 'numpy', 'scipy', 'tqdm', 'huggingface_hub')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_program_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "patchvlad", "extract"], capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1] == "patchvlad extract: error: the following arguments are required: photos, --out"
    )


# --- extract --------------------------------------------------------------------------------------------------------


def test_extract_makes_a_store(world: Path, run: Run) -> None:
    code, out, err = run("extract", world / "photos/database", "--out", "s", "--config", world / "tiny.ini")
    assert code == 0
    assert re.fullmatch(r"s: 5 images, \d+ kB\n", out)
    assert re.fullmatch(r"extracted 5 images into s in \d+\.\d s\n", err)  # and no progress bar: it took a blink
    assert FeatureStore("s").names == tuple(f"street/{place}.png" for place in (1, 2, 3, 4, 10))


def test_extract_takes_list_files_and_a_root(world: Path, run: Run) -> None:
    Path("list.txt").write_text(f"./street/10.png\n{world}/photos/database/street/2.png\n")
    words = ["list.txt", "--root", world / "photos/database", "--out", "s", "--config", world / "tiny.ini"]
    assert run("extract", *words)[0] == 0
    assert FeatureStore("s").names == ("street/10.png", "street/2.png")
    whole = FeatureStore(world / "database")
    np.testing.assert_allclose(FeatureStore("s").global_, whole.global_[[4, 1]], atol=1e-5)


def test_extract_starts_anew_only_when_told(world: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["extract", world / "photos/queries", "--out", "s", "--config", world / "tiny.ini"]
    assert run(*words)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("patchvlad.images.lists.read_photo", None)  # nothing is left to be read
        assert run(*words)[0] == 0
        code, _, err = run(*words, "--store-dtype", "float16")
        assert code == 1 and "Use another --out, or --overwrite" in err
    assert run(*words, "--store-dtype", "float16", "--overwrite")[0] == 0
    assert FeatureStore("s").patches[2].dtype == np.float16


def test_extract_skips_unreadable_photos_when_told(world: Path, run: Run) -> None:
    Path("p").mkdir()
    Image.fromarray(photo(1)).save("p/1.png")
    Path("p/2.png").write_text("no photo")
    words = ["extract", "p", "--out", "s", "--config", world / "tiny.ini"]
    code, _, err = run(*words)
    assert code == 1 and "p/2.png cannot be read as an image" in err
    code, out, err = run(*words, "--skip-unreadable")
    assert code == 0 and re.search(r"extracted 1 image into s in [\d.]+ s, 1 skipped", err)
    assert re.fullmatch(r"s: 2 images, 1 of them skipped, \d+ kB\n", out)
    assert FeatureStore("s").manifest.unreadable == (1,)


# --- match ----------------------------------------------------------------------------------------------------------


def test_match_ranks_two_stores_and_measures(world: Path, run: Run) -> None:
    code, out, err = run(*match_words(world, "--ground-truth", world / "photos/gt.csv"))
    assert (code, err) == (0, "")
    assert "a.png -> street/3.png* 1.00, " in out
    assert "b.png -> street/10.png* 1.00, " in out
    assert re.search(r"recall \[%\] +@1 +@2\nNetVLAD +[\d.]+ +[\d.]+\nPatchNetVLAD +100\.0 +100\.0\n2 queries, 5 ", out)
    assert out.endswith("written to results\n")
    assert {path.name for path in Path("results").iterdir()} == {
        *("NetVLAD_predictions.txt", "PatchNetVLAD_predictions.txt", "recalls.txt"),
        *("PatchNetVLAD_confidences.txt", "results.json", "queries.txt", "database.txt", "checksums.json"),
    }
    recalls = Path("results/recalls.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in recalls[:4]] == [
        f"Recall {stage}@{k}" for stage in ("NetVLAD", "PatchNetVLAD") for k in (1, 2)
    ]
    assert recalls[2:5] == [
        *("Recall PatchNetVLAD@1: 1.0000", "Recall PatchNetVLAD@2: 1.0000"),
        "# 2 queries, 5 database images, positives listed in gt.csv; recall over all queries",
    ]
    ranked = pairs("PatchNetVLAD_predictions.txt")
    assert [row[:2] for row in ranked[::2]] == [["a.png", "street/3.png"], ["b.png", "street/10.png"]]
    assert sorted(row[:2] for row in ranked) == sorted(row[:2] for row in pairs("NetVLAD_predictions.txt"))


def test_match_takes_photos_and_draws(world: Path, run: Run) -> None:
    words = match_words(world, "--ground-truth", world / "photos/gt.csv", "--figures", 5, stores=False)
    code, out, _ = run(*words)
    assert code == 0
    assert out.endswith("written to results, 2 pictures in results/figures\n")
    assert {path.name for path in Path("results/figures").iterdir()} == {"000000_a.png", "000001_b.png"}
    assert read_image("results/figures/000000_a.png").shape[1] == 1440
    first = pairs("PatchNetVLAD_predictions.txt")
    for again in (match_words(world), words):  # from stores, and from photos that are extracted already
        Path("results/PatchNetVLAD_predictions.txt").unlink()
        assert run(*again)[0] == 0
        assert pairs("PatchNetVLAD_predictions.txt") == first


def test_match_takes_a_store_and_a_list(world: Path, run: Run) -> None:
    Path("list.txt").write_text("queries/b.png\n")
    words = ["--queries", "list.txt", "--root", world / "photos", "--database", world / "database"]
    code, _, err = run("match", *words, "--config", world / "tiny.ini", "--out", "results")
    assert code == 0 and "extracted 1 image into results/stores/queries" in err
    assert pairs("PatchNetVLAD_predictions.txt")[0][:2] == ["queries/b.png", "street/10.png"]


def test_match_without_ground_truth_only_ranks(world: Path, run: Run) -> None:
    code, out, _ = run(*match_words(world))
    assert code == 0 and "street/3.png 1.00" in out
    assert "recall" not in out and "*" not in out
    assert not Path("results/recalls.txt").exists()


def test_match_reranks_as_many_candidates_as_told(world: Path, run: Run) -> None:
    for candidates, depth, expected in ((5, 5, 5), (5, 3, 3), (1, 5, 1)):
        assert run(*match_words(world, "--candidates", candidates, "--rerank", depth))[0] == 0
        before, after = pairs("NetVLAD_predictions.txt"), pairs("PatchNetVLAD_predictions.txt")
        assert len(before) == len(after) == 2 * candidates
        assert sum(score != "-inf" for *_, score in after) == 2 * expected
        rest = slice(expected, candidates)  # behind them the candidates keep their order
        assert [row[1] for row in after[rest]] == [row[1] for row in before[rest]]
    Path("results/PatchNetVLAD_predictions.txt").unlink()
    code, out, _ = run(*match_words(world, "--rerank", 0))
    assert code == 0 and "PatchNetVLAD" not in out
    assert not Path("results/PatchNetVLAD_predictions.txt").exists()


def test_match_reranks_as_many_candidates_as_fit_into_the_time(world: Path, run: Run) -> None:
    assert run(*match_words(world, "--time-budget", 60_000))[0] == 0
    assert all(score != "-inf" for *_, score in pairs("PatchNetVLAD_predictions.txt"))
    assert run(*match_words(world, "--time-budget", 0))[0] == 2


def test_fast_makes_small_stores_that_match_fast_by_themselves(world: Path, run: Run) -> None:
    options = ["--config", world / "tiny.ini", "--fast", "--patch-components", 9]
    for name in ("queries", "database"):
        assert run("extract", world / "photos" / name, "--out", name, *options)[0] == 0
    store = FeatureStore("database")
    assert (store.manifest.dtype, store.recipe.patch_dim, store.recipe.dim) == ("int8", 9, 12)
    assert store.patches[1].dtype == np.int8
    assert run("match", "--queries", "queries", "--database", "database", "--out", "results", *options)[0] == 0
    assert pairs("PatchNetVLAD_predictions.txt")[0][:2] == ["a.png", "street/3.png"]
    words = ["match", "--queries", "queries", "--database", world / "database", "--out", "results", *options]
    code, _, err = run(*words)
    assert code == 1 and "9 components per patch against 12" in err


@pytest.mark.parametrize("preset", ["lite", "performance-fast", "tiny.ini"])
def test_stores_are_matched_by_the_preset_and_variant_that_made_them(world: Path, preset: str, run: Run) -> None:
    copy = Path(shutil.copytree(world / "database", "copy"))
    dataclasses.replace(Manifest.read(copy), preset=preset).write(copy)
    arguments = build_parser("match").parse_args(["match", "--queries", "q", "--database", "copy", "--out", "o"])
    settings = preset_of(arguments, FeatureStore("copy"))
    assert settings == read_preset("lite" if preset == "tiny.ini" else preset)


def test_fast_matching_of_exact_stores_reduces_what_it_reads(world: Path, run: Run) -> None:
    words = match_words(world, "--fast", "--patch-components", 9)
    assert run(*words)[0] == 0
    assert pairs("PatchNetVLAD_predictions.txt")[0][:2] == ["a.png", "street/3.png"]


def test_match_takes_positions_and_a_radius(world: Path, run: Run) -> None:
    np.savez(
        "gt.npz", utmQ=np.array([[30, 0], [100, 0]]), utmDb=np.array([[10 * i, 0] for i in range(5)]), posDistThr=5
    )
    words = match_words(world, "--ground-truth", "gt.npz", "--row-order", "natural")
    assert "1 without a positive counted as missed, 5 database images, positives within 5 m" in run(*words)[1]
    assert "2 queries, 5 database images, positives within 1000 m" in run(*words, "--radius", 1000)[1]


def test_match_takes_the_matcher_told(world: Path, run: Run) -> None:
    for matcher in ("ransac", "rapid", "voting"):
        words = ["compare", world / "photos/queries/a.png", world / "photos/database/street/3.png"]
        code, out, _ = run(*words, "--config", world / "tiny.ini", "--matcher", matcher)
        assert code == 0 and f"({matcher}, " in out
        assert run(*match_words(world, "--matcher", matcher))[0] == 0
        assert pairs("PatchNetVLAD_predictions.txt")[0][:2] == ["a.png", "street/3.png"]


# --- compare, models, fit, demo -------------------------------------------------------------------------------------


def test_compare_scores_and_draws(world: Path, run: Run) -> None:
    photos = world / "photos"
    words = ["compare", photos / "queries/a.png", photos / "database/street/3.png", "--config", world / "tiny.ini"]
    code, out, err = run(*words, "--plot", "deep/er/matches.png")
    assert (code, err) == (0, "")
    # Two of eight columns of cells are out of sight, and one of seven more patches of 2 x 2 cells.
    assert "patches of 1 x 1 cells: score 0.75000, 36 matches\n" in out
    assert "patches of 2 x 2 cells: score 0.71429, 25 matches\n" in out
    assert out.startswith(f"score {0.6 * 36 / 48 + 0.4 * 25 / 35:.5f} (ransac, ")
    assert out.endswith("drawn into deep/er/matches.png\n")
    assert read_image("deep/er/matches.png").std() > 10
    assert [path.name for path in Path("deep/er").iterdir()] == ["matches.png"]


def test_compare_of_a_photo_with_itself_is_perfect(world: Path, run: Run) -> None:
    first = world / "photos/queries/a.png"
    assert run("compare", first, first, "--config", world / "tiny.ini")[1].startswith("score 1.00000 ")


def test_models_tells_which_are_there(world: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    here = known_models.KnownModel("lite", str(world / "tiny.safetensors"), 4, 12)
    monkeypatch.setitem(known_models.KNOWN_MODELS, "lite", here)
    code, out, err = run("models")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert set(known_models.KNOWN_MODELS) <= set(rows)
    assert rows["lite"].endswith(str(world / "tiny.safetensors"))
    assert "not downloaded" in rows["mapillary-512"] and "~" in rows["mapillary-512"]
    assert run("models", "download", "lite") == (0, f"{world / 'tiny.safetensors'}\n", "")


def test_fit_makes_a_model_that_extracts(world: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES._aliases, "lite", "tiny")
    monkeypatch.setattr(checkpoints, "imagenet_weights", lambda *_: TinyBackbone().state_dict())
    words = ["fit", world / "photos/database", world / "photos/queries", "--out", "new/mine.safetensors"]
    words += ["--clusters", 3, "--components", 6, "--images", 4, "--samples", 60, "--half"]
    code, out, _ = run(*words)
    assert code == 0
    assert re.match(r"new/mine.safetensors: fitted on 4 of 7 photos, seed 0, patchvlad \S+, K = 3, D = 6, ", out)
    words = ["extract", world / "photos/queries", "--out", "s", "--model", "new/mine.safetensors"]
    assert run(*words, "--config", world / "tiny.ini")[0] == 0
    assert FeatureStore("s").recipe.dim == 6


def test_demo_runs_wherever_it_is_put(world: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    here = known_models.KnownModel("lite", str(world / "tiny.safetensors"), 4, 12)
    monkeypatch.setitem(known_models.KNOWN_MODELS, "lite", here)
    monkeypatch.setattr("patchvlad.commands.sample_photos.sample_photos", write_photos)
    code, out, _ = run("demo", "--out", "my demo")
    assert code == 0
    assert "a.png -> street/3.png*" in out
    assert len(list(Path("my demo/results/figures").iterdir())) == 2
    # What it prints is a command that can be typed.
    assert out.startswith("patchvlad match --queries 'my demo/photos/queries' ")


# --- mistakes -------------------------------------------------------------------------------------------------------


EXTRACT = "extract {photos}/queries --out s"
MATCH = "match --queries {world}/queries --database {world}/database --out results"
COMPARE = "compare {photos}/queries/a.png {photos}/queries/b.png"
INI = "--config {world}/tiny.ini"
MISTAKES = {  # name: (exit code, command, parts of what is said)
    "no such folder": (1, f"extract nowhere --out s {INI}", ["nowhere does not exist", "give a folder"]),
    "empty folder": (1, f"extract empty --out s {INI}", ["empty holds no image", ".jpg"]),
    "corrupt photo": (1, f"extract corrupt --out s {INI}", ["corrupt/1.jpg cannot be read", "repair it"]),
    "list of missing photos": (1, f"extract list.txt --out s {INI}", ["2 of 2", "gone.jpg", "check the root"]),
    "root of a folder": (1, f"{EXTRACT} --root . {INI}", ["photos/queries is a folder", "list file only"]),
    "out is a file": (1, f"extract {{photos}}/queries --out list.txt {INI}", ["list.txt", "choose another"]),
    "out is no store": (1, f"extract {{photos}}/queries --out corrupt {INI}", ["corrupt", "choose another"]),
    "no such config": (2, f"{EXTRACT} --config no.ini", ["no.ini cannot be read", "presets are lite"]),
    "wrong config": (2, f"{EXTRACT} --config wrong.ini", ["wrong.ini: [global_params] patch_sizes = two"]),
    "too large patches": (2, f"{EXTRACT} --config large.ini", ["patches of 9 x 9 cells", "at least 144 pixels"]),
    "unknown preset": (2, f"{EXTRACT} --preset fast", ["'fast'", "performance"]),
    "preset and config": (2, f"{EXTRACT} --preset lite {INI}", ["not allowed with"]),
    "unknown model": (1, f"{EXTRACT} {INI} --model mine", ["no model file mine", "known models are lite"]),
    "no model at all": (1, f"{EXTRACT} {INI} --model list.txt", ["list.txt"]),
    "other components": (1, f"{EXTRACT} --config other.ini", ["has 12 components, but 99 were asked for"]),
    "unknown device": (2, f"{EXTRACT} {INI} --device gpu", ["device gpu cannot be used", "--device cpu"]),
    "absent device": (2, f"{EXTRACT} {INI} --device cuda:99", ["cuda:99 cannot be used", "--device cpu"]),
    "device without numbers": (2, f"{EXTRACT} {INI} --device meta", ["meta cannot be used", "--device cpu"]),
    "no batch": (2, f"{EXTRACT} {INI} --batch 0", ["--batch: must be at least 1, not 0"]),
    "no workers": (2, f"{EXTRACT} {INI} --workers none", ["--workers: invalid whole_number value: 'none'"]),
    "stores of another preset": (1, f"{MATCH} --preset speed", ["queries was extracted", "(1, 2)", "(5,)", "give"]),
    "stores of two models": (1, f"{MATCH} {INI} --queries other", ["do not belong together", "Extract both"]),
    "half a store": (1, f"{MATCH} {INI} --queries half", ["half is incomplete (1 of 2 images)", "run the same"]),
    "damaged store": (1, f"{MATCH} {INI} --queries damaged", ["damaged/manifest.json is damaged", "extract again"]),
    "figures of stores": (2, f"{MATCH} {INI} --figures 3", ["--figures needs photos", "not stores"]),
    "no candidates": (2, f"{MATCH} {INI} --candidates 0", ["--candidates: must be at least 1, not 0"]),
    "no ground truth": (1, f"{MATCH} {INI} --ground-truth gt.npz", ["gt.npz does not exist", "give an .npz"]),
    "truth of others": (1, f"{MATCH} {INI} --ground-truth others.csv", ["others.csv names no image", "'c.png'"]),
    "short truth": (1, f"{MATCH} {INI} --ground-truth short.npz", ["1 images for the queries", "2 were given"]),
    "radius alone": (1, f"{MATCH} {INI} --radius 5", ["a radius", "give both"]),
    "missing photo": (1, f"compare {{photos}}/queries/a.png gone.jpg {INI}", ["gone.jpg does not exist"]),
    "folder as photo": (1, f"compare {{photos}}/queries/a.png empty {INI}", ["empty is a folder, not a photo"]),
    "unknown picture": (2, f"{COMPARE} {INI} --plot a.docx", ["a.docx", "must end in one of", ".png"]),
    "no patches to compare": (2, f"{COMPARE} --config global.ini", ["no patches", "choose another preset"]),
    "fit to another file": (2, "fit {photos}/queries --out mine.pth", ["mine.pth", "end in .safetensors"]),
    "fit without seed": (2, "fit {photos}/queries --out m.safetensors --seed -1", ["at least 0, not -1"]),
    "download what": (2, "models download", ["name the models", "--all"]),
    "download unknown": (1, "models download mine", ["unknown model 'mine'", "mapillary-512"]),
    "nothing": (2, "", ["required: COMMAND"]),
    "unknown command": (2, "recognise", ["invalid choice: 'recognise'", "match"]),
}


@pytest.fixture
def mess(world: Path, run: Run) -> None:
    """Everything that users can have got wrong, in the current folder."""
    for folder in ("empty", "corrupt", "damaged"):
        Path(folder).mkdir()
    Path("corrupt/1.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    Path("damaged/manifest.json").write_text("{")
    Path("list.txt").write_text("gone.jpg\nlost.jpg\n")
    Path("others.csv").write_text("query,positives\nc.png,street/1.png\n")
    np.savez("short.npz", utmQ=np.zeros((1, 2)), utmDb=np.zeros((5, 2)), posDistThr=5)
    named = f"model = {world / 'tiny.safetensors'}"
    for name, model, old, new in (
        ("wrong", named, "patch_sizes = 1,2", "patch_sizes = two"),
        ("large", named, "patch_sizes = 1,2", "patch_sizes = 1,9"),
        ("global", named, "pooling = patchnetvlad", "pooling = netvlad"),
        ("other", f"{named}\nnum_pcs = 99", "", ""),
    ):
        path = write_config(Path(f"{name}.ini"), model)
        path.write_text(path.read_text().replace(old, new))
    write_model(Path("other.safetensors"), components=7)
    words = ["extract", world / "photos/queries", "--config", world / "tiny.ini"]
    assert run(*words, "--model", "other.safetensors", "--out", "other")[0] == 0
    assert run(*words, "--out", "half")[0] == 0
    dataclasses.replace(Manifest.read(Path("half")), rows=1).write(Path("half"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line_that_helps(mistake: str, world: Path, mess: None, run: Run) -> None:
    code, command, said = MISTAKES[mistake]
    found, out, err = run(*(word.format(world=world, photos=world / "photos") for word in command.split()))
    assert (found, out) == (code, "")
    *usage, line = err.splitlines()
    assert re.match(r"patchvlad( \w+)*: error: ", line)
    assert not usage or usage[0].startswith("usage: ")
    for part in said:
        assert part in line
    assert not Path("results").exists()
    with pytest.raises(StoreError):
        FeatureStore("s")


def test_wrong_truth_is_told_before_photos_are_extracted(world: Path, mess: None, run: Run) -> None:
    code, _, err = run(*match_words(world, "--ground-truth", "others.csv", stores=False))
    assert code == 1 and "others.csv" in err and "images into" not in err
    assert not Path("results").exists()


def test_store_of_another_model_is_told_before_photos_are_extracted(world: Path, mess: None, run: Run) -> None:
    code, _, err = run(*match_words(world, "--queries", "other", stores=False))
    assert code == 1 and "images into" not in err
    assert "other and preset" in err and "model other.safetensors" in err and "Give the preset or config" in err
    assert not Path("results").exists()


def test_files_that_cannot_be_written_are_named(world: Path, run: Run) -> None:
    Path("results").write_text("a file where a folder should be")
    code, out, err = run(*match_words(world))
    assert (code, out) == (1, "")
    assert re.fullmatch(r"patchvlad: error: results.*: .*\n", err)


def test_interruption_is_no_traceback(world: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("patchvlad.model.checkpoints.load_model", interrupted)
    code, out, err = run("extract", world / "photos/queries", "--out", "s", "--config", world / "tiny.ini")
    assert (code, out) == (130, "")
    assert err == "\npatchvlad: interrupted; what is finished is kept: the same command, or --resume, goes on there\n"


def test_our_own_bugs_are_not_hidden(world: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("patchvlad.model.checkpoints.load_model", broken)
    with pytest.raises(ZeroDivisionError):
        run("extract", world / "photos/queries", "--out", "s", "--config", world / "tiny.ini")
