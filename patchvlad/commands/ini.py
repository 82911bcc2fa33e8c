"""Values of .ini files in the reference's format: typed, with errors that name file, section and key."""

import configparser
import math
from collections.abc import Sequence

from ..errors import ConfigError


def read_values(text: str, name: str, sections: Sequence[str]) -> "Values":
    """The values of an .ini file's text, which must have these sections; `name` is for messages."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=name)
    except configparser.Error as error:
        raise ConfigError(f"{name} is not an .ini file: {' '.join(str(error).split())}") from error
    for section in sections:
        if section not in parser:
            raise ConfigError(f"{name} has no section [{section}]: see the presets for the format")
    return Values(parser, name)


class Values:
    """Typed look-ups with errors that name file, section and key."""

    def __init__(self, parser: configparser.ConfigParser, name: str) -> None:
        self.parser = parser
        self.name = name

    def text(self, section: str, key: str, default: str) -> str:
        return self.parser.get(section, key, fallback=default).strip()

    def one_of(self, section: str, key: str, default: str, choices: Sequence[str]) -> str:
        """One of the choices, in lower case, however it is written."""
        written = self.text(section, key, default)
        if written.lower() not in (choice.lower() for choice in choices):
            raise ConfigError(f"{self.name}: [{section}] {key} = {written}: choose from {', '.join(choices)}")
        return written.lower()

    def numbers(self, section: str, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        return self._list(section, key, default, float, "finite numbers, separated by commas", math.isfinite)

    def wholes(self, section: str, key: str, default: tuple[int, ...], least: float = -math.inf) -> tuple[int, ...]:
        said = "whole numbers" + (f" of at least {least}" if least > 0 else "") + ", separated by commas"
        return self._list(section, key, default, int, said, lambda number: number >= least)

    def number(self, section: str, key: str, default: float) -> float:
        found = self.numbers(section, key, (default,))
        if len(found) != 1:
            raise ConfigError(f"{self.name}: [{section}] {key} must be one number, not {len(found)}")
        return found[0]

    def whole(self, section: str, key: str, default: int) -> int:
        found = self.wholes(section, key, (default,))
        if len(found) != 1:
            raise ConfigError(f"{self.name}: [{section}] {key} must be one whole number, not {len(found)}")
        return found[0]

    def _list(self, section, key, default, kind, said, allowed):
        written = self.text(section, key, "")
        if not written:
            return default
        try:
            found = tuple(kind(part) for part in written.split(","))
        except ValueError:
            found = ()
        if not found or not all(map(allowed, found)):
            raise ConfigError(f"{self.name}: [{section}] {key} = {written}: {said}")
        return found
