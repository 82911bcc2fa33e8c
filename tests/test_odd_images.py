"""Odd images: each becomes what the table of `odd_images` says, and in a bearable time."""

from pathlib import Path

import numpy as np
import pytest
from odd_images import EITHER, PHOTO, SCALED, Case, cases

from patchvlad.errors import ImageError
from patchvlad.images.pixels import read_photo

CASES = cases()


def test_there_are_hundreds_of_them() -> None:
    assert len(CASES) >= 300


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_odd_image_becomes_what_the_table_says(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    case.make(path)
    refusal = isinstance(case.outcome, str) and case.outcome not in (PHOTO, SCALED, EITHER)
    try:
        photo = read_photo(path)
    except ImageError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error).replace(case.name, "")
        assert refusal or case.outcome == EITHER, error
        if refusal:
            assert any(said in str(error) for said in str(case.outcome).split("|")), error
        return
    assert not refusal, photo.pixels.shape
    assert photo.pixels.dtype == np.uint8 and photo.pixels.ndim == 3 and photo.pixels.shape[2] == 3
    if isinstance(case.outcome, np.ndarray):
        rounding = 1 if photo.deep else 0
        np.testing.assert_allclose(photo.pixels.astype(int), case.outcome.astype(int), rtol=0, atol=rounding)
    elif case.outcome != EITHER:
        assert photo.deep == (case.outcome == SCALED)
        assert np.ptp(photo.pixels) > 0
