"""The two sides of a search, queries and database, and the same thing about either of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

One = TypeVar("One", covariant=True)
Other = TypeVar("Other")

KINDS = ("queries", "database")
ROW_ORDERS = ("natural", "sorted")  # of the images that rows of a file stand for


@dataclass(frozen=True)
class Sides(Generic[One]):
    """Something of the queries, and the same of the database: their image lists, names, stores, positions."""

    queries: One
    database: One

    def __iter__(self) -> Iterator[One]:
        return iter((self.queries, self.database))

    def map(self, function: Callable[[One], Other]) -> "Sides[Other]":
        """What a function makes of each side."""
        return Sides(function(self.queries), function(self.database))

    def items(self) -> Iterator[tuple[str, One]]:
        """Each side behind its name, "queries" and "database"."""
        return zip(KINDS, self, strict=True)


Names = Sides[tuple[str, ...]]
PerhapsNames = Sides[Sequence[str] | None]  # None where a side's names are not known
