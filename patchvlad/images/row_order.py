"""Files of rows belong to an order of images: natural (2 before 10), as folders are listed here, or alphabetical.

Descriptors, predictions and truths without names do not say which. Where both orders are the same, or a list file gives
the order, there is nothing to decide; else whoever has made the file must say.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from natsort import natsorted

from ..errors import GroundTruthError
from .sides import ROW_ORDERS, PerhapsNames, Sides

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowOrder:
    """Which order the rows of files are in.

    Attributes:
        chosen: one of `ROW_ORDERS`, or None where nobody has said.
        given: of each side, whether a list file gives its order.
    """

    chosen: str | None = None
    given: Sides[bool] = field(default_factory=lambda: Sides(False, False))

    def names(self, path: Path, names: PerhapsNames) -> PerhapsNames:
        """The names of both sides in the order of a file's rows; None where they are not known.

        Raises:
            GroundTruthError: the natural and the alphabetical order differ, and nobody has said which it is.
        """
        return Sides(*(side if side is None else self.of_side(path, kind, side) for kind, side in names.items()))

    def of_side(self, path: Path, kind: str, names: Sequence[str]) -> tuple[str, ...]:
        """The same of one side, "queries" or "database", of whose images alone a file has rows."""
        names = tuple(names)
        if getattr(self.given, kind):
            return names
        alphabetical = sorted(names)
        natural = natsorted(alphabetical)
        if natural == alphabetical or names != tuple(natural):  # another order than natural is that of a list
            return names
        if self.chosen is None:
            first = next(row for row, name in enumerate(natural) if name != alphabetical[row])
            raise GroundTruthError(
                f"{path} gives rows, and which images of the {kind} they are depends on the order: in natural order "
                f"row {first} is {natural[first]}, in alphabetical order {alphabetical[first]}. Say which it was made "
                "in, with --row-order natural or --row-order sorted, or give a list file of the images in its order"
            )
        log.info(
            "%s: its rows are taken for the images of the %s in %s order (--row-order %s)",
            *(path, kind, "natural" if self.chosen == "natural" else "alphabetical", self.chosen),
        )
        assert self.chosen in ROW_ORDERS
        return tuple(natural if self.chosen == "natural" else alphabetical)
