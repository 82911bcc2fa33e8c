"""PCA whitening: v -> normalise(P v + b) with P = diag(1 / sqrt(lambda + 1e-9)) U^T and b = -P mean.

The layer works on the block of a few clusters at a time, P v = sum_k P_k v_k, so that the K * C numbers of an
unwhitened patch descriptor never have to lie in memory.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ModelError
from .convolution import Derived


class Whitening(nn.Module):
    """The linear map of a fitted PCA whitening and the L2 normalisation after it; `weight` (D, K * C), `bias` (D,)."""

    def __init__(self, dim: int, components: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(components, dim))
        self.bias = nn.Parameter(torch.zeros(components))

    def forward(
        self, blocks: Iterable[Tensor], components: int | None = None, precision: torch.dtype = torch.float32
    ) -> Tensor:
        """Blocks of unnormalised descriptors, each (N, P, C) -> whitened, L2-normalised (N, P, D).

        Args:
            blocks: the clusters, a few at a time.
            components: leading ones to compute, D of all; components stand in falling order of variance.
            precision: `torch.bfloat16` multiplies in it and adds in float32.
        """
        every = self.weight if precision == self.weight.dtype or precision == torch.float32 else _reduced(self.weight)
        total: Tensor | None = None
        square: Tensor | None = None
        start = 0
        for block in blocks:
            flat = block.flatten(0, 1)
            weight = every[:components, start : start + block.shape[-1]]
            start += block.shape[-1]
            if every.dtype == flat.dtype:
                total = flat @ weight.T if total is None else total.addmm_(flat, weight.T)
            else:
                product = (flat.to(every.dtype) @ weight.T).float()
                total = product if total is None else total.add_(product)
            norm = block.square().sum(dim=-1)
            square = norm if square is None else square + norm
        if total is None or square is None or start != self.weight.shape[1]:
            raise ModelError(f"the whitening takes descriptors of length {self.weight.shape[1]}, not {start}")
        descriptors = total.view(*square.shape, -1)
        scale = square.sqrt().clamp_min(1e-12)[..., None]
        return F.normalize(descriptors / scale + self.bias[:components], dim=-1)


_reduced = Derived(lambda weight: weight.to(torch.bfloat16))


def concatenate(blocks: Iterable[Tensor]) -> Tensor:
    """What stands in for the whitening of a model without one: blocks (N, P, C) -> L2-normalised (N, P, K * C)."""
    return F.normalize(torch.cat(list(blocks), dim=-1), dim=-1)


def fit_whitening(samples: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Fits the whitening to L2-normalised descriptors.

    Args:
        samples: (S, K * C) descriptors; overwritten, to hold them in memory only once.
        components: D, at most S - 1 and at most K * C.

    Returns:
        weight (D, K * C) and bias (D,), in the precision of the samples.

    Raises:
        ModelError: there are too few samples for that many components.
    """
    count, dim = samples.shape
    if components > min(count - 1, dim):
        raise ModelError(
            f"{components} components need at least {components + 1} sampled descriptors of at least {components} "
            f"numbers, but there are {count} of {dim}: give more photos or ask for fewer components"
        )
    mean = samples.mean(dim=0)
    samples -= mean
    if count <= dim:  # the Gram matrix has the same eigenvalues as the covariance and is smaller
        values, vectors = torch.linalg.eigh((samples @ samples.T).double() / (count - 1))
        values, vectors = values[-components:].flip(0), vectors[:, -components:].flip(1)
        axes = vectors.T.to(samples.dtype) @ samples
        axes = F.normalize(axes, dim=1)
    else:
        values, vectors = torch.linalg.eigh((samples.T @ samples).double() / (count - 1))
        values, axes = values[-components:].flip(0), vectors[:, -components:].flip(1).T.to(samples.dtype)
    weight = axes / (values.clamp_min(0) + 1e-9).sqrt().to(samples.dtype)[:, None]
    return weight, -(weight @ mean)
