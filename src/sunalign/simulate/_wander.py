"""Pointing that changes while a raster is taken: drift, jumps and jitter."""

from collections.abc import Sequence

import numpy as np

import astropy.units as u
from astropy.table import QTable
from astropy.time import Time

from sunalign.simulate._grid import Array

Jump = tuple[int, u.Quantity, u.Quantity]

_CORRELATED = 1 / 3  # Part of a raster over which its drift is correlated, unless told.


def wander(
    order: np.ndarray,
    rng: np.random.Generator,
    *,
    drift: u.Quantity | None = None,
    drift_steps: float | None = None,
    jumps: Sequence[Jump] = (),
    jitter: u.Quantity | None = None,
    degree: int = 1,
) -> Array:
    """
    Displacement of every column, in arcsec towards (+Tx, +Ty), shape (2, n).

    Neither its mean nor its trend over the columns is left in it: those are a shift and a scale of the whole. With
    ``degree=0`` the trend stays.

    Parameters
    ----------
    order : `numpy.ndarray`, shape (n,)
        Number of every column in the order of time.
    rng : `numpy.random.Generator`
        Source of randomness.
    drift : `~astropy.units.Quantity`, optional
        Range, from the lowest to the highest, of a smooth random drift along each axis.
    drift_steps : `float`, optional
        Steps over which its correlation falls to 1/e; a third of all by default.
    jumps : sequence of ``(step, shift_x, shift_y)``
        By how much the pointing jumps, and the first step, in the order of time, that has it.
    jitter : `~astropy.units.Quantity`, optional
        Standard deviation of an independent displacement of every step along each axis.
    degree : `int`
        1, or 0 for a trend that stays.
    """
    n = len(order)
    moved = np.zeros((2, n))
    if drift is not None:
        moved += drift.to_value(u.arcsec) * _smooth(n, drift_steps or _CORRELATED * n, rng)
    for step, *shift in jumps:
        if not 0 < step < n:
            raise ValueError(f"A jump comes at one of the steps 1 to {n - 1} of the raster; got {step}.")
        moved[:, step:] += u.Quantity(shift).to_value(u.arcsec)[:, None]
    if jitter is not None:
        moved += jitter.to_value(u.arcsec) * rng.standard_normal((2, n))
    return untrended(moved, degree)[:, order]


def _smooth(n: int, steps: float, rng: np.random.Generator) -> Array:
    """Gaussian random functions without mean and trend, and with a range of 1, shape (2, n)."""
    apart = np.subtract.outer(np.arange(n), np.arange(n)) / steps
    values, vectors = np.linalg.eigh(np.exp(-(apart**2)))
    drawn = (vectors * np.sqrt(np.maximum(values, 0))) @ rng.standard_normal((n, 2))
    free = untrended(drawn.T)
    return free / np.ptp(free, axis=1, keepdims=True)


def untrended(moved: Array, degree: int = 1) -> Array:
    """What is left of functions of the columns without their mean and, for degree 1, trend.

    Parameters
    ----------
    moved : `numpy.ndarray`, shape (2, n)
    degree : `int`
        0 or 1.
    """
    n = moved.shape[1]
    if n < degree + 2:
        return np.zeros_like(moved)
    line = np.polynomial.legendre.legvander(np.linspace(-1, 1, n), degree)
    return moved - (line @ np.linalg.lstsq(line, moved.T, rcond=None)[0]).T


def pointing_table(moved: Array, times: Time, order: np.ndarray) -> QTable:
    """What is to be added to the right header's coordinates, column by column.

    Parameters
    ----------
    moved : `numpy.ndarray`, shape (2, n)
        Displacement of every column, arcsec towards (+Tx, +Ty).
    times : `~astropy.time.Time`
        Mid times of the columns.
    order : `numpy.ndarray` of `int`, shape (n,)
        Number of every column's step in the order of time.
    """
    return QTable(
        {"column": np.arange(moved.shape[1]), "step": order, "time": times, "shift_x": moved[0] * u.arcsec,
         "shift_y": moved[1] * u.arcsec}
    )  # fmt: skip
