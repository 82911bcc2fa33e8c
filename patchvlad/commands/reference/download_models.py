"""patchnetvlad-download-models"""

import argparse
import sys
from collections.abc import Sequence

from .shared import run_as


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="patchnetvlad-download-models", description="Download all released models.")
    parser.add_argument("--ask_for_permission", action="store_true", help="ask before downloading")
    parser.set_defaults(function=_download)
    return run_as(parser, argv, "patchvlad models download")


def _download(arguments: argparse.Namespace) -> None:
    from ...model.known_models import KNOWN_MODELS, download, megabytes, models_folder

    released = [known for known in KNOWN_MODELS.values() if known.repository]
    if arguments.ask_for_permission:
        total = megabytes(sum(known.expected_bytes for known in released))
        print(f"Download all released models into {models_folder()} (about {total})? [y/n] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was downloaded")
            return
    for known in released:
        print(download(known.name))


if __name__ == "__main__":
    sys.exit(main())
