"""Sample photos for `patchvlad demo`: real pictures of places inside two PyPI wheels, fetched with pip, never run."""

import logging
from pathlib import Path

from ..files.atomic import write_text, writing
from .wheels import REFERENCE, SAMPLE_PAIRS, fetched

log = logging.getLogger(__name__)

WHEELS = (REFERENCE, SAMPLE_PAIRS)
_PAIRS = "imm/assets/example_pairs"
_TOKYO = "patchnetvlad/example_images"
# Near view or other time -> far view of the same place; then places that no query shows.
QUERIES = {
    "tokyo_night.jpg": (f"{_TOKYO}/tokyo_query.jpg", "tokyo_day.png"),
    "grand_central_near.jpg": (f"{_PAIRS}/indoor/gcs_close.jpg", "grand_central_far.jpg"),
    "montmartre_near.jpg": (f"{_PAIRS}/outdoor/montmartre_close.jpg", "montmartre_far.jpg"),
    "house_visible.jpg": (f"{_PAIRS}/thermal/visible.jpg", "house_thermal.jpg"),
    "earth_from_station.jpg": (f"{_PAIRS}/sat2iss/photo_from_iss.jpg", "earth_from_satellite.jpg"),
}
DATABASE = {
    "tokyo_day.png": f"{_TOKYO}/tokyo_db.png",
    "grand_central_far.jpg": f"{_PAIRS}/indoor/gcs_far.jpg",
    "montmartre_far.jpg": f"{_PAIRS}/outdoor/montmartre_far.jpg",
    "house_thermal.jpg": f"{_PAIRS}/thermal/thermal.jpg",
    "earth_from_satellite.jpg": f"{_PAIRS}/sat2iss/satellite_img.jpg",
    "chartres.jpg": f"{_PAIRS}/false_positive/chartres.jpg",
    "notre_dame.jpg": f"{_PAIRS}/false_positive/notre_dame.jpg",
    "sistine_chapel.jpg": f"{_PAIRS}/fresco/sist_chapel.jpg",
    "fresco.jpg": f"{_PAIRS}/fresco/fsm.jpg",
}


def sample_photos(folder: Path) -> Path:
    """Returns a folder with database/, queries/ and gt.csv, fetched on the first call.

    Raises:
        DownloadError: pip cannot fetch the wheels.
    """
    if (folder / "gt.csv").is_file():
        return folder
    log.info("fetching sample photos with pip (%s), once", " ".join(wheel.requirement for wheel in WHEELS))
    members = {f"queries/{name}": member for name, (member, _) in QUERIES.items()}
    members |= {f"database/{name}": member for name, member in DATABASE.items()}
    for wheel in WHEELS:
        with fetched(wheel) as archive:
            inside = set(archive.namelist())
            for name, member in members.items():
                if member in inside:
                    with writing(folder / name) as file:
                        file.write(archive.read(member))
    lines = [f"queries/{name},database/{positive}\n" for name, (_, positive) in QUERIES.items()]
    write_text(folder / "gt.csv", "".join(["query,positives\n", *lines]))  # last: from here on all are there
    return folder
