"""Names that other files write for the same images."""

import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.evaluate.names import finder


@pytest.mark.parametrize(
    ("names", "mentioned"),
    [
        (["1.jpg", "x/2.jpg"], ["1.jpg", "x/2.jpg"]),
        (["1.jpg", "x/2.jpg"], ["db/1.jpg", "db/x/2.jpg"]),
        (["1.jpg", "x/2.jpg"], ["/data/set/db/1.jpg", "/data/set/db/x/2.jpg"]),
        (["db/1.jpg", "db/x/2.jpg"], ["1.jpg", "x/2.jpg"]),
        (["set/db/1.jpg", "set/db/x/2.jpg"], ["other/1.jpg", "other/x/2.jpg"]),
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
