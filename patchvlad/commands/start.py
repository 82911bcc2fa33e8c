"""Where the programs begin: until a command is imported, Ctrl-C ends it without a word.

This module is the first code of ours that runs, so it imports nothing that takes time: `signal` would bring `enum`.
"""

import _signal
import sys


def start(module: str) -> int:
    """Runs `main` of a module of `patchvlad.commands`; returns the exit code."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not where the shell has it ignored
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    import importlib

    code: int = importlib.import_module(f"patchvlad.commands.{module}").main(sys.argv[1:])
    return code


def patchvlad() -> int:
    """The program `patchvlad`."""
    return start("main")


def feature_extract() -> int:
    """The program `patchnetvlad-feature-extract`."""
    return start("reference.feature_extract")


def feature_match() -> int:
    """The program `patchnetvlad-feature-match`."""
    return start("reference.feature_match")


def match_two() -> int:
    """The program `patchnetvlad-match-two`."""
    return start("reference.match_two")


def match_realtime() -> int:
    """The program `patchnetvlad-match-realtime`."""
    return start("reference.match_realtime")


def download_models() -> int:
    """The program `patchnetvlad-download-models`."""
    return start("reference.download_models")


def train() -> int:
    """The program `patchnetvlad-train`."""
    return start("reference.train")


def add_pca() -> int:
    """The program `patchnetvlad-add-pca`."""
    return start("reference.add_pca")
