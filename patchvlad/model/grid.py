"""Where the p x p windows of a feature map lie: the positions of its patches."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import ConfigError


@dataclass(frozen=True)
class PatchGrid:
    """Where the p x p windows of a feature map lie, in raster order.

    `height` and `width` of the map in cells, `patch_size` and `patch_stride` in cells, `stride` in pixels per cell.
    """

    height: int
    width: int
    patch_size: int
    patch_stride: int = 1
    stride: int = 16

    def __post_init__(self) -> None:
        if self.patch_size < 1 or self.patch_stride < 1:
            raise ConfigError(
                f"patch size {self.patch_size} and patch stride {self.patch_stride} must be at least 1 cell"
            )
        if min(self.height, self.width) < self.patch_size:
            need = self.patch_size * self.stride
            raise ConfigError(
                f"patches of {self.patch_size} x {self.patch_size} cells do not fit a feature map of {self.height} x "
                f"{self.width} cells: images must be at least {need} pixels high and wide, or patch sizes smaller"
            )

    @property
    def rows(self) -> int:
        return (self.height - self.patch_size) // self.patch_stride + 1

    @property
    def columns(self) -> int:
        return (self.width - self.patch_size) // self.patch_stride + 1

    def __len__(self) -> int:
        return self.rows * self.columns

    @cached_property
    def indices(self) -> np.ndarray:
        """(P, 2) int64: column and row of each patch in the grid."""
        rows, columns = np.divmod(np.arange(len(self)), self.columns)
        return np.stack([columns, rows], axis=1)

    @cached_property
    def points(self) -> np.ndarray:
        """(P, 2) float32: centre (x, y) of each patch in pixels of the resized image, as the reference rounds it."""
        first = (self.stride * (self.patch_size - 1) + self.stride - 1) // 2
        return (self.indices * (self.stride * self.patch_stride) + first).astype(np.float32)

    @property
    def tolerance(self) -> float:
        """Reprojection error in pixels up to which a match is an inlier: one and a half patch strides."""
        return 1.5 * self.stride * self.patch_stride
