"""The radii within which photos show the same place, each defined here and nowhere else, and how places are read."""

from dataclasses import dataclass

RADIUS = 25.0  # metres within which an image is a positive when results are measured, as in the papers
POSITIVE_RADIUS = 10.0  # metres within which two photos are positives in training (Warburg et al. 2020)
NEGATIVE_RADIUS = 25.0  # metres beyond which two photos are safe negatives in training


@dataclass(frozen=True)
class Reading:
    """How training places are read.

    Attributes:
        positive_radius, negative_radius: metres.
        validation_radius: metres within which a validation query is answered rightly.
        heading_limit: degrees between positives at most; None for no limit.
        validation: share of the photos held out where the dataset names no validation part.
        cities, validation_cities: of MSLS or GSV-Cities; the published lists where empty.
        panoramas: whether MSLS's panoramas are used in training; in validation they never are.
        seed: of the draw of what is held out.
        pixel_range: of photos of more than 8 bits, see `read_image`; None for each photo's own.
    """

    positive_radius: float = POSITIVE_RADIUS
    negative_radius: float = NEGATIVE_RADIUS
    validation_radius: float = RADIUS
    heading_limit: float | None = None
    validation: float = 0.1
    cities: tuple[str, ...] = ()
    validation_cities: tuple[str, ...] = ()
    panoramas: bool = False
    seed: int = 0
    pixel_range: tuple[float, float] | None = None
