"""Checksums: equal for equal bytes however they are read, another for each changed bit."""

from pathlib import Path

import numpy as np
import pytest
import xxhash

from patchvlad.files.checksums import BLOCK, block_sums, digest, file_digest, file_sum, row_sums, sums_per_row

RANDOM = np.random.default_rng(0)


def test_a_digest_is_xxh3_of_all_bytes() -> None:
    assert digest(b"") == "2d06800538d394c2"  # published by xxHash for empty input
    assert (
        digest(b"places")
        == digest(np.frombuffer(b"places", dtype=np.uint8).data)
        == xxhash.xxh3_64_hexdigest(b"places")
    )


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_a_file_has_the_sum_of_its_bytes_and_a_sum_per_block(tmp_path: Path, size: int) -> None:
    data = RANDOM.bytes(size)
    (tmp_path / "f").write_bytes(data)
    assert file_digest(tmp_path / "f") == digest(data) == f"{file_sum(tmp_path / 'f'):016x}"
    blocks = [data[start : start + BLOCK] for start in range(0, size, BLOCK)]
    assert block_sums(data).tolist() == [int(digest(block), 16) for block in blocks]


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (3, 5, 2), (2, BLOCK // 4), (2, BLOCK // 4 + 1), (2, BLOCK)])
def test_rows_are_summed_each_by_itself(shape: tuple[int, ...]) -> None:
    rows = RANDOM.standard_normal(shape, dtype=np.float32)
    sums = row_sums(rows)
    size = int(np.prod(shape[1:])) * 4
    assert (sums.dtype, sums.shape) == (np.uint64, (shape[0], sums_per_row(size)))
    for row, found in zip(rows, sums, strict=True):
        assert found.tolist() == ([int(digest(row.tobytes()), 16)] if size <= BLOCK else block_sums(row.data).tolist())
    if rows.size:
        changed = rows.copy()
        changed.view(np.uint8)[1].reshape(-1)[-1] ^= 1
        assert (row_sums(changed) != sums).any(axis=1).tolist() == [row == 1 for row in range(shape[0])]


def test_rows_of_an_array_that_is_not_contiguous_have_the_sums_of_their_values() -> None:
    rows = RANDOM.standard_normal((4, 6, 2), dtype=np.float32)
    np.testing.assert_array_equal(row_sums(rows[:, ::2]), row_sums(rows[:, ::2].copy()))
