"""Models on disk: our .safetensors and the released .pth.tar.

Nothing here executes a stranger's pickle: .pth.tar files are read with `weights_only=True` and an explicit allow-list.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ConfigError, ModelError, counted
from ..files.json_files import parse_json
from ..files.regular import UnfitFileError, check_regular
from .backbones.base import Backbone
from .backbones.vgg16 import VGG16
from .known_models import KNOWN_MODELS, download
from .network import PatchNetVLAD
from .pickles import read_pickle, write_pickle
from .registry import BACKBONES, GLOBAL_POOLINGS, POOLINGS
from .tensor_sums import check_finite, read_summed, write_summed
from .vlad import VLAD
from .whitening import Whitening

FORMAT = "patchvlad-1"


def load_model(
    source: str | os.PathLike = "lite",
    *,
    pooling: str | None = None,
    patch_sizes: Sequence[int] | None = None,
    patch_strides: Sequence[int] | None = None,
    clusters: int | None = None,
    components: int | None = None,
    device: str | torch.device = "cpu",
) -> PatchNetVLAD:
    """Loads a model for inference.

    Args:
        source: a known name (downloaded on first use), a released or trained .pth.tar, our .safetensors, or a folder
            that holds exactly one of these.
        pooling: overrides the checkpoint's (`patchnetvlad` unless it has no VLAD layer).
        patch_sizes, patch_strides: in cells; override the checkpoint's.
        clusters, components: K and D that the caller expects; 0 components drops the whitening.
        device: to compute on.

    Raises:
        ModelError: no such model, no such file, a file that is no checkpoint, or one that does not fit what was asked.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise ConfigError(f"unknown pooling {pooling!r}: choose from {', '.join(POOLINGS)}")
    name, path = locate(source)
    if path.suffix == ".safetensors":
        model = _load_safetensors(path, pooling)
    else:
        model = _load_reference(path, pooling)
    model.name = name
    _check_fit(model, path, clusters, components)
    if components == 0:
        model.whitening = None
    if patch_sizes or patch_strides:
        model.set_patches(patch_sizes or model.patch_sizes, patch_strides)
    model.eval().requires_grad_(False).to(device)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def locate(source: str | os.PathLike) -> tuple[str, Path]:
    """Turns a known name, a file or a folder into (name, path of a checkpoint file), downloading if need be."""
    known = KNOWN_MODELS.get(str(source))
    if known is not None:  # even if a folder here, a store perhaps, is called so as well: that one is ./lite
        if not known.path.is_file():
            if not known.repository:
                raise ModelError(f"{known.path} is missing from the installation: install patchvlad again")
            download(known.name)
        return known.name, known.path
    path = Path(source)
    if os.path.isdir(path):
        found = [p for p in sorted(path.iterdir()) if p.name.endswith((".safetensors", ".pth.tar"))]
        if len(found) != 1:
            raise ModelError(
                f"{path} holds {counted(len(found), 'checkpoint')} (.safetensors or .pth.tar): name one of them"
            )
        return found[0].name, found[0]
    try:
        check_regular(path)
    except UnfitFileError as error:
        raise ModelError(f"{path} cannot be read as a model: {error}") from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"there is no model file {str(source)[:200]}, and the known models are {', '.join(KNOWN_MODELS)}"
        ) from error
    return path.name, path


# --- our own format -------------------------------------------------------------------------------------------------


def save_model(
    model: PatchNetVLAD, path: str | os.PathLike, *, notes: str = "", half: bool = False, with_backbone: bool = True
) -> Path:
    """Writes everything that rebuilds the model into one .safetensors file, whole or not at all.

    Args:
        model: to be saved.
        path: ends in .safetensors.
        notes: from what and how it was made, kept in the file.
        half: keep whitening in float16, which halves the file.
        with_backbone: False leaves the backbone out; the file then only loads where its ImageNet weights can be found.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"{path}: our checkpoints end in .safetensors")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    backbone = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    settings = {
        "backbone": model.backbone.name,
        "backbone_sha256": _digest(backbone),
        "pooling": model.pooling,
        "cluster_weight": model.vlad.cluster_weight if model.vlad is not None else None,
        "patch_sizes": model.patch_sizes,
        "patch_strides": model.patch_strides,
        "notes": notes,
    }
    kept = {
        name: tensor.half() if half and name == "whitening.weight" else tensor
        for name, tensor in state.items()
        if with_backbone or name not in backbone
    }
    write_summed(path, kept, FORMAT, settings)
    return path


def _load_safetensors(path: Path, pooling: str | None) -> PatchNetVLAD:
    metadata, tensors = read_summed(path)
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path} is a .safetensors file, but not of patchvlad (format {metadata.get('format')})")
    try:
        state = {name: _float32(name, tensor) for name, tensor in tensors.items()}
        settings = parse_json(metadata["settings"])
        backbone = make_backbone(settings["backbone"])
        parts = _Parts(
            pooling or _known(settings["pooling"]),
            settings["cluster_weight"] or "exact",
            *(_cells(settings[name]) for name in ("patch_sizes", "patch_strides")),
        )
        expected = settings["backbone_sha256"]
    except ModelError as error:
        raise ModelError(f"{path}: {str(error)[:300]}") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as a .safetensors checkpoint ({error!r} in its settings)") from error
    if not any(name.startswith("backbone.") for name in state):
        weights = imagenet_weights(backbone.name)
        state |= {f"backbone.{name}": tensor for name, tensor in weights.items()}
    if _digest({n: t for n, t in state.items() if n.startswith("backbone.")}) != expected:
        raise ModelError(f"{path} was fitted on other weights of {backbone.name} than are installed here")
    return _assemble(path, backbone, state, parts)


def _float32(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise ValueError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')}")
    return tensor.float()


def _known(pooling: object) -> str:
    if pooling not in POOLINGS:
        raise ValueError(f"pooling {pooling}")
    return str(pooling)


def _cells(numbers: object) -> tuple[int, ...]:
    """Patch sizes or strides of a file."""
    if not isinstance(numbers, list) or not all(type(number) is int and 0 < number < 2**31 for number in numbers):
        raise ValueError(f"numbers of cells {str(numbers)[:80]}")
    return tuple(numbers)


# --- the released format --------------------------------------------------------------------------------------------


def _load_reference(path: Path, pooling: str | None) -> PatchNetVLAD:
    """Reads {'num_pcs', 'state_dict'} as the reference releases it, or a training checkpoint of the reference."""
    content = read_pickle(path)
    published = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(published, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in published.items()
    ):
        raise ModelError(f"{path} holds no 'state_dict' of tensors: it is no Patch-NetVLAD checkpoint")
    try:
        return _of_published(path, published, pooling)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} holds tensors of another model than Patch-NetVLAD ({reason})") from error


def _of_published(path: Path, published: dict[str, Tensor], pooling: str | None) -> PatchNetVLAD:
    backbone = VGG16()
    state = {}
    for name, tensor in published.items():
        plain = ".".join(part for part in name.split(".") if part != "module")  # DataParallel's prefix, at any depth
        ours = _REFERENCE_NAMES.get(plain) or plain.replace("encoder.", "backbone.layers.", 1)
        values = _float32(name, tensor)
        state[ours] = values.flatten(2).squeeze(2) if values.dim() == 4 and plain in _REFERENCE_NAMES else values
    if pooling is None and "vlad.centroids" not in state:
        raise ModelError(f"{path} has no VLAD layer: name its pooling, one of {', '.join(GLOBAL_POOLINGS)}")
    return _assemble(path, backbone, state, _Parts(pooling or "patchnetvlad"))


def save_reference(model: PatchNetVLAD, path: str | os.PathLike) -> Path:
    """Writes a VGG16 model as the .pth.tar that the reference implementation reads, whole or not at all."""
    check_reference_can_read(model)
    components = model.dim if model.whitening is not None else 0
    return write_pickle(path, {"num_pcs": components, "state_dict": reference_state(model)})


def reference_state(model: PatchNetVLAD) -> dict[str, Tensor]:
    """A model's tensors under the reference's names and in its shapes."""
    state = {}
    for name, tensor in model.state_dict().items():
        theirs = name.replace("backbone.layers.", "encoder.", 1)
        for known, ours in _REFERENCE_NAMES.items():
            theirs = known if name == ours else theirs
        convolution = theirs in ("pool.conv.weight", "WPCA.0.weight")
        state[theirs] = tensor.cpu()[..., None, None] if convolution else tensor.cpu()
    return state


def check_reference_can_read(model: PatchNetVLAD) -> None:
    """Refuses models that the reference has no form for."""
    if model.backbone.name != VGG16.name or model.vlad is None or model.vlad.cluster_weight != "exact":
        raise ModelError(
            f"{model.name} cannot be written for the reference: it reads VGG16 with exact VLAD alone, this is "
            f"{model.backbone.name}"
        )


_REFERENCE_NAMES = {
    "pool.centroids": "vlad.centroids",
    "pool.conv.weight": "vlad.assignment.weight",
    "pool.conv.bias": "vlad.assignment.bias",
    "WPCA.0.weight": "whitening.weight",
    "WPCA.0.bias": "whitening.bias",
}


# --- parts both formats share ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """What a model is made of, besides a backbone and tensors."""

    pooling: str
    cluster_weight: str = "exact"
    patch_sizes: Sequence[int] = (5,)
    patch_strides: Sequence[int] | None = None


def _assemble(path: Path, backbone: Backbone, state: dict[str, Tensor], parts: _Parts) -> PatchNetVLAD:
    """Builds the model whose K, C and D are those of the tensors."""
    pooling = parts.pooling
    check_finite(path, state)
    for name, tensor in state.items():
        if not tensor.numel():
            raise ModelError(f"{path}: {name} has the shape {tuple(tensor.shape)}, without a number")
    try:
        vlad = whitening = None
        if pooling not in GLOBAL_POOLINGS:
            clusters, dim = state["vlad.centroids"].shape
            if dim != backbone.dim:  # before room is made for as many of the right length
                raise RuntimeError(f"\nvlad.centroids are of {counted(dim, 'number')}, and a cell of {backbone.dim}")
            vlad = VLAD(clusters, backbone.dim, "vlad.assignment.bias" in state, parts.cluster_weight)
        if "whitening.weight" in state:
            components, dim = state["whitening.weight"].shape
            whitening = Whitening(dim, components)
        model = PatchNetVLAD(backbone, vlad, whitening, pooling, parts.patch_sizes, parts.patch_strides)
        model.load_state_dict(state)
    except (ConfigError, TypeError, ValueError, IndexError) as error:
        raise ModelError(f"{path} is of another model than Patch-NetVLAD, or damaged ({error})") from error
    except KeyError as error:
        raise ModelError(f"{path} has no {error.args[0]}: it does not fit the pooling {pooling!r}") from error
    except RuntimeError as error:
        detail = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise ModelError(f"{path} does not fit {backbone.name} with pooling {pooling!r}: {detail}") from error
    expected = vlad.dim if vlad is not None else backbone.dim
    if whitening is not None and whitening.weight.shape[1] != expected:
        raise ModelError(
            f"{path}: its whitening takes {whitening.weight.shape[1]} numbers, its pooling makes {expected}"
        )
    return model


def _check_fit(model: PatchNetVLAD, path: Path, clusters: int | None, components: int | None) -> None:
    found = model.vlad.centroids.shape[0] if model.vlad is not None else None
    if clusters is not None and found is not None and clusters != found:
        raise ModelError(f"{path} has {found} clusters, but {clusters} were asked for")
    if not components:
        return
    if model.whitening is None:
        raise ModelError(f"{path} has no whitening, but {components} components were asked for: set num_pcs = 0")
    if model.whitening.bias.numel() != components:
        raise ModelError(f"{path} has {model.whitening.bias.numel()} components, but {components} were asked for")


def pretrained(backbone: str, file: str | os.PathLike | None = None) -> Backbone:
    """A backbone with its published ImageNet weights, for inference.

    Args:
        backbone: its name.
        file: of its published weights as .pth or .safetensors; None finds or downloads them.
    """
    network = make_backbone(backbone)
    network.load_state_dict(imagenet_weights(backbone, file))
    return network.eval().requires_grad_(False)


def make_backbone(name: str) -> Backbone:
    """The backbone of that name without trained weights."""
    return BACKBONES[name]()


def imagenet_weights(backbone: str, file: str | os.PathLike | None = None) -> dict[str, Tensor]:
    """ImageNet weights of a backbone, as its own state dict; arguments as of `pretrained`."""
    kind = BACKBONES[backbone]
    path = Path(file) if file else kind.published_file()
    published = read_named(path)
    wanted = make_backbone(backbone).state_dict()
    try:
        found = kind.fold(published)
    except (ModelError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold the published weights of {kind.name}: {error}") from error
    wrong = [name for name, tensor in wanted.items() if name not in found or found[name].shape != tensor.shape]
    if wrong:
        raise ModelError(f"{path} does not hold the published weights of {kind.name}: {wrong[0]} has another shape")
    check_finite(path, found)
    return found


def read_named(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors or torch.save file."""
    found = read_summed(path)[1] if path.suffix == ".safetensors" else read_pickle(path)
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ModelError(f"{path} holds no named tensors")
    return found


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fingerprint(model: PatchNetVLAD) -> str:
    """SHA-256 over everything that decides a descriptor but the patch sizes: architecture and weights."""
    cluster_weight = model.vlad.cluster_weight if model.vlad is not None else None
    architecture = json.dumps([model.backbone.name, model.pooling in GLOBAL_POOLINGS, cluster_weight])
    return hashlib.sha256((architecture + _digest(model.state_dict())).encode()).hexdigest()
