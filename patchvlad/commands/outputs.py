"""Files and folders that commands write: declared with their options, checked before any work."""

import argparse
from pathlib import Path
from typing import Any

FILE, FOLDER, FIGURE = "file", "folder", "figure"


def add_output(parser: argparse.ArgumentParser, flag: str, kind: str, group: Any = None, **more: Any) -> None:
    """Adds an option that names what is written, a FILE, a FOLDER or a FIGURE; `group` holds it in place of the parser.

    `more` goes to `add_argument`.
    """
    option = (group or parser).add_argument(flag, type=Path, **more)
    parser.set_defaults(outputs=(*(parser.get_default("outputs") or ()), (option.dest, kind)))


def check_outputs(arguments: argparse.Namespace) -> None:
    """Finds out whether all that these options name can be written.

    Raises:
        OutputError: one cannot.
        ConfigError: a figure's name has another suffix than figures have.
    """
    for name, kind in getattr(arguments, "outputs", ()):
        path = getattr(arguments, name)
        if path is None:
            continue
        from ..files.room import check_file, check_folder

        if kind == FOLDER:
            check_folder(path)
            continue
        check_file(path)
        if kind == FIGURE:
            from ..evaluate.figures import check_suffix

            check_suffix(path)
