"""Patch descriptors in one byte per component: q = round(24 sqrt(D) x), clipped to [-127, 127].

A whitened descriptor has unit length and components of equal variance, 1 / D: one fixed step of 1 / (24 sqrt(D)) suits
every patch of every image, so that no scale need be kept, and integer products order as the products themselves do.
Rounding turns a descriptor by 0.7 degrees; what lies beyond 5.3 standard deviations is clipped.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 24  # steps per standard deviation


def quantise(descriptors: Tensor) -> Tensor:
    """(..., D) floating, of unit length -> (..., D) int8; what is int8 already stays as it is."""
    if descriptors.dtype == torch.int8:
        return descriptors
    scale = LEVELS * math.sqrt(descriptors.shape[-1])
    return (descriptors.float() * scale).round_().clamp_(-127, 127).to(torch.int8)


def dequantised(descriptors: Tensor) -> Tensor:
    """(..., D) int8 -> (..., D) float32 of unit length; floats only become float32."""
    if descriptors.dtype != torch.int8:
        return descriptors.float()
    return F.normalize(descriptors.float(), dim=-1)


def compacted(descriptors: Tensor, components: int) -> Tensor:
    """(..., D) -> (..., min(D, components)) int8: the leading components, of unit length again, rounded."""
    if descriptors.shape[-1] <= components:
        return quantise(descriptors)
    return quantise(F.normalize(descriptors[..., :components].float(), dim=-1))
