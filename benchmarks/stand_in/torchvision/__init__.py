"""The little of torchvision that the reference implementation uses: VGG16's layers and three transforms."""

from . import models, transforms

__version__ = "0.13.0"
__all__ = ["models", "transforms"]
