"""What runs here: versions of patchvlad, of Python, of the platform and of all that is depended on."""

import platform
import re
import sys
from importlib import metadata
from typing import Any

from .. import __version__


def versions() -> dict[str, Any]:
    """As JSON holds them; a package that is not installed has null. Imports none of them."""
    try:
        required = metadata.requires("patchvlad") or []
    except metadata.PackageNotFoundError:  # run from its source, without an installation
        required = []
    needed: dict[str, str | None] = {}
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in required:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", requirement)
        (needed if extra is None else extras.setdefault(extra[1], {}))[name] = _version(name)
    return {
        "patchvlad": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "dependencies": dict(sorted(needed.items())),
        "extras": {extra: dict(sorted(names.items())) for extra, names in sorted(extras.items())},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
