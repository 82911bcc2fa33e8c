"""Long runs: memory and open files stay as they are. All 100,000 photos by `python tests/endurance.py`."""

import os
import sys
from pathlib import Path

import endurance
import pytest

PHOTOS = int(os.environ.get("PATCHVLAD_ENDURANCE", "10000"))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_memory_and_open_files_do_not_grow_with_the_photos(tmp_path: Path) -> None:
    seen, recalls = endurance.run(tmp_path, PHOTOS, PHOTOS // 100)
    for watched in seen:
        if watched.name != "extract queries":
            assert watched.growth() < endurance.GROWTH, watched.samples[:: max(1, len(watched.samples) // 20)]
            first, second = watched.most_files()
            assert second <= first + 4
    assert min(recalls.values()) > 0.9
