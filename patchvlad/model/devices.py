"""Where models compute, and in what precision."""

import logging

import torch

from ..errors import ConfigError

log = logging.getLogger(__name__)


def usable_device(name: str) -> str:
    """The device of that name; `auto` is the GPU where there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ConfigError(f"device {name} cannot be used here ({reason}): try --device cpu") from error
    return name


def usable_precision(name: str, device: str) -> torch.dtype:
    """The precision of that name, or float32 on a CPU that is not faster in it."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if name == "bfloat16" and device == "cpu" and not (supported is not None and supported()):
        log.info("this CPU multiplies no faster in bfloat16: using float32")
        return torch.float32
    return getattr(torch, name)
