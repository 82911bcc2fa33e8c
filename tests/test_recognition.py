"""Recognition of real places by the embedded model, on the photos of ../shared/data."""

from pathlib import Path

import pytest

import patchvlad as pv
from patchvlad import cli, config, pipeline
from patchvlad.evaluate.metrics import Recall

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> pv.PatchNetVLAD:
    return pipeline.load(config.read_preset("lite"))


def recognise(model: pv.PatchNetVLAD, data: Path, out: Path) -> dict[str, Recall]:
    """Recall of the preset `lite` before and after re-ranking."""
    settings = config.read_preset("lite")
    stores = {
        part: pv.extract(model, pv.ImageList.read(data / part), out / part, dtype=settings.store_dtype)
        for part in ("queries", "database")
    }
    queries, database = stores["queries"], stores["database"]
    truth = pv.GroundTruth.read(data / "gt.csv", queries.names, database.names)
    return pipeline.match_stores(settings, queries, database, out, cli.bar, truth=truth).recalls


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
