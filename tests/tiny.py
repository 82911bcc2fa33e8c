"""A model, photos and a config small enough to run the whole program in a blink."""

from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor, nn

from patchvlad.model.backbones.base import Backbone
from patchvlad.model.checkpoints import save_model
from patchvlad.model.network import PatchNetVLAD
from patchvlad.model.vlad import VLAD
from patchvlad.model.whitening import Whitening

HEIGHT, WIDTH = 96, 128

CONFIG = """
[feature_extract]
cachebatchsize = 2
imageresizew = {width}
imageresizeh = {height}

[feature_match]
matcher = {matcher}
n_values_all = 1,2
patchweights2use = 0.6,0.4

[global_params]
pooling = patchnetvlad
{model}
patch_sizes = 1,2
strides = 1,1
"""


class TinyBackbone(Backbone):
    """One convolution of 16 x 16 blocks: a shift by whole blocks shifts the feature map, and changes nothing else."""

    name = "tiny"
    dim = 8
    stride = 16

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, self.dim, self.stride, self.stride))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def make_model(components: int = 12) -> PatchNetVLAD:
    """A model with random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone, vlad = TinyBackbone(), VLAD(4, TinyBackbone.dim)
        whitening = Whitening(vlad.dim, components)
        for values, scale in ((vlad.centroids, 0.2), (vlad.assignment.weight, 3), (whitening.weight, 1)):
            nn.init.normal_(values, std=scale)
    return PatchNetVLAD(backbone, vlad, whitening, patch_sizes=(1, 2))


def write_model(path: Path, components: int = 12) -> Path:
    """The model in our own format; it loads once TinyBackbone is in BACKBONES as `tiny`."""
    return save_model(make_model(components), path)


def write_checkpoint(path: Path, components: int = 12) -> Path:
    """The model in the reference's format; it loads once TinyBackbone stands for VGG16."""
    state = make_model(components).state_dict()
    published = {
        "encoder.0.weight": state["backbone.layers.0.weight"],
        "encoder.0.bias": state["backbone.layers.0.bias"],
        "pool.centroids": state["vlad.centroids"],
        "pool.conv.weight": state["vlad.assignment.weight"][..., None, None],
        "WPCA.0.weight": state["whitening.weight"][..., None, None],
        "WPCA.0.bias": state["whitening.bias"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"num_pcs": str(components), "state_dict": published}, path)
    return path


RESUME = "resumepath = ./pretrained_models/mapillary_WPCA\nthreads = 0\nnum_pcs = 12\nngpu = 1"


def write_config(path: Path, model: str, matcher: str = "RANSAC") -> Path:
    """A config in the reference's format; `model` is its line about the model."""
    path.write_text(CONFIG.format(model=model, matcher=matcher, height=HEIGHT, width=WIDTH))
    return path


def photo(place: int, shift: int = 0) -> np.ndarray:
    """(96, 128, 3) uint8 view of a place, `shift` pixels further right."""
    texture = np.random.default_rng(place).integers(0, 256, (HEIGHT // 8, WIDTH // 4, 3), dtype=np.uint8)
    return texture.repeat(8, axis=0).repeat(8, axis=1)[:, shift : shift + WIDTH]


def write_photos(folder: Path) -> Path:
    """database/ of five places, queries/ of two of them seen from 32 pixels further right, and gt.csv."""
    for name, place, shift in (
        *((f"database/street/{place}.png", place, 0) for place in (1, 2, 3, 4, 10)),
        ("queries/a.png", 3, 32),
        ("queries/b.png", 10, 32),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(place, shift)).save(folder / name)
    (folder / "gt.csv").write_text(
        "query,positives\nqueries/a.png,database/street/3.png\nqueries/b.png,database/street/10.png\n"
    )
    return folder


def write_gps(path: Path, latitude: float, longitude: float, direction: float | None = None) -> Path:
    """A small photo whose EXIF says where it was taken, as phones write it."""

    def sexagesimal(value: float) -> tuple[float, float, float]:
        value = abs(value)
        return int(value), int(value * 60 % 60), round(value * 3600 % 60, 6)

    exif = Image.Exif()
    gps = {
        ExifTags.GPS.GPSLatitudeRef: "N" if latitude >= 0 else "S",
        ExifTags.GPS.GPSLatitude: sexagesimal(latitude),
        ExifTags.GPS.GPSLongitudeRef: "E" if longitude >= 0 else "W",
        ExifTags.GPS.GPSLongitude: sexagesimal(longitude),
    }
    if direction is not None:
        gps[ExifTags.GPS.GPSImgDirection] = direction
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12)).save(path, exif=exif)
    return path
