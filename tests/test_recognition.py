"""Recognition of real places by the embedded model, on the photos of ../shared/data."""

from collections.abc import Mapping
from pathlib import Path

import pytest

import patchvlad as pv
from patchvlad.commands.match import Asking, match_stores
from patchvlad.commands.preset import read_preset
from patchvlad.images.sides import Sides

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> pv.PatchNetVLAD:
    return read_preset("lite").description.load()


def recognise(model: pv.PatchNetVLAD, data: Path, out: Path) -> Mapping[str, Mapping[int, float]]:
    """Recall of the preset `lite` before and after re-ranking."""
    settings = read_preset("lite")
    dtype = settings.description.store_dtype
    stores = Sides(
        *(
            pv.extract(model, pv.ImageList.read(data / part), out / part, dtype=dtype)
            for part in ("queries", "database")
        )
    )
    truth = pv.GroundTruth.read(data / "gt.csv", stores.queries.names, stores.database.names)
    shown, _ = match_stores(stores, Asking(settings, settings.to_search(), truth, "all", out))
    return shown.results.recalls


# Measured with the weights in the package; a few points of room, since two photos of a hundred are two points.
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("corridor", 0.78, 0.89), ("gardens", 0.84, 0.91), ("michigan", 0.95, 0.98)],
)
def test_reranking_raises_recall_at_1(
    model, shared_data: Path, tmp_path: Path, name: str, before: float, after: float
) -> None:
    found = recognise(model, shared_data / name, tmp_path)
    assert found["NetVLAD"][1] >= before
    assert found["PatchNetVLAD"][1] >= after
    assert found["PatchNetVLAD"][1] >= found["NetVLAD"][1]
    assert found["PatchNetVLAD"][10] >= 0.98
