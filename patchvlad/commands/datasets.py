"""patchvlad datasets: the published benchmarks."""

import argparse

EXAMPLE = "patchvlad datasets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(arguments: argparse.Namespace) -> None:
    """Lists them."""
    from textwrap import fill

    from ..places.benchmarks import benchmarks

    for known in benchmarks().values():
        counts = f"{known.query_count or '?'} queries, {known.database_count or '?'} database images"
        print(f"{known.name}: {known.title}")
        print(f"    {counts}; {known.counted}")
        where = f"train_val/{{{', '.join(known.cities)}}}" if known.cities else f"{known.queries}, {known.database}"
        print(f"    lies in {where}")
        print(f"    source: {known.source}")
        print(fill(known.note, width=110, initial_indent="    ", subsequent_indent="    "))
    print("patchvlad check-dataset NAME ROOT says what is missing; --write makes lists and ground truth")
