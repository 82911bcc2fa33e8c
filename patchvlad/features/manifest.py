"""What a feature store says of itself: how its features were made, of which photos, and how many are there."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..files.atomic import write_text
from ..files.checksums import digest
from ..files.json_files import read_json, to_record
from ..model.grid import PatchGrid
from .registry import STORE_DTYPES

FORMAT = 2
UNSUMMED = 1  # of 0.1.0: without checksums
MANIFEST = "manifest.json"
_LARGEST = 1 << 40  # of any number in it


@dataclass(frozen=True)
class FeatureRecipe:
    """Everything that two stores must share for their descriptors to be comparable.

    Attributes:
        fingerprint: of the model's weights and architecture; empty where it is not known.
        model: name of the model, for messages.
        size: (height, width) in pixels that images were resized to.
        pooling: of the model.
        grids: (patch size, patch stride) in cells, one per patch size.
        map_size: (height, width) of the feature map in cells.
        stride: pixels per cell.
        dim: D.
        patch_dim: D', of patch descriptors.
        pixel_range: LOW and HIGH that became black and white in photos of more than 8 bits; None for each photo's own.
    """

    fingerprint: str
    model: str
    size: tuple[int, int]
    pooling: str
    grids: tuple[tuple[int, int], ...]
    map_size: tuple[int, int]
    stride: int
    dim: int
    patch_dim: int
    pixel_range: tuple[float, float] | None = None

    def patch_grids(self) -> dict[int, PatchGrid]:
        """The patch grid of each patch size."""
        return {size: PatchGrid(*self.map_size, size, step, self.stride) for size, step in self.grids}

    def differences(self, other: "FeatureRecipe") -> list[str]:
        """What differs, in words; empty if the two belong together."""
        said = {
            "fingerprint": f"model {self.model} {self.fingerprint[:12]} against {other.model} {other.fingerprint[:12]}",
            "size": "image size {} x {} against {} x {}".format(*self.size, *other.size),
            "pooling": f"pooling {self.pooling} against {other.pooling}",
            "grids": f"patch sizes and strides {self.grids} against {other.grids}",
            "pixel_range": f"pixel range {_said(self.pixel_range)} against {_said(other.pixel_range)}",
            "patch_dim": f"{self.patch_dim} components per patch against {other.patch_dim}",
        }
        if not (self.fingerprint and other.fingerprint):  # of the reference's features it is not known
            said.pop("fingerprint")
        return [text for name, text in said.items() if getattr(self, name) != getattr(other, name)]

    def check(self) -> None:
        """Raises ValueError over numbers that no features have."""
        numbers = (*self.size, *self.map_size, self.stride, self.dim, self.patch_dim, *sum(self.grids, ()))
        if not all(0 < number < _LARGEST for number in numbers):
            raise ValueError(f"sizes must be positive, not {min(numbers)} to {max(numbers)}")
        if len(dict(self.grids)) < len(self.grids):
            raise ValueError(f"patch sizes {self.grids} stand there twice")
        if any(patch > min(self.map_size) for patch, _ in self.grids):
            raise ValueError(f"patch sizes and strides {self.grids} in a map of {self.map_size} cells")
        if self.pixel_range is not None and not self.pixel_range[0] < self.pixel_range[1]:
            raise ValueError(f"a pixel range of {self.pixel_range}")


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds, besides a checksum of all this.

    `deep` counts the rows of photos of more than 8 bits. It is None where that is not known: patchvlad 0.1.0 kept
    the upper eight bits of such photos, and did not count them.
    """

    recipe: FeatureRecipe
    images: int
    images_sha256: str
    rows: int = 0
    dtype: str = "float32"
    precision: str = "float32"
    preset: str = ""
    photos_sha256: str = ""
    unreadable: tuple[int, ...] = ()
    deep: int | None = None
    format: int = field(default=FORMAT)

    @property
    def summed(self) -> bool:
        """Whether the store has checksums."""
        return self.format > UNSUMMED

    def write(self, folder: Path) -> None:
        values = asdict(self)
        if self.summed:
            values["sum"] = _sum(values)
        write_text(folder / MANIFEST, json.dumps(values, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Reads the manifest of a store.

        Raises:
            StoreError: there is none, or it is damaged or of another format.
        """
        path = folder / MANIFEST
        try:
            values = read_json(path)
            if not isinstance(values, dict):
                raise TypeError("it must be a record")
            if values["format"] not in (UNSUMMED, FORMAT):
                raise StoreError(
                    f"{path} has format {values['format']}, this patchvlad reads {UNSUMMED} and {FORMAT}: extract again"
                )
            said = values.pop("sum", "")
            if values["format"] != UNSUMMED and said != _sum(values):
                raise ValueError("its checksum is another: it was changed after it was written")
            values["recipe"].setdefault("patch_dim", values["recipe"]["dim"])
            manifest = to_record(cls, values)
            manifest.check()
            return manifest
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                f"{folder} is not a feature store (no {MANIFEST}): "
                f"make one with 'patchvlad extract PHOTOS --out {folder}'"
            ) from error
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            said = str(error)[:200] if str(error) else repr(error)
            raise StoreError(f"{path} is damaged ({said}): delete the folder and extract again") from error

    def check(self) -> None:
        """Raises ValueError over what no store says of itself."""
        self.recipe.check()
        if not 0 <= self.rows <= self.images < _LARGEST:
            raise ValueError(f"{self.rows} rows of {self.images} images")
        if self.dtype not in STORE_DTYPES:
            raise ValueError(f"numbers kept as {self.dtype[:50]!r}")
        if not all(0 <= row < self.rows for row in self.unreadable):
            raise ValueError(f"unreadable rows {min(self.unreadable)} to {max(self.unreadable)} of {self.rows}")
        if self.deep is not None and not 0 <= self.deep <= self.rows:
            raise ValueError(f"{self.deep} photos of more than 8 bits among {self.rows} rows")


def _said(pixel_range: tuple[float, float] | None) -> str:
    return "of each photo" if pixel_range is None else "{:g} to {:g}".format(*pixel_range)


def _sum(values: dict[str, Any]) -> str:
    """Checksum of what a manifest says, however it is laid out."""
    return digest(json.dumps(values, indent=1).encode())
