"""The loop: it learns, goes on where it stopped, keeps its best, and its parts do what they say."""

from dataclasses import replace
from pathlib import Path

import generated_city
import numpy as np
import pytest
import tiny
import torch
from torch.nn import functional as F

from patchvlad.errors import ConfigError, GroundTruthError
from patchvlad.model.backbones.efficientnet_lite0 import EfficientNetLite0
from patchvlad.model.backbones.vgg16 import VGG16
from patchvlad.model.checkpoints import load_model
from patchvlad.model.registry import BACKBONES
from patchvlad.places.radii import Reading
from patchvlad.places.training import NEGATIVE, POSITIVE, Places
from patchvlad.places.training_sets import read_places
from patchvlad.train import loop, runs
from patchvlad.train.batches import batches_of_places, parts_of_epoch, triplet_batches
from patchvlad.train.frozen import FrozenMaps, augmented
from patchvlad.train.parallel import Team
from patchvlad.train.recipes import MODERN, PAPER, Recipe, for_backbone

SIZE = (tiny.HEIGHT, tiny.WIDTH)
QUICK = {
    "paper": replace(PAPER, trained=0, epochs=2, part=6, batch=2, learning_rate=0.01, cached_negatives=8),
    "modern": replace(MODERN, trained=0, epochs=2, part=6, batch=3, learning_rate=0.01, variants=2),
}


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES._things, "tiny", tiny.TinyBackbone)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, Places]:
    return read_places(generated_city.write_msls(tmp_path_factory.mktemp("msls")))


def start(recipe: Recipe) -> torch.nn.Module:
    model = tiny.make_model()
    if not recipe.whitened:
        model.whitening = None
    return model


def run(recipe: Recipe, city: tuple[Places, Places], folder: Path, **given) -> tuple[torch.nn.Module, runs.State]:
    model = start(recipe)
    return model, loop.train(model, *city, recipe, folder, size=SIZE, **given)


@pytest.mark.parametrize("name", QUICK)
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    name: str, city: tuple[Places, Places], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = QUICK[name]
    whole, state = run(recipe, city, tmp_path / "whole")
    assert state.epoch == 2
    assert state.step > 4
    assert [row["epoch"] for row in state.history] == [0, 1, 2]

    saved = runs.save
    for dies_at in (1, 2, 3):  # in the first epoch, between the two, in the second
        folder = tmp_path / f"killed{dies_at}"
        calls: list[int] = []

        def dying(*arguments, calls=calls, dies_at=dies_at) -> None:
            saved(*arguments)
            calls.append(1)
            if len(calls) == dies_at:
                raise KeyboardInterrupt

        monkeypatch.setattr(loop, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, city, folder)
        monkeypatch.setattr(loop, "save", saved)
        resumed, again = run(recipe, city, folder, resume=True)
        assert again == state
        for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert (folder / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()
        best = [load_model(path / runs.BEST) for path in (folder, tmp_path / "whole")]
        assert torch.equal(best[0].vlad.centroids, best[1].vlad.centroids)


@pytest.mark.parametrize("name", QUICK)
def test_the_loss_falls(name: str, city: tuple[Places, Places], tmp_path: Path) -> None:
    recipe = replace(QUICK[name], epochs=8, variants=0, learning_rate=0.003)
    _, state = run(recipe, city, tmp_path)
    losses = [row["train/loss"] for row in state.history[1:]]
    assert losses[-1] < 0.8 * losses[0]


def test_the_best_epoch_is_kept_and_patience_ends(
    city: tuple[Places, Places], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalls = iter([0.2, 0.5, 0.7, 0.6, 0.7, 0.4, 0.9])
    monkeypatch.setattr(loop, "validate", lambda *_: {k: v for v in [next(recalls)] for k in loop.KS})
    kept: list[str] = []
    monkeypatch.setattr(loop, "save_model", lambda model, path, notes: kept.append(notes))
    _, state = run(replace(QUICK["paper"], epochs=9, patience=3), city, tmp_path)
    assert (state.epoch, state.best, state.not_improved) == (5, 0.7, 3)
    assert kept == ["paper, epoch 0", "paper, epoch 1", "paper, epoch 2"]


def test_scalars_are_tensorboards(city: tuple[Places, Places], tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, state = run(QUICK["paper"], city, tmp_path)
    found = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    tags = set(found.Tags()["scalars"])
    assert tags == {"train/loss", "train/active", *(f"validation/recall@{k}" for k in loop.KS)}
    assert [event.step for event in found.Scalars("validation/recall@5")] == [row["step"] for row in state.history]


def test_a_run_is_not_overwritten_nor_resumed_with_other_things(city: tuple[Places, Places], tmp_path: Path) -> None:
    recipe = QUICK["paper"]
    run(replace(recipe, epochs=1), city, tmp_path)
    with pytest.raises(ConfigError, match=r"holds a run already: go on with --resume"):
        run(recipe, city, tmp_path)
    with pytest.raises(ConfigError, match="a recipe unlike what is given: negatives was 5, is 2"):
        run(replace(recipe, negatives=2), city, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="other photos or positions"):
        run(replace(recipe, epochs=1), (city[0].subset(np.arange(20)), city[1]), tmp_path, resume=True)
    with pytest.raises(ConfigError, match=r"holds no run to resume: state\.pt is missing"):
        run(recipe, city, tmp_path / "elsewhere", resume=True)


def test_nothing_to_train_on_is_said_before(city: tuple[Places, Places], tmp_path: Path) -> None:
    training, validation = city
    alone = replace(training, positive_radius=1.0)
    with pytest.raises(GroundTruthError, match="none of the 11 training queries has a positive within 1 m"):
        run(QUICK["paper"], (alone, validation), tmp_path)
    gone = replace(training, images=replace(training.images, root=tmp_path))
    with pytest.raises(GroundTruthError, match=r"22 of 22 training photos are missing .* the first is train_val"):
        run(QUICK["paper"], (gone, validation), tmp_path)


def test_what_is_kept_lies_on_the_way(city: tuple[Places, Places], tmp_path: Path) -> None:
    recipe = replace(QUICK["modern"], way=0.25)
    start_of = {name: value.clone() for name, value in start(recipe).state_dict().items()}
    monkeyed = []

    def always_better(*_) -> dict[int, float]:
        monkeyed.append(1)
        return {k: float(len(monkeyed)) for k in loop.KS}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "validate", always_better)
        trained, _ = run(recipe, city, tmp_path)
    kept = load_model(tmp_path / runs.BEST).state_dict()
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(kept[name], torch.lerp(start_of[name], value, 0.25))
    assert not torch.equal(kept["vlad.centroids"], start_of["vlad.centroids"])


def test_recall_is_counted_as_by_hand(city: tuple[Places, Places]) -> None:
    model = tiny.make_model().eval()
    _, places = city
    with FrozenMaps(model.backbone, 0, places.images, SIZE) as frozen:
        learner = loop.Learner(model, [], [], None, 0, torch.float32, Team(), lambda *_: None)
        found = loop.validate(learner, frozen, places, ks=(1, 3))
        every = learner.describe(frozen, np.arange(len(places.images)), "").numpy().astype(np.float64)
    right = {1: 0, 3: 0}
    for query, positives in zip(places.queries, places.positives, strict=True):
        ranked = sorted(places.database, key=lambda row: -float(every[query] @ every[row]))
        for k in right:
            right[k] += bool(set(ranked[:k]) & set(positives))
    assert found == {k: count / len(places.queries) for k, count in right.items()}
    assert 0 < found[3] < 1 or found[3] == 1


def test_a_photo_does_not_find_itself(tmp_path: Path) -> None:
    """Two places of two photos each, all both query and database; only the right place counts, never the photo."""
    from PIL import Image

    for name, place in (("a1", 1), ("a2", 2), ("b1", 1), ("b2", 2)):
        Image.fromarray(tiny.photo(place)).save(tmp_path / f"{name}.png")
    (tmp_path / "x.csv").write_text("image,place\na1.png,a\na2.png,a\nb1.png,b\nb2.png,b\n")
    places, _ = read_places(tmp_path / "x.csv", Reading(validation=0))
    model = tiny.make_model().eval()
    with FrozenMaps(model.backbone, 0, places.images, SIZE) as frozen:
        learner = loop.Learner(model, [], [], None, 0, torch.float32, Team(), lambda *_: None)
        assert loop.validate(learner, frozen, places, ks=(1, 3)) == {1: 0.0, 3: 1.0}  # each one's twin comes first


# --- parts ----------------------------------------------------------------------------------------------------------


def test_parts_draw_by_weight(city: tuple[Places, Places]) -> None:
    places = city[0]
    counts = np.zeros(len(places.queries))
    for epoch in range(300):
        parts = parts_of_epoch(places, QUICK["paper"], epoch)
        assert [len(part) for part in parts] == [6, 5]
        counts += np.bincount(np.concatenate(parts), minlength=len(counts))
    expected = 300 * 11 * places.weights / places.weights.sum()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    plain = parts_of_epoch(replace(places, weights=np.ones(11)), QUICK["paper"], 0)
    assert sorted(np.concatenate(plain)) == list(range(11))


def test_triplet_batches_hold_queries_positives_and_negatives(city: tuple[Places, Places]) -> None:
    places = city[0]
    generator = torch.Generator().manual_seed(0)
    every = F.normalize(torch.randn(len(places.images), 8, generator=generator), dim=1)
    recipe = replace(PAPER, batch=4, negatives=2)
    numbers = np.arange(11)
    batches, active = triplet_batches(places, numbers, recipe, lambda rows: every[rows], np.random.default_rng(0))
    assert 0 < active < 1
    queries = []
    for batch in batches:
        rows = np.array([row for row, _ in batch.views])
        count = int(np.isin(rows, places.queries).sum())
        relation = places.relation(rows)
        assert all(relation[i, count + i] == POSITIVE for i in range(count))
        assert len(rows) <= count * 4
        negatives = relation[:count, 2 * count :]
        assert ((negatives == NEGATIVE).sum(axis=1) >= 1).all()
        queries += rows[:count].tolist()
        assert batch.loss(every[rows]) > 0
    assert len(set(queries)) == len(queries)


def test_batches_of_places_do_not_mix_neighbours() -> None:
    positions = np.array([[30.0 * place, offset] for place in range(12) for offset in (0, 3, 6)])
    images = type("Images", (), {"names": [str(n) for n in range(36)], "__len__": lambda self: 36})()
    places = Places.make(images, positions)
    recipe = replace(MODERN, batch=4, photos_a_place=3)
    batches = batches_of_places(places, np.random.default_rng(0).permutation(36), recipe, np.random.default_rng(1))
    assert len(batches) == 9
    for batch in batches:
        rows = np.array([row for row, _ in batch.views])
        assert len(rows) == len(set(rows)) == 12
        relation = places.relation(rows)
        assert ((relation == POSITIVE).sum(axis=1) == 2).all()
        assert ((relation == NEGATIVE).sum(axis=1) == 9).all()
        assert {variant for _, variant in batch.views} <= set(range(5))


def test_frozen_maps_are_the_same_whether_kept_or_not(city: tuple[Places, Places]) -> None:
    places = city[0]
    backbone = tiny.TinyBackbone()
    views = [(0, 0), (1, 0), (1, 1), (0, 0), (2, 2)]
    found = []
    for memory in (0, 1 << 17, 1 << 30):
        with FrozenMaps(backbone, 0, places.images, SIZE, memory=memory, augment=augmented, seed=5) as frozen:
            maps = list(frozen.stream([views, views[:2], views[::-1]]))
            kept = sum(one.numel() * one.element_size() for one in frozen._kept.values())
        assert kept <= memory
        found.append(maps)
    for maps in found:
        assert [len(batch) for batch in maps] == [5, 2, 5]
        assert torch.equal(maps[0], maps[2].flip(0))
        assert torch.equal(maps[0], found[0][0])
    assert torch.equal(maps[0][0], maps[0][3])
    assert not torch.equal(maps[0][1], maps[0][2])


def test_augmentation_is_the_seeds_alone() -> None:
    photo = tiny.photo(1)
    made = [augmented(photo, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert made[0].shape == photo.shape
    assert made[0].dtype == np.uint8
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


@pytest.mark.parametrize(("make", "most"), [(VGG16, 13), (EfficientNetLite0, 12)])
def test_trunk_and_head_are_the_backbone(make, most: int) -> None:
    torch.manual_seed(0)
    backbone = make().eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected = backbone(images)
        for trained in (1, 3, most):
            found = backbone.head(backbone.trunk(images, trained), trained)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    counts = [sum(p.numel() for p in backbone.head_layers(n).parameters()) for n in (1, 3, most)]
    assert counts == sorted(set(counts))
    for wrong in (most + 1, -1):
        with pytest.raises(ConfigError, match="layers cannot be trained"):
            backbone.head_layers(wrong)


def test_the_papers_numbers() -> None:
    recipe = for_backbone(PAPER, VGG16.trained_layers)
    assert recipe.trained == 3
    convolutions = [m for m in VGG16().head_layers(3).modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [(512, 512)] * 3
    assert recipe.margin == pytest.approx(0.1**0.5)
    assert [recipe.rate_at(epoch) for epoch in (0, 4.9, 5, 10)] == [1e-4, 1e-4, 5e-5, 2.5e-5]
    assert (recipe.weight_decay, recipe.momentum, recipe.patience) == (1e-3, 0.9, 10)


def test_the_modern_rate_rises_and_falls() -> None:
    recipe = replace(MODERN, epochs=10, warm_up=0.2, learning_rate=1.0)
    rates = [recipe.rate_at(epoch) for epoch in (0, 1, 2, 5, 10)]
    assert rates[0] == 0
    assert rates[1] < rates[2]
    assert rates[2] > rates[3] > rates[4]
    assert rates[4] == pytest.approx(0)


@pytest.mark.parametrize(
    "wrong", [{"loss": "hinge"}, {"optimiser": "lbfgs"}, {"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}]
)
def test_recipes_that_cannot_be(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        replace(PAPER, **wrong)
