"""GSV-Cities: Dataframes/<City>.csv and Images/<City>/*.jpg."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import GroundTruthError
from ..files.csv_rows import to_number
from ..images.lists import ImageList
from .nearby import label_points
from .position_tables import read_table
from .radii import Reading
from .training import Places, hold_out, in_halves


def read_training(root: Path, reading: Reading) -> tuple[Places, Places]:
    """Places by their ids; file names are put together from the table, as its authors do."""
    tables = {path.stem: path for path in sorted((root / "Dataframes").glob("*.csv"))}
    absent = [city for city in (*reading.cities, *reading.validation_cities) if city not in tables]
    if absent or not tables:
        raise GroundTruthError(
            f"{root / 'Dataframes'} has no table of {', '.join(absent) or 'any city'}: choose from "
            f"{', '.join(tables) or 'none'}"
        )
    columns = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")

    def of_cities(cities: Sequence[str]) -> Places:
        names, labels, headings = [], [], []
        for city in cities:
            for row in read_table(tables[city], columns):
                number = int(to_number(row, "place_id"))
                labels.append(f"{city} {number}")
                headings.append(to_number(row, "northdeg"))
                names.append(
                    f"Images/{city}/{row['city_id']}_{number % 10**5:07d}_{row['year']:0>4}_{row['month']:0>2}_"
                    f"{row['northdeg']:0>3}_{to_number(row, 'lat')}_{to_number(row, 'lon')}_{row['panoid']}.jpg"
                )
        (points,) = label_points(labels)
        limit = reading.heading_limit
        return Places.make(ImageList(root, tuple(names)), points, headings=np.array(headings), heading_limit=limit)

    training = of_cities(reading.cities or [city for city in tables if city not in reading.validation_cities])
    if reading.validation_cities:
        return training, in_halves(of_cities(reading.validation_cities))
    training, validation = hold_out(training, reading.validation, reading.seed)
    return training, in_halves(validation)
