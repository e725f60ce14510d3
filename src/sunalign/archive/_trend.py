"""How the corrections change with time: running median and spread, and a table to start from next year."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

import astropy.units as u
from astropy.table import QTable, Table
from astropy.time import Time

from sunalign.correction import PARAMETERS, UNITS
from sunalign.exceptions import AlignmentError

__all__ = ["Band", "deviations", "fit_trend", "running_band", "unix_of"]

_FEWEST = 5
_KNOTS = 400
_FEW = 15  # Neighbours, of which all triples can be looked at.
_APART = 0.19  # Of the window's span, between the points of a triple.
#: Standard deviations of a normal distribution in a median absolute deviation.
_SIGMA = 1.4826


@dataclass(frozen=True)
class Band:
    """Running median and spread.

    Parameters
    ----------
    x : `numpy.ndarray`
        Increasing.
    median, spread : `numpy.ndarray`
        The spread is the median absolute deviation times 1.4826, which is a standard deviation for normal errors.
    """

    x: np.ndarray
    median: np.ndarray
    spread: np.ndarray


def running_band(x: np.ndarray, y: np.ndarray, window: int | None = None) -> Band:
    """Median and spread of the neighbours of every point, about a line through them, or a parabola where they are few.

    Parameters
    ----------
    x, y : `numpy.ndarray`
        Finite ones count.
    window : `int`, optional
        How many neighbours; by default a tenth of the points, at least 7 and at most 101.
    """
    known = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[known], kind="stable")
    x, y = x[known][order], y[known][order]
    n = len(x)
    if n == 0:
        return Band(x, y, y)
    width = min(n, int(np.clip(n // 10, 7, 101)) | 1 if window is None else window)
    first = np.clip(np.arange(n) - width // 2, 0, n - width)
    neighbours = y[first[:, None] + np.arange(width)]
    # At the ends the window is not about the point: a line through it takes out the slope.
    places = x[first[:, None] + np.arange(width)] - x[:, None]
    level, free = neighbours, 2
    if 3 <= width <= _FEW and width * 10 > n:
        # So few points that their window is a good part of a season, over which a line is none.
        level, free = level - _curvatures(places, level)[:, None] * places**2, 3
    level = level - _slopes(places, level)[:, None] * places
    # Where y does not follow x the slope says nothing, and must not lead beyond what was seen.
    median = np.clip(np.median(level, axis=1), neighbours.min(axis=1), neighbours.max(axis=1))
    # As many residuals as were fitted are next to nothing by themselves, and say nothing about the spread.
    residuals = np.sort(np.abs(level - median[:, None]), axis=1)[:, min(free, width) - 1 :]
    return Band(x, median, _SIGMA * np.median(residuals, axis=1))


def _curvatures(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half the second derivative of each row: the median over triples whose points are well apart."""
    a, b, c = np.array(list(combinations(range(x.shape[1]), 3))).T
    one, two, both = x[:, b] - x[:, a], x[:, c] - x[:, b], x[:, c] - x[:, a]
    apart = (np.minimum(one, two) > _APART * (x[:, -1:] - x[:, :1])) & (one * two > 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = ((y[:, c] - y[:, b]) / two - (y[:, b] - y[:, a]) / one) / both
    found[~(apart & np.isfinite(found))] = np.nan
    some = np.isfinite(found).any(axis=1)
    curvatures = np.zeros(len(x))
    curvatures[some] = np.nanmedian(found[some], axis=1)
    return curvatures


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slope of each row by Theil and Sen: the median over pairs half a window apart, which outliers cannot tilt."""
    half = x.shape[1] // 2
    if half == 0:
        return np.zeros(len(x))
    run, rise = x[:, -half:] - x[:, :half], y[:, -half:] - y[:, :half]
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(run > 0, rise / run, np.nan)
    found = np.zeros(len(x))
    some = np.isfinite(slopes).any(axis=1)
    found[some] = np.nanmedian(slopes[some], axis=1)
    return found


def deviations(x: np.ndarray, y: np.ndarray, good: np.ndarray) -> np.ndarray:
    """How far every point is from the band of the good ones, in spreads of it; NaN where there is no band.

    Parameters
    ----------
    x, y : `numpy.ndarray`, shape (n,)
    good : `numpy.ndarray` of `bool`, shape (n,)
        Points that the band is made of.
    """
    band = running_band(x[good], y[good])
    if len(band.x) < _FEWEST:
        return np.full(len(x), np.nan)
    floor = max(float(np.median(band.spread)), 1e-12)
    away = np.abs(y - np.interp(x, band.x, band.median))
    return away / np.maximum(np.interp(x, band.x, band.spread), floor)


def unix_of(times: Time) -> np.ndarray:
    """Seconds of Unix; NaN for times that are masked.

    Parameters
    ----------
    times : `~astropy.time.Time`
    """
    seconds = times.unix
    bare = np.array(getattr(seconds, "unmasked", seconds), float)
    return np.where(np.broadcast_to(times.mask, bare.shape), np.nan, bare)


def fit_trend(results: Table, window: int | None = None) -> QTable:
    """Fit the corrections of an archive against time.

    Parameters
    ----------
    results : `~astropy.table.QTable`
        As `align_archive` returns it, or `read_results` reads it.
    window : `int`, optional
        How many neighbours in time the running median is over; by default a tenth of the tasks, at least 7 and at most
        101.

    Returns
    -------
    `~astropy.table.QTable`
        ``time``, and for each parameter that was fitted its running median and, as ``..._spread``, the standard
        deviation about it. `sunalign.align` takes it, or the path of its file, as ``start``: the search then begins
        where the others ended.

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        Fewer than five tasks with a date are done.
    """
    good = (np.asarray(results["state"]) == "done") & np.isfinite(unix_of(results["date"]))
    if np.count_nonzero(good) < _FEWEST:
        raise AlignmentError(
            f"A trend needs {_FEWEST} tasks that are done and have a date; there are {np.count_nonzero(good)}."
        )
    rows = results[good]
    x = unix_of(rows["date"])
    origin = float(x.min())
    knots: np.ndarray | None = None
    columns: dict[str, u.Quantity] = {}
    for name in PARAMETERS:
        fitted = np.isfinite(u.Quantity(rows[f"{name}_error"]).value)
        if np.count_nonzero(fitted) < _FEWEST:
            continue
        band = running_band((x - origin)[fitted], u.Quantity(rows[name]).to_value(UNITS[name])[fitted], window)
        if knots is None:
            knots = np.unique((x - origin)[fitted])
            knots = knots[np.unique(np.linspace(0, len(knots) - 1, min(len(knots), _KNOTS)).round().astype(int))]
        columns[name] = np.interp(knots, band.x, band.median) * UNITS[name]
        columns[f"{name}_spread"] = np.interp(knots, band.x, band.spread) * UNITS[name]
    if knots is None:
        raise AlignmentError(f"A trend needs {_FEWEST} tasks in which the same parameter was fitted.")
    times = Time(knots + origin, format="unix")
    times.format = "isot"
    table = QTable({"time": times, **columns})
    table.meta = {"description": "Running median of corrections against time; sunalign.align takes it as start."}
    return table
