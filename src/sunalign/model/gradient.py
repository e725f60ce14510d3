"""The gradient of the normalised cross-correlation alone, for where no second-order model is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sunalign.model.problem import Problem

__all__ = ["ncc_gradient"]


def ncc_gradient(problem: Problem, x: Sequence[float] | np.ndarray) -> np.ndarray:
    """Gradient as `sunalign.metrics.NCC.normal_equations` has it, at two thirds of the cost.

    A parameter displaces the pixels by planes over the target, so that three sums of what is left unexplained times
    each slope of the reference serve them all, and no array of derivatives is filled for any of them.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        Whatever its metric.
    x : sequence of `float`
        The trial.

    Returns
    -------
    `numpy.ndarray`, shape (p,)
        0 where either image is constant.
    """
    x = np.asarray(x, float)
    (ny, nx), target = problem.target.grid.shape, problem.target.data
    sampled, *slopes = problem.reference.sample_grid_with_gradient(problem.matrix(x), (ny, nx), problem.columns)
    hidden = problem.target_mask | ~np.isfinite(sampled + slopes[0] + slopes[1])
    m, t = _centred(sampled, hidden), _centred(target, hidden)
    mm = np.vdot(m, m)
    if mm <= 0:
        return np.zeros(len(x))
    gain = np.vdot(m, t) / mm
    left = t - gain * m
    sums = np.empty((2, 3))
    for row, slope in zip(sums, slopes, strict=True):
        product = np.where(hidden, 0.0, slope) * left
        by_column = product.sum(axis=0)
        row[:] = by_column.sum(), by_column @ np.arange(nx), product.sum(axis=1) @ np.arange(ny)
    return np.asarray(gain * np.einsum("ikj,kj->i", problem.displacements(x), sums))


def _centred(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Deviations from the mean of what is not hidden, and 0 where it is."""
    some = np.where(hidden, 0.0, image)
    some -= some.sum() / max(np.count_nonzero(~hidden), 1)
    some[hidden] = 0.0
    return some
