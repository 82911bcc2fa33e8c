"""Names that stand for things: a registry knows its names without importing anything, and finds a thing when asked."""

import difflib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from ..errors import ConfigError, PatchvladError

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Things of one kind by name.

    Args:
        kind: what the names name, for messages: "backbone".
        things: for each name the thing itself, or "package.module:attribute", imported when it is first asked for.
        aliases: for each further name the name that it stands for.
        error: raised for a name that is unknown.
    """

    def __init__(
        self,
        kind: str,
        things: Mapping[str, Thing | str],
        aliases: Mapping[str, str] | None = None,
        error: type[PatchvladError] = ConfigError,
    ) -> None:
        self.kind, self.error = kind, error
        self._things: dict[str, Thing | str] = dict(things)
        self._aliases = dict(aliases or {})

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self._aliases

    def add(self, name: str, thing: Thing | str) -> None:
        """Takes one more thing, from wherever: from here on its name is a choice everywhere."""
        self._things[name] = thing

    def short(self, name: str) -> str:
        """The name that people type: an alias where there is one."""
        return next((alias for alias, known in self._aliases.items() if known == name), name)

    @property
    def choices(self) -> tuple[str, ...]:
        """Names as people type them."""
        return tuple(map(self.short, self._things))

    def check(self, name: str) -> str:
        """The name itself, or the one that an alias stands for.

        Raises:
            PatchvladError: of the registry's kind, if the name is unknown; the message lists the valid ones.
        """
        name = self._aliases.get(name, name)
        if name not in self._things:
            near = difflib.get_close_matches(name, self.choices, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise self.error(f"unknown {self.kind} {name!r}{meant}: choose from {', '.join(self.choices)}")
        return name

    def __getitem__(self, name: str) -> Thing:
        name = self.check(name)
        thing = self._things[name]
        if isinstance(thing, str):
            thing = self._things[name] = pkgutil.resolve_name(thing)
        return thing  # type: ignore[return-value]
