"""patchvlad models: which models are known, and where they lie."""

import argparse

from ..errors import ConfigError

EXAMPLE = "patchvlad models download mapillary-512"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(metavar="download")
    download = actions.add_parser("download", help="fetch models for offline use", description="Fetch models.")
    download.add_argument("names", nargs="*", metavar="NAME", help="known models; see 'patchvlad models'")
    download.add_argument("--all", action="store_true", help="all of them")
    download.set_defaults(function=fetch)


def run(arguments: argparse.Namespace) -> None:
    """Lists them."""
    from ..model.known_models import KNOWN_MODELS, megabytes

    print(f"{'name':16}  {'K':>3}  {'D':>5}  {'size':>8}  where")
    for known in KNOWN_MODELS.values():
        here = known.path.is_file()
        size = megabytes(known.path.stat().st_size) if here else "~" + megabytes(known.expected_bytes)
        where = str(known.path) if here else f"not downloaded; {known.repository}/{known.remote_file}"
        print(f"{known.name:16}  {known.clusters:3}  {known.components:5}  {size:>8}  {where}")
    print("~ is an estimate. A model downloads on first use, or now: patchvlad models download NAME")


def fetch(arguments: argparse.Namespace) -> None:
    """Downloads some or all of them."""
    from ..model.known_models import KNOWN_MODELS, download

    if bool(arguments.names) == arguments.all:
        raise ConfigError("name the models to download, or give --all; 'patchvlad models' lists them")
    for name in KNOWN_MODELS if arguments.all else arguments.names:
        print(download(name))
