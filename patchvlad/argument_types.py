"""Kinds of numbers on the command line, checked as they are read."""

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """An argument type: whole numbers from `least`."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {number}")
        return number

    return whole_number


def whole_numbers(text: str) -> tuple[int, ...]:
    """An argument type: ascending whole numbers from 1, separated by commas."""
    numbers = tuple(sorted({int(word) for word in text.split(",")}))
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {numbers[0]}")
    return numbers
