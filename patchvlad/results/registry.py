"""What can be exported. Nothing is imported for it."""

from typing import Any

from ..registry import Registry

# Pairs in other tools' formats: (path, ranking, query prefix, map prefix) -> None.
PAIR_FORMATS: Registry[Any] = Registry(
    "format",
    {
        "kapture": "patchvlad.results.exports:write_kapture_pairs",
        "hloc": "patchvlad.results.exports:write_hloc_pairs",
        "colmap": "patchvlad.results.exports:write_hloc_pairs",
        "msls": "patchvlad.results.exports:write_msls_predictions",
    },
)
# What the scores of pairs are: higher is better, lower is better, or of no account, as images are listed best first.
SCORES = ("similarity", "distance", "none")
