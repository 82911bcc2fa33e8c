"""How photos are described: which model, at what size, with which patches, kept in which numbers."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import ConfigError, MismatchError, ModelError

if TYPE_CHECKING:
    from ..model.network import PatchNetVLAD
    from .manifest import Manifest
    from .store import FeatureStore


@dataclass(frozen=True)
class Description:
    """All that decides descriptors but the photos.

    Attributes:
        model: a known name, or the path of a checkpoint.
        size: (height, width) that photos are resized to; None keeps their own.
        batch: photos the network takes at a time.
        pooling: `patchnetvlad`, `netvlad`, `max` or `avg`.
        components: D; 0 means no whitening; None takes the model's.
        clusters: K; None takes the model's.
        patch_sizes, patch_strides: in cells.
        precision: that the network multiplies in, `float32` or `bfloat16`.
        store_dtype: of patch descriptors on disk.
        patch_components: leading components that patch descriptors keep at most; None keeps all.
        looked_in: where the model was not found, if `model` is neither a known name nor a file.
    """

    model: str = "lite"
    size: tuple[int, int] | None = (480, 640)
    batch: int = 4
    pooling: str = "patchnetvlad"
    components: int | None = None
    clusters: int | None = None
    patch_sizes: tuple[int, ...] = (5,)
    patch_strides: tuple[int, ...] = (1,)
    precision: str = "float32"
    store_dtype: str = "float32"
    patch_components: int | None = None
    looked_in: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of_store(cls, manifest: "Manifest", model: str | None = None) -> "Description":
        """As a store was made; `model` is known by another name, or lies elsewhere, than when it was."""
        recipe = manifest.recipe
        made = cls(
            model=model or recipe.model,
            size=recipe.size,
            pooling=recipe.pooling,
            precision=manifest.precision,
            store_dtype=manifest.dtype,
            patch_components=recipe.patch_dim if recipe.patch_dim < recipe.dim else None,
        )
        if not recipe.grids:
            return made
        sizes, strides = zip(*recipe.grids, strict=True)
        return replace(made, patch_sizes=sizes, patch_strides=strides)

    def load(self, device: str = "auto") -> "PatchNetVLAD":
        """Loads the model, checked against what else is said here.

        Raises:
            ConfigError: there is no such device.
            ModelError: there is no such model, or another is described.
        """
        from ..model.checkpoints import load_model
        from ..model.devices import usable_device, usable_precision

        if self.looked_in:
            raise ModelError(
                f"there is no model file {self.model}: looked for {', '.join(self.looked_in)}. Put it at one of these "
                "places, or take a known model ('patchvlad models')"
            )
        device = usable_device(device)
        model = load_model(
            self.model,
            pooling=self.pooling,
            patch_sizes=self.patch_sizes,
            patch_strides=self.patch_strides,
            clusters=self.clusters,
            components=self.components,
            device=device,
        )
        if self.patch_components is not None and model.whitening is not None:
            model.set_patches(model.patch_sizes, model.patch_strides, min(self.patch_components, model.dim))
        model.precision = usable_precision(self.precision, device)
        return model

    def check_store(self, store: "FeatureStore", name: str) -> None:
        """Raises MismatchError unless a store's patches are those described here, by the preset of that name."""
        found, wanted = dict(store.recipe.grids), dict(zip(self.patch_sizes, self.patch_strides, strict=True))
        if found and found != wanted:
            raise MismatchError(
                f"{store.folder} was extracted by preset {store.manifest.preset or '?'} with patch sizes "
                f"{tuple(found)} and strides {tuple(found.values())}, {name} matches {tuple(wanted)}, "
                f"{tuple(wanted.values())}: give the preset or config that it was extracted with"
            )

    def check_patches(self, name: str) -> None:
        """Raises ConfigError unless there are patches to match; `name` is the preset's."""
        if self.pooling != "patchnetvlad":
            raise ConfigError(f"{name} makes no patches (pooling {self.pooling}): choose another preset")
