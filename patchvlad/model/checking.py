"""Whether model files are what was written: .safetensors by their checksums, archives of torch.save by their CRC-32."""

import os
from pathlib import Path

from ..errors import ModelError
from ..files.checksums import Checked
from .pickles import check_archive, is_archive, read_pickle
from .tensor_sums import check_finite, has_sums, read_summed

SUFFIXES = (".safetensors", ".pth.tar", ".pth", ".pt")  # of models, checkpoints and states of training runs


def is_model_file(path: str | os.PathLike) -> bool:
    """Whether a path is called as models, checkpoints and states of training runs are."""
    return os.fspath(path).endswith(SUFFIXES)


def check_model(path: str | os.PathLike) -> Checked:
    """Compares a model, a checkpoint or the state of a training run with its checksums.

    Args:
        path: .safetensors, or what torch.save wrote.

    Returns:
        what was compared and found; a file that cannot be read at all is damage too.
    """
    path = Path(path)
    try:
        return _check_safetensors(path) if path.suffix == ".safetensors" else _check_pickle(path)
    except ModelError as error:
        return Checked(damage=(str(error),))


def _check_safetensors(path: Path) -> Checked:
    metadata, tensors = read_summed(path)
    check_finite(path, tensors)
    if not has_sums(metadata):
        return Checked(unproven=f"{path} has no checksums: it is of patchvlad 0.1.0 or of another program")
    return Checked(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))


def _check_pickle(path: Path) -> Checked:
    content = read_pickle(path)
    for name in ("state_dict", "model"):
        held = content.get(name) if isinstance(content, dict) else None
        if isinstance(held, dict):
            check_finite(path, held)
    size = check_archive(path)
    if size:
        return Checked(size)
    how = "was saved without them" if is_archive(path) else "is of the format that PyTorch wrote before 1.6"
    return Checked(unproven=f"{path} has no checksums: it {how}")
