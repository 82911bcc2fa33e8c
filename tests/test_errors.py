"""Counts in messages."""

import pytest

from patchvlad.errors import counted


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("query", "queries"), "1 query"),
        (3, ("query", "queries"), "3 queries"),
    ],
)
def test_counted_takes_the_singular_for_one_only(number: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(number, *words) == expected
