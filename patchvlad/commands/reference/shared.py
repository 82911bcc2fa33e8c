"""What the reference's commands share."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..preset import PRESETS, Preset, read_config, read_preset


def new_parser(name: str, description: str, function: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
    """A command line with the two flags that most of the commands have."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--config_path", type=Path, help=".ini file (default: the preset performance)")
    parser.add_argument("--nocuda", action="store_true", help="use the CPU even where there is a GPU")
    parser.set_defaults(function=function)
    return parser


def preset_of(arguments: argparse.Namespace) -> Preset:
    """What --config_path says; a file that is not there stands for our preset of its name."""
    path = arguments.config_path
    if path is None:
        return read_preset("performance")
    if not path.is_file() and path.stem in PRESETS:
        print(f"{path} does not exist: using the preset {path.stem}", file=sys.stderr)
        return read_preset(path.stem)
    return read_config(path)


def device_of(arguments: argparse.Namespace) -> str:
    """The GPU unless told otherwise; a GPU that is not there is said and done without."""
    import torch

    if arguments.nocuda:
        return "cpu"
    if not torch.cuda.is_available():
        print("no GPU found: using the CPU (--nocuda says so)", file=sys.stderr)
    return "auto"
