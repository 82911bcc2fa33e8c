"""Values of .ini files in the reference's format: typed, with errors that name file, section and key."""

import configparser
import difflib
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ConfigError
from ..files.regular import check_file

log = logging.getLogger(__name__)

# Keys that are read, by section; and those of the reference that have no effect here.
KNOWN = {
    "feature_extract": ("imageresizew", "imageresizeh", "cachebatchsize", "precision", "storedtype"),
    "feature_match": (
        *("matcher", "n_values_all", "pred_input_path", "imageresizew", "imageresizeh", "patchweights2use"),
        *("globalweight2use", "leastspread", "querystep", "index"),
    ),
    "global_params": (
        *("pooling", "resumepath", "num_pcs", "num_clusters", "patch_sizes", "strides", "model", "patchcomponents"),
        "vladv2",
    ),
    "train": (
        *("batchsize", "optim", "seed", "lr", "lrstep", "lrgamma", "weightdecay", "momentum", "patience", "evalevery"),
        *("margin", "num_clusters", "includepanos", "nneg", "imageresizew", "imageresizeh"),
    ),
}
WITHOUT_EFFECT = {
    "feature_extract": ("batchsize",),
    "feature_match": ("dataset_name",),
    "global_params": ("threads", "ngpu"),
    "train": ("cachebatchsize",),
}
IDLE_IN_TRAINING = ("pooling", "resumepath", "patch_sizes", "strides")  # of [global_params], in train.ini
LONGEST = 1 << 20  # bytes of a config
LINE = 100  # characters of a value that a message repeats
MOST = 2**31  # that a whole number may be
IDLE_ELSEWHERE = ("vladv2",)  # the checkpoint tells


def read_text(path: Path, remedy: str = "") -> str:
    """The text of an .ini file; `remedy` is the end of the message where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        check_file(path, LONGEST)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a config ({error}){remedy}") from error


def read_values(text: str, name: str, sections: Sequence[str]) -> "Values":
    """The values of an .ini file's text, which must have these sections; `name` is for messages."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=name)
    except configparser.Error as error:
        raise ConfigError(f"{name} is not an .ini file: {' '.join(str(error).split())[:300]}") from error
    for section in sections:
        if section not in parser:
            raise ConfigError(f"{name} has no section [{section}]: see the presets for the format")
    _tell_of_keys(parser, name, training="train" in sections)
    return Values(parser, name)


def _tell_of_keys(parser: configparser.ConfigParser, name: str, training: bool) -> None:
    """Says which sections and keys are unknown, and which have no effect, each in one line."""
    idle = []
    for section in parser.sections():
        known = KNOWN.get(section, ())
        if section not in KNOWN:
            log.warning("%s: section [%s] is unknown and ignored%s", name, section, _meant(section, KNOWN))
            continue
        idle_here = IDLE_IN_TRAINING if training else IDLE_ELSEWHERE
        for key in parser[section]:
            if key in WITHOUT_EFFECT[section] or (section == "global_params" and key in idle_here):
                idle.append(key)
            elif key not in known:
                log.warning("%s: [%s] %s is unknown and ignored%s", name, section, key, _meant(key, known))
    if idle:
        log.info("%s: without effect here: %s", name, ", ".join(dict.fromkeys(idle)))


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f": did you mean {near[0]}?" if near else ""


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
            raise ConfigError(f"{self.name}: [{section}] {key} = {written[:LINE]}: choose from {', '.join(choices)}")
        return written.lower()

    def numbers(self, section: str, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        return self._list(section, key, default, float, "finite numbers, separated by commas", math.isfinite)

    def wholes(self, section: str, key: str, default: tuple[int, ...], least: float = -math.inf) -> tuple[int, ...]:
        said = "whole numbers" + (f" of at least {least}" if least > 0 else "") + ", separated by commas"
        return self._list(section, key, default, int, said, lambda number: max(least, -MOST) <= number < MOST)

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
            raise ConfigError(f"{self.name}: [{section}] {key} = {written[:LINE]}: {said}")
        return found
