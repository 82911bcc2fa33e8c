"""What a feature store says of itself: how its features were made, of which photos, and how many are there."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import StoreError
from ..files.atomic import write_text
from ..model.grid import PatchGrid

FORMAT = 1
MANIFEST = "manifest.json"


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
            "patch_dim": f"{self.patch_dim} components per patch against {other.patch_dim}",
        }
        if not (self.fingerprint and other.fingerprint):  # of the reference's features it is not known
            said.pop("fingerprint")
        return [text for name, text in said.items() if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds."""

    recipe: FeatureRecipe
    images: int
    images_sha256: str
    rows: int = 0
    dtype: str = "float32"
    precision: str = "float32"
    preset: str = ""
    photos_sha256: str = ""
    unreadable: tuple[int, ...] = ()
    format: int = field(default=FORMAT)

    def write(self, folder: Path) -> None:
        write_text(folder / MANIFEST, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise StoreError(f"{path} has format {values['format']}, this patchvlad reads {FORMAT}: extract again")
            recipe = values.pop("recipe")
            for name in ("size", "map_size"):
                recipe[name] = tuple(recipe[name])
            recipe.setdefault("patch_dim", recipe["dim"])
            recipe["grids"] = tuple(tuple(grid) for grid in recipe["grids"])
            values["unreadable"] = tuple(values["unreadable"])
            if not all(isinstance(values[name], int) for name in ("images", "rows")):
                raise ValueError("images and rows must be whole numbers")
            return cls(FeatureRecipe(**recipe), **values)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                f"{folder} is not a feature store (no {MANIFEST}): "
                f"make one with 'patchvlad extract PHOTOS --out {folder}'"
            ) from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise StoreError(f"{path} is damaged ({error!r}): delete the folder and extract again") from error
