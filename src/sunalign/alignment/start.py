"""Where a search begins, from files and from tables against time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.table import QTable, Table
from astropy.time import Time

from sunalign.correction import PARAMETERS, UNITS
from sunalign.exceptions import AlignmentError
from sunalign.images import Image

__all__ = ["middle", "parameters_at", "read_start", "start_for"]


def start_for(start: Any, image: Image) -> Any:
    """Return ``start`` as the search takes it: files are read, and a table is read off at the image's time.

    Parameters
    ----------
    start : `~sunalign.Correction`, mapping, `~astropy.table.Table`, path or `None`
    image : `~sunalign.images.Image`
        The target.

    Returns
    -------
    `~sunalign.Correction`, mapping or `None`
    """
    if isinstance(start, (str, os.PathLike)):
        start = read_start(start)
    if not isinstance(start, Table):
        return start
    time = middle(image)
    if time is None:
        raise AlignmentError(
            f"'start' is a table against time, and {image.name} {image.dates.undated}; give a Correction or parameters "
            f"by name."
        )
    return parameters_at(start, time)


def read_start(path: str | os.PathLike[str]) -> Any:
    """Read a correction in JSON, or a table against time in ECSV.

    Parameters
    ----------
    path : path-like
    """
    path = Path(path)
    if not path.is_file():
        raise AlignmentError(f"There is no file {path} to start from; give a correction (JSON) or a table (ECSV).")
    if path.suffix.lower() == ".json":
        from sunalign.files.io import load_correction

        return load_correction(path)
    try:
        table = QTable.read(path, format="ascii.ecsv")
    except (OSError, ValueError, TypeError) as error:
        raise AlignmentError(
            f"{path} cannot be read as a table to start from ({type(error).__name__}); it is an ECSV file as "
            f"fit_trend() makes it."
        ) from error
    _check(table)
    return table


def middle(image: Image) -> Time | None:
    """Middle of the time in which an image was taken; `None` where nothing dates it.

    Parameters
    ----------
    image : `~sunalign.images.Image`
    """
    times = image.times
    if times is None:
        return image.date
    return times.epoch + (times.seconds.min() + times.seconds.max()) / 2 * u.s


def parameters_at(table: Table, time: Time) -> dict[str, Any]:
    """Parameters that a table gives for a time: linear between its rows, and those of its ends beyond them.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        With a column ``time`` and at least one column named like a parameter; rows in any order.
    time : `~astropy.time.Time`
    """
    _check(table)
    seconds = np.atleast_1d((table["time"] - time).to_value(u.s))
    order = np.argsort(seconds)
    found = {}
    for name in PARAMETERS:
        if name in table.colnames:
            values = u.Quantity(table[name]).to_value(UNITS[name])
            known = order[np.isfinite(values[order])]
            if known.size:
                found[name] = float(np.interp(0.0, seconds[known], values[known])) * UNITS[name]
    return {n: v.value if UNITS[n] == u.dimensionless_unscaled else v for n, v in found.items()}


def _check(table: Table) -> None:
    named = [name for name in PARAMETERS if name in table.colnames]
    if "time" not in table.colnames or not isinstance(table["time"], Time) or not named or not len(table):
        raise AlignmentError(
            f"A table to start from has a column 'time' of times, and columns such as shift_x with their units; this "
            f"one has {len(table)} rows of {', '.join(table.colnames) or 'nothing'}."
        )
    for name in named:
        if not u.Quantity(table[name]).unit.is_equivalent(UNITS[name]):
            raise AlignmentError(
                f"The column {name} of a table to start from is in {str(UNITS[name]) or 'no unit'}; this one is in "
                f"{str(u.Quantity(table[name]).unit) or 'no unit'}."
            )
