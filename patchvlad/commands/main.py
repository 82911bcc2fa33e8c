"""The command `patchvlad`: finds the command's module, and turns errors into one line and an exit code.

Exit codes: 0 done, and every file asked for is there; 1 something named in the message went wrong; 2 the command or the
config was wrong; 130 interrupted; 143 stopped by SIGTERM.
Results go to standard output; progress and notices to standard error.
"""

import argparse
import importlib
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence

from .. import __version__
from ..errors import ConfigError, PatchvladError
from .outputs import check_outputs
from .signals import caught_signals
from .streams import silence, standard_streams
from .table import COMMANDS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if sorted(words) == ["--json", "--version"]:
        from .versions import versions

        with standard_streams():
            print(json.dumps(versions(), indent=1))
        return 0
    parser = build_parser(words[0] if words else None)
    return run(parser, words)


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The command line, with all commands' names and the options of the chosen one, whose module alone is imported."""
    parser = argparse.ArgumentParser(
        prog="patchvlad",
        description="Visual place recognition: find photos of the same place, verify them geometrically, measure it.",
        epilog="Start with 'patchvlad demo'. 'patchvlad COMMAND --help' explains a command.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"patchvlad {__version__}",
        help="say the version; --version --json says those of all that is used, too",
    )
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
    with caught_signals() as caught, standard_streams():
        try:
            code = _guarded(parser, argv, reword)
        except SystemExit:
            raise
        except BaseException as error:
            if caught.number is None and not isinstance(error, KeyboardInterrupt):
                raise
            how = f"{parser.prog}: stopped" if caught.number == signal.SIGTERM else f"\n{parser.prog}: interrupted"
            print(f"{how}; what is finished is kept: the same command, or --resume, goes on there", file=sys.stderr)
            return 128 + (caught.number or signal.SIGINT)
    ended_itself = caught.number is None or (caught.number == signal.SIGINT and code == 0)  # Ctrl-C ends a live view
    return code if ended_itself else 128 + (caught.number or 0)


def _guarded(parser: argparse.ArgumentParser, argv: Sequence[str] | None, reword: Callable[[str], str]) -> int:
    """Parses, checks what is to be written, and calls the chosen function."""
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("patchvlad").setLevel(logging.INFO)
    function: Callable[[argparse.Namespace], None] = arguments.function
    try:
        check_outputs(arguments)
        function(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except PatchvladError as error:
        print(f"{parser.prog}: error: {reword(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:  # a live view ends with who reads its results
        silence(sys.stdout)
        return 0
    except OSError as error:
        if error.filename is None:
            silence(sys.stdout)  # what it still holds cannot be written either
        where = error.filename or "input or output"
        print(f"{parser.prog}: error: {where}: {error.strerror or error}", file=sys.stderr)
        return 1
