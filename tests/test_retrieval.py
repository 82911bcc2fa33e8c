"""Retrieval in blocks against sorting all products in float64."""

from pathlib import Path

import numpy as np
import pytest

from patchvlad.errors import ConfigError, MismatchError, StoreError
from patchvlad.features.global_descriptors import GlobalDescriptors
from patchvlad.features.manifest import FeatureRecipe
from patchvlad.features.store import FeatureStore
from patchvlad.features.store_writing import open_writer
from patchvlad.search.indexes import flat
from patchvlad.search.ranking import Ranking
from patchvlad.search.retrieval import retrieve

DIM = 8
BLOCKS = [(1, 1), (1, 9), (2, 3), (7, 5), (40, 9), (41, 2), (1000, 1000)]  # of the database, of queries


def make_store(folder: Path, values: np.ndarray, unreadable: tuple[int, ...] = ()) -> FeatureStore:
    recipe = FeatureRecipe("f" * 64, "m", (64, 80), "netvlad", (), (4, 5), 16, DIM, DIM)
    with open_writer(folder, recipe, [f"{folder.name}{i}.jpg" for i in range(len(values))]) as writer:
        if len(values):
            writer.append(values, {}, unreadable)
    return FeatureStore(folder)


def unit(count: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, DIM))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def whole(count: int, seed: int) -> np.ndarray:
    """Descriptors of -1, 0 and 1: products are exact in any order of summing, and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, (count, DIM)).astype(np.float32)


def search_slowly(queries: FeatureStore, database: FeatureStore, k: int, groups: np.ndarray | None = None) -> Ranking:
    """All products in float64, sorted; then row by row whatever is readable and of a new group."""
    indices, scores = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    for row in set(range(len(queries))) - set(queries.manifest.unreadable):
        products = np.array([np.dot(queries.global_[row].astype(float), one.astype(float)) for one in database.global_])
        found, seen = [], set()
        for index in np.argsort(-products, kind="stable"):
            group = index if groups is None else groups[index]
            if index not in database.manifest.unreadable and group not in seen:
                seen.add(group)
                found.append(index)
        found = found[:k]
        indices[row, : len(found)], scores[row, : len(found)] = found, products[found]
    return Ranking(indices, scores, queries.names, database.names)


def check(found: Ranking, expected: Ranking) -> None:
    assert (found.indices.dtype, found.scores.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-6)
    assert (found.query_names, found.database_names) == (expected.query_names, expected.database_names)


@pytest.fixture(params=BLOCKS, ids=lambda sizes: f"{sizes[0]}x{sizes[1]}")
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "DATABASE_BLOCK", request.param[0])
    monkeypatch.setattr(flat, "QUERY_BLOCK", request.param[1])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        "queries": make_store(folder / "q", unit(9, 0), unreadable=(4,)),
        "database": make_store(folder / "d", unit(41, 1), unreadable=(0, 6, 7, 40)),
        "whole queries": make_store(folder / "wq", whole(9, 2), unreadable=(0,)),
        "whole database": make_store(folder / "wd", whole(41, 3), unreadable=(3, 39, 40)),
        "one query": make_store(folder / "one", unit(1, 4)),
        "empty": make_store(folder / "e", np.empty((0, DIM), np.float32)),
        "unreadable": make_store(folder / "u", np.zeros((3, DIM), np.float32), unreadable=(0, 1, 2)),
    }


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("k", [1, 5, 37, 60])
@pytest.mark.parametrize("kind", ["", "whole "])
def test_candidates_equal_the_loop(stores: dict[str, FeatureStore], k: int, kind: str) -> None:
    queries, database = stores[f"{kind}queries"], stores[f"{kind}database"]
    check(retrieve(queries, database, k), search_slowly(queries, database, k))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("k", [1, 3, 60])
@pytest.mark.parametrize("kind", ["", "whole "])
@pytest.mark.parametrize("grouping", ["neighbours", "scattered", "one large", "all one"])
def test_the_best_of_each_group_equals_the_loop(
    stores: dict[str, FeatureStore], k: int, kind: str, grouping: str
) -> None:
    queries, database = stores[f"{kind}queries"], stores[f"{kind}database"]
    rows = np.arange(len(database))
    groups = {
        "neighbours": rows // 4,
        "scattered": np.random.default_rng(0).integers(-3, 9, len(rows)),
        "one large": np.maximum(rows - 30, 0),
        "all one": rows * 0,
    }[grouping]
    check(retrieve(queries, database, k, groups), search_slowly(queries, database, k, groups))


@pytest.mark.usefixtures("blocks")
def test_a_single_query_finds_what_it_finds_among_others(stores: dict[str, FeatureStore]) -> None:
    check(
        retrieve(stores["one query"], stores["database"], 10),
        search_slowly(stores["one query"], stores["database"], 10),
    )


def test_images_all_alike_come_in_order_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "DATABASE_BLOCK", 16)
    store = make_store(tmp_path / "s", np.ones((50, DIM), np.float32), unreadable=(2,))
    found = retrieve(store, store, 6)
    assert found.indices[0].tolist() == [0, 1, 3, 4, 5, 6]
    assert (found.scores[0] == DIM).all()


@pytest.mark.usefixtures("blocks")
def test_nothing_asked_or_nothing_there_is_an_empty_ranking(stores: dict[str, FeatureStore]) -> None:
    for name in ("empty", "unreadable"):
        for groups in (None, np.zeros(len(stores[name]), int)):
            found = retrieve(stores["queries"], stores[name], 3, groups)
            assert (found.indices == -1).all() and found.indices.shape == (9, 3)
            assert np.isneginf(found.scores).all()
    found = retrieve(stores["empty"], stores["database"], 3)
    assert (found.indices.shape, found.indices.dtype) == ((0, 3), np.int64)
    assert (found.scores.shape, found.scores.dtype) == ((0, 3), np.float32)


def test_descriptors_that_are_no_numbers_are_refused_also_when_they_change_later() -> None:
    values = unit(6, 0)
    others = GlobalDescriptors(tuple(f"{row}.jpg" for row in range(6)), values)
    values[3, 2] = np.nan
    with pytest.raises(StoreError, match="row 3 of the queries holds NaN or infinity"):
        retrieve(others, others, 6)


def test_the_database_is_read_once_for_each_block_of_queries_and_in_blocks(
    stores: dict[str, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat, "DATABASE_BLOCK", 10)
    monkeypatch.setattr(flat, "QUERY_BLOCK", 5)
    shapes = []
    products = flat._products

    def watched(queries: np.ndarray, block: np.ndarray) -> np.ndarray:
        shapes.append((len(queries), len(block)))
        assert np.shares_memory(block, stores["database"].global_)
        return products(queries, block)

    monkeypatch.setattr(flat, "_products", watched)
    retrieve(stores["queries"], stores["database"], 3)
    assert shapes == [(q, b) for q in (5, 4) for b in (10, 10, 10, 10, 1)]


def test_what_does_not_fit_is_refused(tmp_path: Path, stores: dict[str, FeatureStore]) -> None:
    queries, database = stores["queries"], stores["database"]
    with pytest.raises(ConfigError, match="k = 0 candidates: ask for a whole number from 1"):
        retrieve(queries, database, 0)
    with pytest.raises(ConfigError, match=r"groups has shape \(40,\): give one whole number for each of 41 images"):
        retrieve(queries, database, groups=np.arange(40))
    recipe = FeatureRecipe("e" * 64, "other", (64, 80), "netvlad", (), (4, 5), 16, DIM, DIM)
    with open_writer(tmp_path / "o", recipe, []):
        pass
    with pytest.raises(MismatchError, match="model m ffffffffffff against other"):
        retrieve(queries, FeatureStore(tmp_path / "o"))
