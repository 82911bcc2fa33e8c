"""The models that patchvlad knows by name: what they are, where they lie, and how they are fetched."""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ..errors import DownloadError, ModelError
from .backbones import VGG16

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
            return Path(__file__).parent.parent / "weights" / self.file
        return models_folder() / self.file

    @property
    def expected_bytes(self) -> int:
        """Size of the file if its numbers are float32 (VGG16, centroids, assignment and whitening)."""
        if not self.repository:
            return self.path.stat().st_size
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
        _fetch(known, endpoint)
    except ModelError as error:
        raise DownloadError(
            f"model {name} could not be downloaded ({error}): fetch {known.remote_file} of the Hugging Face repository "
            f"{known.repository} by other means and put it at {known.path}, or use the embedded model 'lite'"
        ) from error
    return known.path


def _fetch(known: KnownModel, endpoint: str | None) -> None:
    """Downloads beside the final path, going on where an interrupted download stopped; verifies the hub's checksum.

    Not by hf_hub_download: it starts anew after an interruption (huggingface_hub 2), and waits long before it gives up.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    partial = known.path.with_name(f"{known.file}.partial")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{partial}.lock"):
            if known.path.is_file():  # another process has fetched it meanwhile
                return
            url = hf_hub_url(known.repository, known.remote_file, endpoint=endpoint)
            published = get_hf_file_metadata(url, endpoint=endpoint)
            with open(partial, "ab") as file:
                if file.tell() > (published.size or 0):  # left by another version of the file
                    file.seek(0)
                    file.truncate()
                http_get(
                    url,
                    file,
                    resume_size=file.tell(),
                    headers=build_hf_headers(),
                    expected_size=published.size,
                    displayed_filename=known.remote_file,
                )
            if published.etag and len(published.etag) == 64:  # large files are named by their SHA-256
                _verify(partial, published.etag)
            os.replace(partial, known.path)
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise ModelError(next(iter(str(error).strip().splitlines()), type(error).__name__)) from error


def _verify(path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        path.unlink()
        raise ModelError("the checksum of what came is wrong, so it was deleted")


def megabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def vgg16_imagenet_file() -> Path:
    """Fetches torchvision's VGG16, ImageNet weights, from the hub into its cache, once."""
    from huggingface_hub import hf_hub_download

    log.warning("downloading ImageNet weights of VGG16 (553 MB), once")
    try:
        return Path(hf_hub_download("timm/vgg16.tv_in1k", "model.safetensors"))
    except Exception as error:  # see _fetch
        raise DownloadError(
            "ImageNet weights of VGG16 could not be downloaded: give torchvision's vgg16 file with --backbone-weights, "
            "or start from a checkpoint"
        ) from error
