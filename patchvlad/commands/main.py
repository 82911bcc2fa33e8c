"""The command `patchvlad`: finds the command's module, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 something named in the message went wrong, 2 the command or the config was wrong, 130 interrupted.
Results go to standard output; progress and notices to standard error.
"""

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence

from .. import __version__
from ..errors import ConfigError, PatchvladError
from .table import COMMANDS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(words[0] if words else None)
    return run(parser, words)


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The command line, with all commands' names and the options of the chosen one, whose module alone is imported."""
    parser = argparse.ArgumentParser(
        prog="patchvlad",
        description="Visual place recognition: find photos of the same place, verify them geometrically, measure it.",
        epilog="Start with 'patchvlad demo'. 'patchvlad COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"patchvlad {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            found = importlib.import_module(module)
            command.epilog = f"example:\n  {found.EXAMPLE}"
            command.set_defaults(function=found.run)
            found.add_arguments(command)
    return parser


def run(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, reword: Callable[[str], str] = lambda said: said
) -> int:
    """Parses and calls the chosen function; every error that patchvlad names becomes one line and an exit code.

    Args:
        parser: sets `function`.
        argv: the words behind the program's name.
        reword: makes of an error's message what is told.
    """
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a photo's name that the terminal cannot show is no failure
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("patchvlad").setLevel(logging.INFO)
    function: Callable[[argparse.Namespace], None] = arguments.function
    try:
        function(arguments)
        return 0
    except PatchvladError as error:
        print(f"{parser.prog}: error: {reword(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print(
            f"\n{parser.prog}: interrupted; what is finished is kept: the same command, or --resume, goes on there",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = open(os.devnull, "w")
        return 0
    except OSError as error:
        where = error.filename or "input or output"
        print(f"{parser.prog}: error: {where}: {error.strerror or error}", file=sys.stderr)
        return 1
