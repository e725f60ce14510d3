"""What the commands share: exit codes, wrong usage, and values as they are typed, here and in tables."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable
from typing import Any

import astropy.units as u

__all__ = [
    "DOUBTFUL",
    "ERROR",
    "GOOD",
    "USAGE",
    "UsageError",
    "add_plugin_options",
    "keywords_of",
    "read_angle",
    "read_bounds",
    "read_duration",
    "read_hdus",
    "read_names",
    "read_pixels",
    "read_setting",
    "read_value",
]


#: Exit codes. 2 is argparse's own.
GOOD, ERROR, USAGE, DOUBTFUL = 0, 1, 2, 3


class UsageError(Exception):
    """The command line makes no sense."""


def add_plugin_options(parser: Any) -> None:
    """Define how plugins are chosen, and how the work is done.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`, or a group of arguments of one
    """
    parser.add_argument("--optimizer", metavar="NAME")
    parser.add_argument("--metric", metavar="NAME")
    parser.add_argument("--scaling", metavar="NAME", help="of the intensities: sqrt, log or linear")
    parser.add_argument("--set", type=read_setting, nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        dest="settings", help="options of the plugins, such as n_neighbors=60")  # fmt: skip
    parser.add_argument("--n-jobs", type=int, metavar="N", help="worker processes; -1 for one a core")
    parser.add_argument("-q", "--no-progress", action="store_true", help="no progress bar")


def keywords_of(options: argparse.Namespace, names: Iterable[str], **others: Any) -> dict[str, Any]:
    """Arguments for Python; what was not given is left to its defaults.

    Parameters
    ----------
    options : `argparse.Namespace`
        With what `add_plugin_options` defines.
    names : iterable of `str`
        Of those that are called the same in Python.
    **others
        Further arguments; `None` for one that was not given.

    Raises
    ------
    UsageError
        If one of them is given by ``--set`` too.
    """
    named = {name: getattr(options, name) for name in names} | others
    named |= {
        "on_doubt": "ignore",  # The summary and the exit code say it.
        "progress": not options.no_progress and sys.stderr.isatty(),
    }
    loose = dict(options.settings)
    twice = sorted({*named} & {*loose})
    if twice:
        raise UsageError(f"{', '.join(twice)} cannot be given by --set; see '{options.parser.prog} --help'.")
    return {key: value for key, value in named.items() if value is not None} | loose


def read_names(text: str) -> tuple[str, ...]:
    """Words of a list.

    Parameters
    ----------
    text : `str`
        Separated by commas; empty ones do not count.
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def read_hdus(text: str) -> str | tuple[int | str, ...]:
    """Which images of a file.

    Parameters
    ----------
    text : `str`
        ``same-pointing``, ``all``, or numbers and EXTNAMEs separated by commas.

    Returns
    -------
    `str` or `tuple`
        As ``hdus=`` of `sunalign.correct` takes it.
    """
    if text in ("same-pointing", "all"):
        return text
    words = read_names(text)
    if not words:
        raise argparse.ArgumentTypeError(f"{text!r} is not same-pointing, all, or a list such as 0,1,MgIX")
    return tuple(int(word) if word.isdigit() else word for word in words)


def read_pixels(text: str) -> float:
    """Positive number of pixels.

    Parameters
    ----------
    text : `str`
        Without a unit.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels above 0, such as 0.1")
    return value


def read_angle(text: str) -> u.Quantity:
    """Angle; one without a unit is refused.

    Parameters
    ----------
    text : `str`
        Such as ``60arcsec``.
    """
    return _quantity(text, u.arcsec, "60arcsec")


def read_duration(text: str) -> u.Quantity:
    """Length of time; one without a unit is refused.

    Parameters
    ----------
    text : `str`
        Such as ``20min``.
    """
    return _quantity(text, u.s, "20min")


def _quantity(text: str, unit: u.UnitBase, example: str) -> u.Quantity:
    try:
        value = u.Quantity(text)
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number with a unit, such as {example}") from None
    if value.unit == u.dimensionless_unscaled:
        raise argparse.ArgumentTypeError(f"{text!r} has no unit; write it like {text}{example.lstrip('0123456789')}")
    if not value.unit.is_equivalent(unit):
        raise argparse.ArgumentTypeError(f"{text!r} has the wrong unit; write it like {example}")
    return value


def read_value(text: str) -> Any:
    """Python literal, else Quantity, else the text itself.

    Parameters
    ----------
    text : `str`
        Such as ``3``, ``'sqrt'``, ``(1, 2)``, ``60arcsec`` or ``sqrt``.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        pass
    try:
        return u.Quantity(text)
    except (TypeError, ValueError):
        return text


def read_setting(text: str) -> tuple[str, Any]:
    """Option of a plugin and its value.

    Parameters
    ----------
    text : `str`
        ``KEY=VALUE``, where dashes in the key are underscores.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip().replace("-", "_").isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE; give files before this option")
    return key.strip().replace("-", "_"), read_value(value.strip())


def read_bounds(text: str) -> tuple[str, tuple[Any, ...]]:
    """Name of a parameter and the bounds that it is sought in.

    Parameters
    ----------
    text : `str`
        ``NAME=LOW,HIGH``; shifts and the rotation with units.

    Returns
    -------
    `str`, `tuple`
    """
    name, equals, pair = text.partition("=")
    values = tuple(read_value(value.strip()) for value in pair.split(","))
    if not equals or len(values) != 2 or any(isinstance(value, str) for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=LOW,HIGH, such as rotation=-1deg,1deg")
    name = name.strip()
    angle = name.startswith("shift") or name == "rotation"
    if angle and not all(isinstance(value, u.Quantity) for value in values):
        raise argparse.ArgumentTypeError(f"{text!r}: {name} is an angle, and has a unit, such as {name}=-1deg,1deg")
    return name, values
