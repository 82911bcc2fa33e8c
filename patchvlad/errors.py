"""Every error that patchvlad raises on purpose; each message names the file, the problem and the remedy.

PatchvladError
├── ConfigError         a preset, an .ini value or an argument that cannot be
├── ImageError          a photo or an image list that cannot be read
├── ModelError          a checkpoint that is not one, or does not fit what was asked
│   └── DownloadError   a known model that could not be fetched
├── StoreError          a feature store that is missing, incomplete or damaged
│   └── MismatchError   two stores, or a store and a model, that do not belong together
├── GroundTruthError    a ground truth that cannot be read or does not meet the images
└── OutputError         a file or folder that cannot be written: the disk is full, or it may not be (an OSError as well)
"""


class PatchvladError(Exception):
    """Root of the tree: catch this to catch every mistake that patchvlad names."""


class ConfigError(PatchvladError):
    """A preset, an .ini value or an argument that cannot be."""


class ImageError(PatchvladError):
    """A photo or an image list that cannot be read."""


class ModelError(PatchvladError):
    """A checkpoint that is not one, or does not fit what was asked."""


class DownloadError(ModelError):
    """A known model that could not be fetched."""


class StoreError(PatchvladError):
    """A feature store that is missing, incomplete or damaged."""


class MismatchError(StoreError):
    """Two stores, or a store and a model, that do not belong together."""


class GroundTruthError(PatchvladError):
    """A ground truth that cannot be read or does not meet the images."""


class OutputError(PatchvladError, OSError):
    """A file or folder that cannot be written: the disk is full, or it may not be. `errno` and `filename` say which."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, for messages: "1 query", "2 queries"; the plural adds an s unless it is given."""
    return f"{number} {one if number == 1 else many or one + 's'}"
