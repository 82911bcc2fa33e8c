"""Presets and the reference's .ini files: what they say, and what is said of mistakes in them."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from patchvlad.commands.preset import PRESETS, Preset, read_config, read_preset
from patchvlad.errors import ConfigError

# The reference's files as it releases them.
PERFORMANCE = """\
[feature_extract]
batchsize = 5
cachebatchsize = 5
imageresizew = 640
imageresizeh = 480

[feature_match]
matcher = RANSAC
n_values_all = 1,5,10,20,50,100
dataset_name = NA
pred_input_path = None
imageresizew = 640
imageresizeh = 480
patchweights2use = 0.45,0.15,0.4

[global_params]
pooling = patchnetvlad
resumepath = ./pretrained_models/mapillary_WPCA
threads = 0
num_pcs = 4096
ngpu = 1
patch_sizes = 2,5,8
strides = 1,1,1
"""
SPEED = (
    PERFORMANCE.replace("RANSAC", "spatialApproximator")
    .replace("0.45,0.15,0.4", "1")
    .replace("4096", "512")
    .replace("2,5,8", "5")
    .replace("1,1,1", "1")
)
NETVLAD_EXTRACT = """\
[feature_extract]
batchsize = 5
cachebatchsize = 5
imageresizew = 640
imageresizeh = 480

[global_params]
pooling = netvlad
resumepath = ./pretrained_models/mapillary_WPCA
threads = 0
num_pcs = 512
ngpu = 1
"""


@dataclass(frozen=True)
class Config:
    """All that a preset says, in one."""

    name: str
    model: str
    size: tuple[int, int] | None
    batch: int
    pooling: str
    components: int | None
    clusters: int | None
    patch_sizes: tuple[int, ...]
    patch_strides: tuple[int, ...]
    weights: tuple[float, ...]
    global_weight: float
    least_spread: float
    matcher: str
    ks: tuple[int, ...]
    candidates_file: str | None
    query_step: int
    precision: str
    store_dtype: str
    patch_components: int | None

    @classmethod
    def of(cls, preset: Preset) -> "Config":
        said = vars(preset.plan) | vars(preset.description) | vars(preset)
        return cls(**{field.name: said[field.name] for field in fields(cls)})


PAPER = Config(
    name="performance",
    model="mapillary-4096",
    size=(480, 640),
    batch=4,
    pooling="patchnetvlad",
    components=4096,
    clusters=None,
    patch_sizes=(2, 5, 8),
    patch_strides=(1, 1, 1),
    weights=(0.45, 0.15, 0.4),
    global_weight=0.0,
    least_spread=0.0,
    matcher="ransac",
    ks=(1, 5, 10, 20, 50, 100),
    candidates_file=None,
    query_step=1,
    precision="float32",
    store_dtype="float32",
    patch_components=None,
)
FAST = {"patch_sizes": (5,), "patch_strides": (1,), "weights": (1.0,), "matcher": "rapid"}
GLOBAL = {"patch_sizes": (5,), "patch_strides": (1,), "weights": (1.0,), "pooling": "netvlad"}
EXPECTED = {
    "performance": PAPER,
    "speed": replace(PAPER, name="speed", model="mapillary-512", components=512, **FAST),
    "storage": replace(PAPER, name="storage", model="mapillary-128", components=128, **FAST),
    "netvlad_extract": replace(PAPER, name="netvlad_extract", model="mapillary-512", components=512, **GLOBAL),
}


@pytest.fixture
def ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a config may be written; the current folder is another."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "configs" / "mine.ini"


def parse(ini: Path, text: str) -> Config:
    ini.write_text(text, encoding="utf-8")
    return Config.of(read_config(ini))


def refusal(ini: Path, text: str) -> str:
    """The message of the ConfigError that reading this text raises."""
    with pytest.raises(ConfigError) as caught:
        parse(ini, text)
    message = str(caught.value)
    assert message.startswith(str(ini)) and "\n" not in message
    return message


def test_presets_have_the_papers_numbers() -> None:
    assert {name: Config.of(read_preset(name)) for name in EXPECTED} == EXPECTED


def test_the_default_preset_is_the_embedded_model() -> None:
    found = Config.of(read_preset("lite"))
    assert set(PRESETS) == {"lite", *EXPECTED}
    assert (found.model, found.size, found.ks) == ("lite", PAPER.size, PAPER.ks)


def test_the_fast_variant_of_a_preset_keeps_what_is_fast_already() -> None:
    fast = read_preset("performance-fast")
    assert fast == read_preset("performance").fast() == fast.fast()
    assert Config.of(fast) == replace(
        PAPER,
        name="performance-fast",
        precision="bfloat16",
        store_dtype="int8",
        patch_components=1024,
        matcher="voting",
    )
    speed = Config.of(read_preset("speed-fast"))
    assert (speed.patch_components, speed.matcher, speed.query_step, speed.store_dtype) == (None, "rapid", 2, "int8")
    paper = read_preset("performance")
    chosen = replace(paper, description=replace(paper.description, patch_components=700)).fast()
    assert chosen.description.patch_components == 700


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'fast'.*lite, performance, speed, storage, netvlad_extract"):
        read_preset("fast")


@pytest.mark.parametrize(
    ("name", "text"), [("performance", PERFORMANCE), ("speed", SPEED), ("netvlad_extract", NETVLAD_EXTRACT)]
)
def test_the_references_files_are_read_as_they_are(ini: Path, name: str, text: str) -> None:
    assert parse(ini, text) == replace(EXPECTED[name], name=str(ini), batch=5)


def test_windows_files_are_read(ini: Path) -> None:
    ini.write_bytes(b"\xef\xbb\xbf" + PERFORMANCE.replace("\n", "\r\n").encode())
    assert Config.of(read_config(ini)) == replace(PAPER, name=str(ini), batch=5)


def test_little_is_needed_and_the_rest_has_defaults(ini: Path) -> None:
    found = parse(ini, "[feature_extract]\n[global_params]\nmodel = lite\n")
    assert found == replace(
        PAPER,
        name=str(ini),
        model="lite",
        components=None,
        patch_sizes=(5,),
        patch_strides=(1,),
        weights=(1.0,),
    )


def test_weights_default_to_equal_ones(ini: Path) -> None:
    found = parse(ini, PERFORMANCE.replace("patchweights2use = 0.45,0.15,0.4\n", ""))
    assert found.weights == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_spaces_and_letter_case_do_not_matter(ini: Path) -> None:
    found = parse(
        ini,
        PERFORMANCE.replace("RANSAC", "spatialapproximator")
        .replace("patchnetvlad", "PatchNetVLAD")
        .replace("2,5,8", " 2, 5 ,8 "),
    )
    assert (found.matcher, found.pooling, found.patch_sizes) == ("rapid", "patchnetvlad", (2, 5, 8))


def test_no_size_keeps_the_photos_own(ini: Path) -> None:
    text = PERFORMANCE.replace("imageresizew = 640", "imageresizew = -1").replace(
        "imageresizeh = 480", "imageresizeh = 0"
    )
    assert parse(ini, text).size is None


def test_the_rest_of_what_a_file_can_say(ini: Path) -> None:
    found = parse(
        ini,
        PERFORMANCE.replace("= None", "= candidates.npy")
        .replace("1,5,10,20,50,100", "20,1")
        .replace("RANSAC", "voting\nglobalweight2use = 0.25")
        .replace("[feature_extract]", "[feature_extract]\nstoredtype = float16")
        .replace("strides = 1,1,1", "strides = 1,2,3\nnum_clusters = 64"),
    )
    assert found.candidates_file == "candidates.npy"
    assert found.ks == (1, 20)
    assert (found.matcher, found.global_weight, found.store_dtype) == ("voting", 0.25, "float16")
    assert found.patch_strides == (1, 2, 3)
    assert found.clusters == 64


# --- which model ----------------------------------------------------------------------------------------------------


def test_checkpoint_is_found_from_the_current_folder_before_that_of_the_config(ini: Path) -> None:
    file = Path("pretrained_models/mapillary_WPCA4096.pth.tar")
    beside, here = ini.parent / file, Path.cwd() / file
    for path in (beside, here):
        path.parent.mkdir()
    beside.touch()
    assert parse(ini, PERFORMANCE).model == str(beside)
    here.touch()
    assert Path(parse(ini, PERFORMANCE).model).resolve() == here


def test_released_names_stand_for_known_models(ini: Path) -> None:
    for family in ("mapillary", "pittsburgh"):
        for count in (128, 512, 4096):
            text = PERFORMANCE.replace("mapillary_", f"{family}_").replace("4096", str(count))
            assert parse(ini, text).model == f"{family}-{count}"


def test_without_components_the_checkpoint_has_no_number(ini: Path) -> None:
    found = parse(ini, PERFORMANCE.replace("4096", "0"))
    assert (Path(found.model), found.components) == (Path("pretrained_models/mapillary_WPCA.pth.tar"), 0)
    (ini.parent / "mine.pth.tar").touch()
    found = parse(
        ini, PERFORMANCE.replace("./pretrained_models/mapillary_WPCA", "mine").replace("num_pcs = 4096\n", "")
    )
    assert (found.model, found.components) == (str(ini.parent / "mine.pth.tar"), None)


def test_other_names_stay_as_they_are(ini: Path) -> None:
    assert parse(ini, PERFORMANCE.replace("mapillary_WPCA", "mine_")).model == "./pretrained_models/mine_4096.pth.tar"


def test_model_names_a_known_model_or_a_file_beside_the_config(ini: Path) -> None:
    text = PERFORMANCE.replace("resumepath = ./pretrained_models/mapillary_WPCA", "model = mine.safetensors")
    assert parse(ini, text).model == "mine.safetensors"
    (ini.parent / "mine.safetensors").touch()
    assert parse(ini, text).model == str(ini.parent / "mine.safetensors")


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("num_pcs = 4096", "num_pcs = many", "[global_params] num_pcs = many: whole numbers"),
        ("num_pcs = 4096", "num_pcs = 4,096", "[global_params] num_pcs must be one whole number, not 2"),
        ("2,5,8", "2,5,8.5", "[global_params] patch_sizes = 2,5,8.5: whole numbers of at least 1"),
        ("2,5,8", "2,,8", "[global_params] patch_sizes = 2,,8: whole numbers"),
        ("2,5,8", "0,5,8", "[global_params] patch_sizes = 0,5,8: whole numbers of at least 1"),
        ("strides = 1,1,1", "strides = 1,1,-1", "[global_params] strides = 1,1,-1: whole numbers of at least 1"),
        ("1,5,10,20,50,100", "0,5", "[feature_match] n_values_all = 0,5: whole numbers of at least 1"),
        ("0.45,0.15,0.4", "0.45;0.15;0.4", "[feature_match] patchweights2use = 0.45;0.15;0.4: finite numbers"),
        ("0.45,0.15,0.4", "0.45,0.15,nan", "[feature_match] patchweights2use = 0.45,0.15,nan: finite numbers"),
        (
            "0.45,0.15,0.4",
            "1,1,1\nglobalweight2use = 1,2",
            "[feature_match] globalweight2use must be one number, not 2",
        ),
        (
            "[feature_extract]",
            "[feature_extract]\nstoredtype = int4",
            "[feature_extract] storedtype = int4: choose from",
        ),
        ("0.45,0.15,0.4", "1", "3 patch_sizes, 3 strides and 1 patchweights2use: give as many of each"),
        ("strides = 1,1,1", "strides = 1,1", "3 patch_sizes, 2 strides and 3 patchweights2use: give as many of each"),
        ("cachebatchsize = 5", "cachebatchsize = five", "[feature_extract] cachebatchsize = five: whole numbers"),
        ("RANSAC", "MAGSAC", "[feature_match] matcher = MAGSAC: choose from RANSAC, spatialApproximator"),
        ("patchnetvlad", "gem", "[global_params] pooling = gem: choose from patchnetvlad, netvlad, max, avg"),
        ("resumepath", "resumpath", "[global_params] names no model: set resumepath (or model)"),
        ("[global_params]", "[global]", "has no section [global_params]: see the presets"),
        ("[feature_extract]", "[extract]", "has no section [feature_extract]: see the presets"),
        ("ngpu = 1", "num_pcs = 512", "option 'num_pcs' in section 'global_params' already exists"),
        ("ngpu = 1", "what is this", "is not an .ini file"),
        ("[feature_extract]", "", "is not an .ini file: File contains no section headers"),
    ],
)
def test_mistakes_name_file_section_and_key(ini: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(ini, PERFORMANCE.replace(old, new, 1))


def test_photos_must_be_matched_at_the_size_they_were_extracted_at(ini: Path) -> None:
    start, end = PERFORMANCE.split("[feature_match]")
    text = f"{start}[feature_match]{end.replace('imageresizeh = 480', 'imageresizeh = 240')}"
    message = refusal(ini, text)
    assert "extracted at 640 x 480 but matched at 640 x 240: make imageresizew and imageresizeh equal" in message
    assert "[feature_extract]" in message and "[feature_match]" in message


@pytest.mark.parametrize("content", [b"\x00\x01\x02" * 100, b"\xff\xfe[\x00f\x00", b"PK\x03\x04", b""])
def test_files_that_are_no_config_are_named(ini: Path, content: bytes) -> None:
    ini.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Config.of(read_config(ini))
    assert str(ini) in str(caught.value)


def test_missing_files_and_folders_name_the_presets(ini: Path) -> None:
    for path in (ini, ini.parent):
        with pytest.raises(ConfigError, match=r"cannot be read as a config.*presets are lite, performance") as caught:
            read_config(path)
        assert str(path) in str(caught.value)


def test_percent_signs_are_just_letters(ini: Path) -> None:
    assert parse(ini, PERFORMANCE.replace("mapillary_WPCA", "%d_")).model.endswith("/%d_4096.pth.tar")
