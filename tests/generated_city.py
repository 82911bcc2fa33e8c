"""A city in MSLS's layout whose photos are rendered: a street of places, seen twice."""

import csv
from pathlib import Path

import numpy as np
import tiny
from PIL import Image


def write_table(path: Path, columns: list[str], rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *columns])
        writer.writerows([number, *row] for number, row in enumerate(rows))


def write_part(
    folder: Path, prefix: str, places: list[int], shift: int, offset: float, night: set[int], sideways: set[int]
) -> None:
    """One of query/ and database/: a photo every 100 m, `offset` metres further east."""
    keys = [f"{prefix}{place}" for place in places]
    (folder / "images").mkdir(parents=True)
    for key, place in zip(keys, places, strict=True):
        dark = 0.4 if place in night else 1.0
        photo = (tiny.photo(place, shift) * dark).astype(np.uint8)
        Image.fromarray(photo).save(folder / "images" / f"{key}.jpg", quality=95)
    direction = {place: "Sideways" if place in sideways else "Forward" for place in places}
    write_table(
        folder / "postprocessed.csv",
        ["key", "easting", "northing", "night", "control_panel", "view_direction", "unique_cluster"],
        [[k, 100.0 * p + offset, 5e6, p in night, False, direction[p], p] for k, p in zip(keys, places, strict=True)],
    )
    write_table(
        folder / "raw.csv",
        ["key", "lon", "lat", "ca", "captured_at", "pano"],
        [[k, 0.0, 45.0, 0.0, "2020-01-01", p % 10 == 9] for k, p in zip(keys, places, strict=True)],
    )
    write_table(
        folder / "seq_info.csv", ["key", "sequence_key", "frame_number"], [[k, prefix, n] for n, k in enumerate(keys)]
    )
    write_table(folder / "subtask_index.csv", ["all", "s2w"], [[True, False] for _ in keys])


def write_city(root: Path, city: str = "trondheim", first: int = 0, count: int = 12, part: str = "train_val") -> Path:
    """`count` places, of which every tenth is a panorama, the second is seen at night, the third sideways."""
    folder = root / part / city
    places = list(range(first, first + count))
    night, sideways = {first + 1}, {first + 2}
    write_part(folder / "query", f"{city}_q", places, 32, 5.0, night, sideways)
    write_part(folder / "database", f"{city}_d", places, 0, 0.0, set(), set())
    return root


def write_msls(root: Path, count: int = 12) -> Path:
    """A training city and a validation one."""
    write_city(root, "trondheim", 100, count)
    return write_city(root, "cph", 300, count)
