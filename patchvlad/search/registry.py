"""What can be chosen of searching: matchers and indexes. Nothing is imported for it."""

from typing import Any

from ..registry import Registry

MATCHERS: Registry[Any] = Registry(
    "matcher",
    {
        "ransac": "patchvlad.search.matchers.ransac:match_ransac",
        "rapid": "patchvlad.search.matchers.rapid:match_rapid",
        "voting": "patchvlad.search.matchers.voting:match_voting",
    },
)
FASTER = {"ransac": "voting"}  # what the fast variant of a preset takes instead
INDEXES: Registry[Any] = Registry("index", {"flat": "patchvlad.search.indexes.flat:FlatIndex"})
