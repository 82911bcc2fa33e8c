"""The models that patchvlad knows by name: what they are, where they lie, and how they are fetched."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError, ModelError
from .hub import fetch

log = logging.getLogger(__name__)

REFERENCE_REPOSITORY = "TobiasRobotics/Patch-NetVLAD"


@dataclass(frozen=True)
class KnownModel:
    """A model that patchvlad knows by name.

    Attributes:
        name: what users call it.
        file: file name of the checkpoint, in the models folder (or inside the package where `repository` is empty).
        remote_file: its name in the model repository.
        repository: Hugging Face model repository; empty for a model that is part of the package.
        clusters, components: K and D.
    """

    name: str
    file: str
    clusters: int
    components: int
    remote_file: str = ""
    repository: str = ""

    @property
    def path(self) -> Path:
        """Where the file lies, or will lie once downloaded."""
        if not self.repository:
            return Path(__file__).parent / "weights" / self.file
        return models_folder() / self.file

    @property
    def expected_bytes(self) -> int:
        """Size of the file if its numbers are float32 (VGG16, centroids, assignment and whitening)."""
        if not self.repository:
            return self.path.stat().st_size
        from .backbones.vgg16 import VGG16  # brings torch, which a list of names does not need

        dim = self.clusters * VGG16.dim
        return 4 * (14_714_688 + 2 * dim + dim * self.components + self.components)


def _released(family: str, remote_family: str, clusters: int) -> list[KnownModel]:
    return [
        KnownModel(
            f"{family}-{components}",
            f"{family}_WPCA{components}.pth.tar",
            clusters,
            components,
            f"{remote_family}_WPCA{components}.pth.tar",
            REFERENCE_REPOSITORY,
        )
        for components in (128, 512, 4096)
    ]


KNOWN_MODELS: dict[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel("lite", "lite.safetensors", 16, 512),
        *_released("mapillary", "mapillary", 16),
        *_released("pittsburgh", "pitts", 64),
    )
}


def models_folder() -> Path:
    """Where downloaded models lie: $PATCHVLAD_MODELS, or patchvlad/models in the user's cache folder."""
    if os.environ.get("PATCHVLAD_MODELS"):
        return Path(os.environ["PATCHVLAD_MODELS"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patchvlad" / "models"


def download(name: str, endpoint: str | None = None) -> Path:
    """Fetches a known model into the models folder: resumes, shows progress, verifies, and appears whole or not at all.

    Args:
        name: a known name.
        endpoint: of the hub; None takes huggingface_hub's own ($HF_ENDPOINT).

    Raises:
        DownloadError: the hub cannot be reached, or what came is not the file it should be.
    """
    if name not in KNOWN_MODELS:
        raise ModelError(f"unknown model {name!r}: choose from {', '.join(KNOWN_MODELS)}")
    known = KNOWN_MODELS[name]
    if not known.repository or known.path.is_file():
        return known.path
    log.warning("downloading model %s (about %s) into %s", name, megabytes(known.expected_bytes), known.path.parent)
    try:
        fetch(known.repository, known.remote_file, known.path, endpoint)
    except ModelError as error:
        raise DownloadError(
            f"model {name} could not be downloaded ({error}): fetch {known.remote_file} of the Hugging Face repository "
            f"{known.repository} by other means and put it at {known.path}, or use the embedded model 'lite'"
        ) from error
    return known.path


def megabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
