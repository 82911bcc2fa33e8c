"""Fusion and re-ranking against loops."""

import time
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch

from patchvlad.errors import ConfigError, MismatchError
from patchvlad.features.manifest import FeatureRecipe
from patchvlad.features.store import FeatureStore
from patchvlad.features.store_writing import open_writer
from patchvlad.search.matchers.ransac import match_ransac
from patchvlad.search.matchers.rapid import match_rapid
from patchvlad.search.ranking import Ranking
from patchvlad.search.reranking import fuse, rerank
from patchvlad.search.retrieval import read_candidates, retrieve


def make_store(folder: Path, count: int, seed: int, sizes: tuple[int, ...] = (2, 3), dim: int = 8) -> FeatureStore:
    recipe = FeatureRecipe("f" * 64, "m", (64, 80), "patchnetvlad", tuple((s, 1) for s in sizes), (4, 5), 16, dim, dim)
    generator = np.random.default_rng(seed)

    def unit(*shape: int) -> np.ndarray:
        values = generator.normal(size=shape).astype(np.float32)
        return values / np.linalg.norm(values, axis=-1, keepdims=True)

    with open_writer(folder, recipe, [f"{folder.name}{i}.jpg" for i in range(count)]) as writer:
        patches = {size: unit(count, len(grid), dim) for size, grid in recipe.patch_grids().items()}
        writer.append(unit(count, dim), patches)
    return FeatureStore(folder)


@pytest.mark.parametrize("seed", range(5))
def test_fusion_equals_the_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.random((int(generator.integers(1, 30)), 3))
    if seed == 0:
        scores[:, 1] = 0.1 + 0.2  # a constant that is no round number
    weights = [0.45, 0.15, 0.4]
    for least in (0.0, 0.28, 1.0):
        np.testing.assert_allclose(fuse(scores, weights, least), oracle.fuse(scores, weights, least), atol=1e-12)


def test_fusion_of_equal_scores_or_nothing_is_zero() -> None:
    assert fuse(np.full((4, 2), 0.3), [1, 1]).tolist() == [0, 0, 0, 0]
    assert fuse(np.empty((0, 2)), [1, 1]).shape == (0,)
    with pytest.raises(ConfigError, match="1 weights for 2"):
        fuse(np.ones((3, 2)), [1])


def test_scores_that_spread_like_chance_do_not_outvote_the_global_score(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 1, 0), make_store(tmp_path / "d", 8, 1)
    candidates = retrieve(queries, database, k=8)

    def chance(image0, image1):
        match = match_rapid(image0, image1)
        return type(match)({size: 0.03 + 1e-4 * score for size, score in match.scores.items()}, {}, {})

    loud = rerank(candidates, queries, database, chance, [0.5, 0.5], global_weight=0.1)
    quiet = rerank(candidates, queries, database, chance, [0.5, 0.5], global_weight=0.1, least_spread=0.5)
    assert loud.indices.tolist() != candidates.indices.tolist()
    assert quiet.indices.tolist() == candidates.indices.tolist()


def test_candidates_are_those_of_highest_dot_product(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 4, 0), make_store(tmp_path / "d", 11, 1)
    found = retrieve(queries, database, k=5)
    for row in range(4):
        products = [float(queries.global_[row] @ database.global_[i]) for i in range(11)]
        expected = sorted(range(11), key=lambda i: -products[i])[:5]
        assert found.indices[row].tolist() == expected
        np.testing.assert_allclose(found.scores[row], sorted(products, reverse=True)[:5], rtol=1e-5)
    assert found.query_names == queries.names


def test_more_candidates_than_images_are_padded(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 3, 1)
    found = retrieve(queries, database, k=5)
    assert (found.indices[:, 3:] == -1).all()
    assert np.isneginf(found.scores[:, 3:]).all()
    again = rerank(found, queries, database, match_rapid)
    assert (again.indices[:, 3:] == -1).all()
    assert sorted(again.indices[0, :3].tolist()) == [0, 1, 2]


def test_of_a_group_only_the_best_is_a_candidate(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 3, 0), make_store(tmp_path / "d", 12, 1)
    groups = np.arange(12) // 4
    everything, found = retrieve(queries, database, k=12), retrieve(queries, database, k=2, groups=groups)
    for row in range(3):
        expected, seen = [], set()
        for index in everything.indices[row]:
            if groups[index] not in seen:
                seen.add(groups[index])
                expected.append(index)
        assert found.indices[row].tolist() == expected[:2]
    with pytest.raises(ConfigError, match="one whole number for each of 12"):
        retrieve(queries, database, groups=np.arange(3))


@pytest.mark.parametrize("matcher", [match_ransac, match_rapid])
def test_reranking_equals_the_loop(tmp_path: Path, matcher) -> None:
    queries, database = make_store(tmp_path / "q", 3, 0), make_store(tmp_path / "d", 7, 1)
    candidates = retrieve(queries, database, k=6)
    weights = [0.7, 0.3]
    found = rerank(candidates, queries, database, matcher, weights)
    for row in range(3):
        rows = candidates.indices[row]
        pairs = [matcher(queries.descriptors(row), database.descriptors(i)) for i in rows]
        scores = oracle.fuse(np.array([[pair.scores[2], pair.scores[3]] for pair in pairs]), weights)
        order = sorted(range(6), key=lambda i: -scores[i])
        assert found.indices[row].tolist() == [rows[i] for i in order]
        np.testing.assert_allclose(found.scores[row], [scores[i] for i in order], atol=1e-6)


def test_the_candidates_own_scores_count_as_one_more_patch_size(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 7, 1)
    candidates = retrieve(queries, database, k=7)
    found = rerank(candidates, queries, database, match_rapid, [0.7, 0.3], global_weight=0.5)
    for row in range(2):
        pairs = [match_rapid(queries.descriptors(row), database.descriptors(i)) for i in candidates.indices[row]]
        scores = [[*pair.scores.values(), score] for pair, score in zip(pairs, candidates.scores[row], strict=True)]
        expected = oracle.fuse(np.array(scores, dtype=np.float64), [0.7, 0.3, 0.5])
        order = sorted(range(7), key=lambda i: -expected[i])
        assert found.indices[row].tolist() == [candidates.indices[row][i] for i in order]
    only_global = rerank(candidates, queries, database, match_rapid, [0, 0], global_weight=1)
    assert only_global.indices.tolist() == candidates.indices.tolist()


def test_a_copy_of_the_query_comes_first(tmp_path: Path) -> None:
    database = make_store(tmp_path / "d", 9, 3)
    found = rerank(retrieve(database, database, k=9), database, database, match_ransac)
    assert found.indices[:, 0].tolist() == list(range(9))


def test_depth_leaves_the_rest_in_order_behind(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 8, 1)
    candidates = retrieve(queries, database, k=8)
    found = rerank(candidates, queries, database, match_rapid, depth=3)
    assert (found.indices[:, 3:] == candidates.indices[:, 3:]).all()
    assert (np.sort(found.indices[:, :3]) == np.sort(candidates.indices[:, :3])).all()


def test_ties_keep_the_order_of_the_candidates(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 1, 0), make_store(tmp_path / "d", 6, 1)
    candidates = retrieve(queries, database, k=6)

    def indifferent(image0, image1):
        match = match_rapid(image0, image1)
        return type(match)(dict.fromkeys(match.scores, 1.0), match.points0, match.points1)

    found = rerank(candidates, queries, database, indifferent)
    assert found.indices.tolist() == candidates.indices.tolist()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 3, 1)
    other = make_store(tmp_path / "o", 3, 1, sizes=(2,))
    plain = make_store(tmp_path / "p", 2, 0, sizes=())
    candidates = retrieve(queries, database)
    with pytest.raises(MismatchError, match="patch sizes"):
        retrieve(queries, other)
    with pytest.raises(ConfigError, match="other stores"):
        rerank(candidates, database, database)
    with pytest.raises(ConfigError, match="3 weights for patch sizes"):
        rerank(candidates, queries, database, weights=[1, 1, 1])
    with pytest.raises(ConfigError, match="global descriptors only"):
        rerank(retrieve(plain, plain), plain, plain)
    with pytest.raises(ConfigError, match="k = 0"):
        retrieve(queries, database, k=0)


def test_candidates_of_other_means_are_read_and_checked(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 3, 1)
    np.save(tmp_path / "c.npy", np.array([[2, 0], [1, -1]]))
    found = read_candidates(tmp_path / "c.npy", queries, database)
    assert isinstance(found, Ranking)
    assert found.indices.tolist() == [[2, 0], [1, -1]]
    assert found.scores[0, 0] > found.scores[0, 1]
    assert np.isneginf(found.scores[1, 1])
    for wrong in (np.array([[3, 0], [1, 0]]), np.array([[0.5, 1], [1, 0]]), np.array([[0, 1]]), np.array([0, 1])):
        np.save(tmp_path / "c.npy", wrong)
        with pytest.raises(MismatchError, match=r"c\.npy"):
            read_candidates(tmp_path / "c.npy", queries, database)
    with pytest.raises(MismatchError, match=r"gone\.npy"):
        read_candidates(tmp_path / "gone.npy", queries, database)


def test_stores_in_half_precision_rerank_alike(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 5, 1)
    with open_writer(tmp_path / "h", database.recipe, database.names, dtype="float16") as writer:
        writer.append(np.array(database.global_), {size: np.array(p) for size, p in database.patches.items()})
    half = FeatureStore(tmp_path / "h")
    assert half.patches[2].dtype == np.float16
    assert half.descriptors(0).patches[2].dtype == torch.float16
    exact = rerank(retrieve(queries, database), queries, database, match_rapid)
    rough = rerank(retrieve(queries, half), queries, half, match_rapid)
    assert exact.indices.tolist() == rough.indices.tolist()


def test_confidences_are_the_plain_match_scores_of_the_same_pairs(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 3, 0), make_store(tmp_path / "d", 8, 1)
    weights = (0.7, 0.3)
    found = rerank(retrieve(queries, database, k=6), queries, database, match_rapid, weights, depth=4)
    for row in range(3):
        for place, image in enumerate(found.indices[row]):
            match = match_rapid(queries.descriptors(row), database.descriptors(image))
            expected = match.weighted(weights) if place < 4 else -np.inf
            assert found.confidences[row, place] == pytest.approx(expected, rel=1e-5)
    assert retrieve(queries, database, k=6).confidences is None


def test_gaps_among_candidates_stay_gaps(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 5, 1)
    np.save(tmp_path / "c.npy", np.array([[3, -1, 4], [-1, -1, 2]]))
    found = rerank(read_candidates(tmp_path / "c.npy", queries, database), queries, database, match_rapid)
    assert (found.indices == -1).tolist() == [[False, True, False], [True, True, False]]
    assert sorted(found.indices[0, [0, 2]].tolist()) == [3, 4]
    assert found.indices[1, 2] == 2
    assert np.isfinite(found.scores[found.indices >= 0]).all()
    np.savez(tmp_path / "c.npz", a=np.zeros((2, 3), int))
    with pytest.raises(MismatchError, match="an archive of several arrays"):
        read_candidates(tmp_path / "c.npz", queries, database)


def test_a_time_budget_reranks_as_many_as_fit_and_keeps_the_rest_in_order(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 2, 0), make_store(tmp_path / "d", 40, 1)
    candidates = retrieve(queries, database, k=40)

    def slow(image0, image1):
        time.sleep(0.002)
        return match_rapid(image0, image1)

    none = rerank(candidates, queries, database, slow, time_budget=0.0)
    assert none.indices.tolist() == candidates.indices.tolist()
    assert np.isneginf(none.scores).all()
    some = rerank(candidates, queries, database, slow, time_budget=0.03)
    for row in range(2):
        count = int(np.isfinite(some.scores[row]).sum())
        assert 0 < count < 40
        expected = rerank(candidates, queries, database, match_rapid, depth=count)
        assert some.indices[row].tolist() == expected.indices[row].tolist()
    enough = rerank(candidates, queries, database, match_rapid, time_budget=100.0)
    assert enough.indices.tolist() == rerank(candidates, queries, database, match_rapid).indices.tolist()


def test_descriptors_may_be_read_in_another_way_and_threads_are_as_before(tmp_path: Path) -> None:
    queries, database = make_store(tmp_path / "q", 3, 0), make_store(tmp_path / "d", 9, 1)
    candidates = retrieve(queries, database, k=9)
    before, read = torch.get_num_threads(), []

    def compact(store: FeatureStore, row: int):
        read.append((store.folder.name, row))
        return store.compact_descriptors(row, 5)

    found = rerank(candidates, queries, database, match_rapid, read=compact)
    assert sorted(read) == sorted([("q", row) for row in range(3)] + [("d", row) for row in range(9)] * 3)
    assert torch.get_num_threads() == before
    for row in range(3):
        query = queries.compact_descriptors(row, 5)
        scores = np.array(
            [
                list(match_rapid(query, database.compact_descriptors(i, 5)).scores.values())
                for i in candidates.indices[row]
            ]
        )
        order = np.argsort(-fuse(scores, [0.5, 0.5]), kind="stable")
        assert found.indices[row].tolist() == candidates.indices[row][order].tolist()
