"""Maps behind the layers that training leaves as they are, computed once a photo and kept in memory.

Most of a backbone's time goes into layers that are not trained, and the same photo is used again and again: by the
cache of descriptors, by many triplets, in every epoch. What those layers make of it is kept, in half precision, as far
as memory allows; what came in first goes out first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from ..images.lists import ImageList
from ..images.pixels import resize
from ..model.backbones.base import Backbone
from ..model.inputs import stack

AHEAD = 2  # batches that are decoded ahead
View = tuple[int, int]  # row of the image list, and which variant of the photo; 0 is the photo itself
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class FrozenMaps:
    """Maps of photos in front of a backbone's trained layers. A context: it owns the threads that decode.

    Args:
        backbone: on the device to compute on.
        trained: how many of its last layers are trained.
        images: the photos.
        size: (height, width) to resize to.
        memory: bytes to keep at most.
        workers: threads that decode.
        augment: makes a variant of a (H, W, 3) uint8 photo.
        seed: of the variants; each depends on it, the photo and its number alone.
        precision: that accelerators compute in.
    """

    def __init__(
        self,
        backbone: Backbone,
        trained: int,
        images: ImageList,
        size: tuple[int, int],
        *,
        memory: int = 2 << 30,
        workers: int = 2,
        augment: Augment | None = None,
        seed: int = 0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.backbone, self.trained, self.images, self.size = backbone, trained, images, size
        self.memory, self.augment, self.seed, self.precision = memory, augment, seed, precision
        self._kept: dict[View, Tensor] = {}
        self._bytes = 0
        self._pool = ThreadPoolExecutor(workers)

    def __enter__(self) -> "FrozenMaps":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._pool.shutdown(wait=False, cancel_futures=True)

    def stream(self, batches: Iterable[Sequence[View]]) -> Iterator[Tensor]:
        """Yields for each batch of n views the maps (n, C, h, w), on the backbone's device, in float32."""
        pending: deque[tuple[Sequence[View], dict[View, Future[np.ndarray]]]] = deque()
        for views in batches:
            wanted = dict.fromkeys(view for view in views if view not in self._kept)
            pending.append((views, {view: self._pool.submit(self._photo, *view) for view in wanted}))
            if len(pending) > AHEAD:
                yield self._maps(*pending.popleft())
        while pending:
            yield self._maps(*pending.popleft())

    def _photo(self, row: int, variant: int) -> np.ndarray:
        photo = resize(self.images.photo(row).pixels, self.size)
        if variant == 0 or self.augment is None:
            return photo
        return self.augment(photo, np.random.default_rng((self.seed, row, variant)))

    @torch.no_grad()
    def _maps(self, views: Sequence[View], photos: dict[View, Future[np.ndarray]]) -> Tensor:
        found = {view: self._kept[view] for view in views if view in self._kept}
        # Photos that were in memory when the batch was asked for may have gone out since.
        missing = [view for view in dict.fromkeys(views) if view not in found]
        device = next(self.backbone.parameters()).device
        together = len(missing) if device.type != "cpu" else 1  # on a CPU one photo's maps are nearer to the cache
        for start in range(0, len(missing), max(together, 1)):
            some = missing[start : start + together]
            arrays = [photos[view].result() if view in photos else self._photo(*view) for view in some]
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision != torch.float32):
                maps = self.backbone.trunk(stack(arrays).to(device), self.trained)
            for view, one in zip(some, maps.half().cpu(), strict=True):
                found[view] = one
                self._keep(view, one.clone(memory_format=torch.preserve_format))
        return torch.stack([found[view] for view in views]).to(device).float()

    def _keep(self, view: View, maps: Tensor) -> None:
        size = maps.numel() * maps.element_size()
        if size > self.memory:
            return
        while self._bytes + size > self.memory:
            oldest = self._kept.pop(next(iter(self._kept)))
            self._bytes -= oldest.numel() * oldest.element_size()
        self._kept[view] = maps
        self._bytes += size


def augmented(photo: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 -> the same place from another viewpoint, in other light, less sharp perhaps."""
    from PIL import Image, ImageEnhance, ImageFilter

    image = Image.fromarray(photo)
    width, height = image.size
    part = generator.uniform(0.55, 1.0)
    wide, high = width * part, height * part
    left, top = generator.uniform(0, width - wide), generator.uniform(0, height - high)
    corners = np.array([[left, top], [left, top + high], [left + wide, top + high], [left + wide, top]])
    corners += generator.uniform(-0.08, 0.08, corners.shape) * wide
    image = image.transform((width, height), Image.Transform.QUAD, tuple(corners.ravel()), Image.Resampling.BILINEAR)
    for enhance, least, most in (
        (ImageEnhance.Brightness, 0.4, 1.5),
        (ImageEnhance.Contrast, 0.6, 1.4),
        (ImageEnhance.Color, 0.0, 1.6),
    ):
        image = enhance(image).enhance(generator.uniform(least, most))
    if generator.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(generator.uniform(0.5, 2.5)))
    return np.asarray(image)
