"""Names that other files write for the same images."""

import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.images.names import finder


@pytest.mark.parametrize(
    ("names", "mentioned"),
    [
        (["1.jpg", "x/2.jpg"], ["1.jpg", "x/2.jpg"]),
        (["1.jpg", "x/2.jpg"], ["db/1.jpg", "db/x/2.jpg"]),
        (["1.jpg", "x/2.jpg"], ["/data/set/db/1.jpg", "/data/set/db/x/2.jpg"]),
        (["db/1.jpg", "db/x/2.jpg"], ["1.jpg", "x/2.jpg"]),
        (["set/db/1.jpg", "set/db/x/2.jpg"], ["other/1.jpg", "other/x/2.jpg"]),  # of which a warning tells
    ],
)
def test_leading_folders_may_differ(names: list[str], mentioned: list[str]) -> None:
    row_of = finder("file", "database", names, mentioned)
    assert [row_of(name) for name in mentioned] == [0, 1]


def test_of_several_ways_the_one_by_which_most_names_meet_is_taken() -> None:
    names = ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
    row_of = finder("file", "database", names, ["b/1.jpg", "b/2.jpg", "c/1.jpg"])
    assert [row_of(name) for name in ("b/1.jpg", "b/2.jpg", "c/1.jpg", "a/1.jpg")] == [1, 2, None, 0]
    assert finder("file", "database", names, ["x/b/1.jpg"])("x/b/1.jpg") == 1  # not a/1.jpg


def test_where_any_name_meets_as_it_is_the_others_are_no_images() -> None:
    names = [*(f"summer/{i}" for i in range(100) if i != 7), *(f"winter/{i}" for i in range(100))]
    row_of = finder("file", "database", names, [f"summer/{i}" for i in range(100)])
    assert [row_of(f"summer/{i}") for i in (6, 7, 8)] == [6, None, 7]


@pytest.mark.parametrize("exchanging", [True, False])
def test_exchanged_folders_are_told_or_refused(exchanging: bool, caplog: pytest.LogCaptureFixture) -> None:
    names, mentioned = ["night/1", "night/2"], ["day/1", "day/2"]
    if exchanging:
        assert finder("file", "queries", names, mentioned)("day/2") == 1
        assert caplog.messages == ["file: day/1 is taken for night/1 of the queries"]
    else:
        with pytest.raises(GroundTruthError, match="names no image of the queries"):
            finder("file", "queries", names, mentioned, exchanging=False)


@pytest.mark.parametrize(("kind", "said"), [("database", "queries"), ("queries", "database")])
def test_folders_of_the_other_kind_are_never_taken(kind: str, said: str) -> None:
    """Pairs of queries with themselves, or with the columns swapped."""
    with pytest.raises(GroundTruthError, match="and not lie in a folder of the other kind"):
        finder("file", kind, [f"{kind}/{i}" for i in range(3)], [f"{said}/{i}" for i in range(3)])


def test_a_name_that_may_be_two_images_is_refused() -> None:
    names = [f"cam{camera}/{i}.jpg" for camera in range(2) for i in range(3)]
    with pytest.raises(
        GroundTruthError, match=r"names '0.jpg', which may be 'cam0/0.jpg' or 'cam1/0.jpg' of the database"
    ):
        finder("file", "database", names, [f"{i}.jpg" for i in range(3)])


def test_nothing_mentioned_is_no_mistake_but_nothing_that_meets_is() -> None:
    assert finder("file", "database", ["1.jpg"], [])("1.jpg") == 0
    with pytest.raises(GroundTruthError, match=r"^file names no image of the queries: it has 'z', among .* is '1.jpg'"):
        finder("file", "queries", ["1.jpg"], ["z"])
    with pytest.raises(GroundTruthError, match="among the queries is 'none'"):
        finder("file", "queries", [], ["z"])


BOTH = [f"{folder}/{i}.jpg" for folder in ("database", "queries") for i in range(4)]
NAMES = [f"{i}.jpg" for i in range(4)]


@pytest.mark.parametrize("folder", ["queries", "database"])
def test_of_two_folders_with_equal_names_the_images_own_is_meant(folder: str) -> None:
    kind = folder
    for root in (f"/data/set/{folder}", None):  # told by where the images lie, else by what is asked for
        row_of = finder("file", kind, NAMES, BOTH, root)
        other = "database" if folder == "queries" else "queries"
        assert [row_of(f"{folder}/{i}.jpg") for i in range(4)] == [0, 1, 2, 3]
        assert row_of(f"{other}/0.jpg") is None


def test_the_own_folder_counts_even_if_more_names_meet_in_the_other() -> None:
    mentioned = [*BOTH[:4], "monday/0.jpg", "monday/1.jpg"]
    row_of = finder("file", "queries", NAMES, mentioned, "/set/monday")
    assert [row_of(name) for name in ("monday/1.jpg", "database/1.jpg", "monday/3.jpg")] == [1, None, 3]


def test_where_it_cannot_be_told_which_are_meant_nothing_is_guessed() -> None:
    mentioned = [f"{folder}/{i}.jpg" for folder in ("monday", "tuesday") for i in range(4)]
    with pytest.raises(GroundTruthError, match=r"names 'monday/0.jpg' and 'tuesday/0.jpg', and either may be the same"):
        finder("file", "queries", NAMES, mentioned)
    with pytest.raises(GroundTruthError, match="either may be the same image of the database"):
        finder("file", "database", NAMES, mentioned[:4] + mentioned[6:])


def test_images_that_are_not_in_the_list_are_no_ambiguity() -> None:
    names = ["a/1.jpg", "b/1.jpg"]
    row_of = finder("file", "database", names, ["db/a/1.jpg", "db/b/1.jpg", "db/c/1.jpg"])
    assert [row_of(f"db/{folder}/1.jpg") for folder in "abc"] == [0, 1, None]


def test_a_long_file_that_begins_with_the_other_kind() -> None:
    mentioned = [f"monday/{i}.jpg" for i in range(5000)] + [f"tuesday/{i}.jpg" for i in range(300)]
    names = [f"{i}.jpg" for i in range(300)]
    assert finder("file", "queries", names, mentioned, "/x/tuesday")("tuesday/7.jpg") == 7
    with pytest.raises(GroundTruthError, match="either may be the same"):
        finder("file", "queries", names, mentioned)


def test_of_two_tails_of_the_root_the_longer_is_meant() -> None:
    mentioned = [f"{folder}/{i}.jpg" for folder in ("images", "queries/images") for i in range(3)]
    row_of = finder("file", "queries", [f"{i}.jpg" for i in range(3)], mentioned, "/set/queries/images")
    assert [row_of(name) for name in ("queries/images/1.jpg", "images/1.jpg")] == [1, None]


@pytest.mark.parametrize("kind", ["queries", "database"])
def test_a_set_may_lie_in_a_folder_of_any_name(kind: str) -> None:
    mentioned = [f"/data/{other}/{kind}/{i}.jpg" for other in ["query"] for i in range(3)]
    assert finder("file", kind, [f"{i}.jpg" for i in range(3)], mentioned)(mentioned[1]) == 1
