"""Checksums: XXH3 of every block of at most 1 MiB, so that a block can be checked when it is first read.

They tell what disks, copies and editors have changed since it was written. They are no seal: whoever changes a file on
purpose can write its checksums anew.
"""

import os
from dataclasses import dataclass

import numpy as np
import xxhash

BLOCK = 1 << 20  # bytes

Buffer = bytes | bytearray | memoryview  # an array's is `array.data`


@dataclass(frozen=True)
class Checked:
    """What a check of a store, a results folder or a file found.

    Attributes:
        size: bytes that were compared with their checksums.
        damage: what is damaged, a sentence each, which names the file, and the photos concerned where there are any.
        unproven: why not everything could be compared, in words; empty where it was.
    """

    size: int = 0
    damage: tuple[str, ...] = ()
    unproven: str = ""


def digest(buffer: Buffer) -> str:
    """Checksum of bytes, 16 hexadecimal digits."""
    return xxhash.xxh3_64_hexdigest(buffer)


def block_sums(buffer: Buffer) -> np.ndarray:
    """Checksums of the blocks that bytes are cut into, (n) uint64; the last block may be short."""
    view = memoryview(buffer).cast("B")
    sums = [xxhash.xxh3_64_intdigest(view[start : start + BLOCK]) for start in range(0, len(view), BLOCK)]
    return np.array(sums, dtype=np.uint64)


def sums_per_row(size: int) -> int:
    """How many checksums a row of so many bytes has: one, or one per block."""
    return max(1, -(-size // BLOCK))


def row_sums(rows: np.ndarray) -> np.ndarray:
    """Checksums of the rows of an array (N, ...), (N, S) uint64: each row by itself, long ones in blocks."""
    view = np.ascontiguousarray(rows).data.cast("B") if rows.size else memoryview(b"")
    size = len(view) // max(len(rows), 1)
    each = sums_per_row(size)
    if each > 1:
        return np.array(
            [block_sums(view[start : start + size]) for start in range(0, len(view), size)], dtype=np.uint64
        )
    starts = range(0, len(view), size) if size else [0] * len(rows)
    sums = [xxhash.xxh3_64_intdigest(view[start : start + size]) for start in starts]  # 0.3 us each besides the bytes
    return np.array(sums, dtype=np.uint64).reshape(len(rows), 1)


def file_sum(path: str | os.PathLike) -> int:
    """Checksum of a whole file, which is read block by block.

    Raises:
        OSError: it cannot be read.
    """
    hashed = xxhash.xxh3_64()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            hashed.update(block)
    return hashed.intdigest()


def file_digest(path: str | os.PathLike) -> str:
    """The same in 16 hexadecimal digits, equal to `digest` of its bytes."""
    return f"{file_sum(path):016x}"
