"""Smooth functions of time that neither shift nor stretch a raster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

__all__ = ["Basis", "beyond_affine", "spline_basis"]

_DEGREE = 3


@dataclass(frozen=True, eq=False)
class Basis:
    """Functions of the columns, and how much of each is expected.

    Parameters
    ----------
    values : `numpy.ndarray`, shape (n, q)
        Orthogonal to 1 and to the column over the valid columns, and over them of unit mean square each.
    share : `numpy.ndarray`, shape (q,)
        Variance that a drift of unit mean square is expected to have in each; their sum is 1.
    """

    values: np.ndarray
    share: np.ndarray

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.share)


def spline_basis(time: np.ndarray, valid: np.ndarray, intervals: int, degree: int = 1) -> Basis:
    """Cubic B-splines of time, turned so that a smooth drift has independent parts.

    The expectation is that of an integrated random walk: the mean square of the second derivative is what is dear, so
    a part that swings k times as often is expected to be 1/k² as large.

    Parameters
    ----------
    time : `numpy.ndarray`, shape (n,)
        Of every column, in any unit.
    valid : `numpy.ndarray` of `bool`, shape (n,)
        Columns that have data.
    intervals : `int`
        Number of intervals between knots.
    degree : `int`
        Up to which power of the column the functions are free of what others fit: 1, or 0 for exposures of one place.
    """
    first, last = float(time[valid].min()), float(time[valid].max())
    unit = np.clip((time - first) / (last - first), 0.0, 1.0)
    knots = np.concatenate([[0.0] * _DEGREE, np.linspace(0, 1, intervals + 1), [1.0] * _DEGREE])
    splines = BSpline.design_matrix(unit, knots, _DEGREE).toarray()
    free = beyond_affine(splines, valid, degree)
    size, turn = np.linalg.eigh(free[valid].T @ free[valid] / valid.sum())
    kept = size > 1e-9 * size[-1]
    turn = turn[:, kept] / np.sqrt(size[kept])
    roughness, modes = np.linalg.eigh(turn.T @ _roughness(knots) @ turn)
    # A straight line, where it is left in, has no roughness; it is expected to be as large as the slowest swing.
    variance = 1 / np.maximum(roughness, roughness[roughness > 1e-7 * roughness[-1]][0])
    return Basis(free @ turn @ modes, variance / variance.sum())


def _roughness(knots: np.ndarray) -> np.ndarray:
    """Integrals of products of second derivatives, which are linear between knots: Simpson's rule is exact."""
    count = len(knots) - _DEGREE - 1
    second = BSpline(knots, np.eye(count), _DEGREE).derivative(2)
    inner = np.unique(knots)
    step = np.diff(inner)
    total = np.zeros((count, count))
    for points, weight in ((inner[:-1], 1 / 6), (inner[:-1] + step / 2, 4 / 6), (inner[1:], 1 / 6)):
        # From the left in every interval: at a knot the two sides agree, for a cubic spline has two derivatives.
        values = second(points)
        total += (values.T * (weight * step)) @ values
    return total


def beyond_affine(functions: np.ndarray, valid: np.ndarray, degree: int = 1) -> np.ndarray:
    """What is left of functions of the columns without the mean and trend of their valid columns.

    Parameters
    ----------
    functions : `numpy.ndarray`, shape (n, k)
        Columns of the raster first.
    valid : `numpy.ndarray` of `bool`, shape (n,)
        Columns that count.
    degree : `int`
        1 takes mean and trend, 0 the mean alone.
    """
    if valid.sum() < degree + 2:
        return np.zeros_like(functions)
    line = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(valid)), degree)
    return np.asarray(functions - line @ np.linalg.lstsq(line[valid], functions[valid], rcond=None)[0])
