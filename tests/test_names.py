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
