"""What the reference's commands share."""

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError, counted
from ..main import run
from ..packaged import find, folder
from ..preset import PRESETS, Preset, read_config, read_preset

if TYPE_CHECKING:
    from ...images.lists import ImageList

log = logging.getLogger(__name__)

# Our flags in messages -> the reference's that say the same; taken where the command has the latter.
FLAGS = {
    "--root": ("--dataset_root_dir",),
    "--out": ("--output_features_dir", "--result_save_folder", "--plot_save_path", "--save_path"),
    "--ground-truth": ("--ground_truth_path",),
    "--radius": ("--posDistThr",),
    "--resume": ("--resume_path",),
    "--epochs": ("--nEpochs",),
    "--workers": ("--threads",),
    "--query-list": ("--query_file_path",),
    "--database-list": ("--index_file_path",),
    "--queries": ("--query_file_path",),
    "--database": ("--index_file_path",),
    "--device cpu": ("--nocuda",),
    "--config": ("--config_path",),
    "--preset": ("--config_path",),
}
_QUOTED = re.compile(r"('patchvlad [^']*')")


def new_parser(name: str, description: str, function: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
    """A command line with the two flags that most of the commands have."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--config_path", type=Path, help=".ini file (default: the preset performance)")
    parser.add_argument("--nocuda", action="store_true", help="use the CPU even where there is a GPU")
    parser.set_defaults(function=function)
    return parser


def run_as(parser: argparse.ArgumentParser, argv: Sequence[str] | None, ours: str) -> int:
    """Runs the command; its errors advise its own flags, or say that `ours` has the one that helps."""
    return run(parser, argv, lambda message: in_own_flags(message, parser, ours))


def in_own_flags(message: str, parser: argparse.ArgumentParser, ours: str) -> str:
    """A message with our flags replaced by those of the parser; where it has none, our command is named."""
    own = {option for action in parser._actions for option in action.option_strings}
    parts = _QUOTED.split(message)  # what is said and, in between, commands in quotes, whose flags are their own
    for flag, theirs in FLAGS.items():
        taken = next((word for word in theirs if word in own), None)
        if taken is not None:
            parts[::2] = (re.sub(rf"{flag}(?![\w-])", taken, said) for said in parts[::2])
    message = "".join(parts)
    others = sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(parts[::2]))) - own)
    if not others or ours in message:
        return message
    are = "is a flag" if len(others) == 1 else "are flags"
    return f"{message} ({', '.join(others)} {are} of '{ours}', which does the same)"


def preset_of(arguments: argparse.Namespace) -> Preset:
    """What --config_path says; a file that is not there stands for our preset of its name, if there is one."""
    path = arguments.config_path
    if path is None:
        return read_preset("performance")
    if not path.is_file() and path.suffix == ".ini" and path.stem in PRESETS:
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


def images_of(path: Path, root: Path) -> "ImageList":
    """The images of a list, which may be one of the reference's own by name.

    Raises:
        ImageError: there is no such list; of the reference's own the message says how to fetch it.
    """
    from ...images.lists import ImageList

    listed = find(path, lambda name: _made(name, root))
    images = ImageList.read(listed, root)
    packaged = folder()
    if listed.is_relative_to(packaged) and images.names and not images.path(0).is_file():
        below = ImageList.read(listed, packaged)
        if below.path(0).is_file():  # the example images lie beside their lists
            log.info("%s: its images are the reference's own, in %s", path, packaged)
            return below
    return images


def _made(name: str, root: Path) -> Path | None:
    """A list of MSLS's validation cities by the dataset's own tables, in the reference's order; else None."""
    found = re.fullmatch(r"mapillary(cph|sf)_imageNames_(query|index)\.txt", name)
    if found is None:
        return None
    from ...files.atomic import write_text
    from ...places.msls import used_rows

    city, role = found[1], {"query": "query", "index": "database"}[found[2]]
    for above in ("Mapillary_Street_Level_Sequences", "."):
        below = Path(above, "train_val", city, role)
        if (root / below / "postprocessed.csv").is_file():
            rows = used_rows(root / below, panoramas=False, validating=True)
            made = folder() / "made" / name
            write_text(made, "".join(f"./{(below / 'images' / row['key']).as_posix()}.jpg\n" for row in rows))
            log.info("%s: made from the tables of %s, %s", name, root / below, counted(len(rows), "image"))
            return made
    return None


def refuse_missing_config(path: Path | None, packaged: str) -> Path | None:
    """The path of a training config, or None for the packaged one; a missing file of another name is an error."""
    if path is None or path.is_file():
        return path
    if path.name == f"{packaged}.ini":
        print(f"{path} does not exist: using the packaged {packaged}.ini", file=sys.stderr)
        return None
    raise ConfigError(f"{path} does not exist: give an .ini file, or leave --config_path out for our own")
