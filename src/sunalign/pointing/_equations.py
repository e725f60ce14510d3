"""Least squares of all columns together: affine parameters, and any functions of the columns.

A column is displaced as a whole, so a few sums over each column are all that is needed of the images; what a function
of the columns does follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sunalign.abc import SupportsGaussNewton
from sunalign.model.problem import Problem

__all__ = ["ColumnSums", "Equations", "Rows", "equations", "linearized", "metric_equations"]

_SHIFTS = ("shift_x", "shift_y")


@dataclass(frozen=True, eq=False)
class Rows:
    """The forward model around one trial: samples, their derivatives, and the target.

    Parameters
    ----------
    sampled, target : `numpy.ndarray`, shape (ny, nx)
    jacobian : `numpy.ndarray`, shape (p, ny, nx)
        Derivatives by the affine parameters.
    slopes : `numpy.ndarray`, shape (2, ny, nx)
        Derivatives by a displacement of the column towards +Tx and +Ty, per arcsec.
    mask : `numpy.ndarray` of `bool`, shape (ny, nx)
        True where there is nothing to compare.
    """

    sampled: np.ndarray
    jacobian: np.ndarray
    slopes: np.ndarray
    target: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class ColumnSums:
    """Sums of products over each column.

    Parameters
    ----------
    gram : `numpy.ndarray`, shape (nx, p + 5, p + 5)
        Of 1, the reference, the target, its derivatives by the affine parameters, and those by (+Tx, +Ty).
    """

    gram: np.ndarray

    @classmethod
    def of(cls, rows: Rows) -> ColumnSums:
        """Sum over the rows of every column, about values near the means so that no digits are lost.

        Parameters
        ----------
        rows : `Rows`
        """
        images = [np.ones_like(rows.sampled), rows.sampled, rows.target, *rows.jacobian, *rows.slopes]
        valid = ~rows.mask
        stack = np.empty((rows.mask.shape[1], len(images), rows.mask.shape[0]))
        for k, image in enumerate(images):
            near = 0.0 if k == 0 else float(image[valid].mean(dtype=float)) if k < 3 else 0.0
            stack[:, k] = np.where(valid, image - near, 0.0).T
        return cls(stack @ stack.transpose(0, 2, 1))

    @property
    def pixels(self) -> np.ndarray:
        """Valid pixels of every column."""
        return self.gram[:, 0, 0]

    @property
    def gain(self) -> float:
        """Of the reference, where it fits the target best."""
        total = self.gram[:, :3, :3].sum(axis=0)
        about = total[1:, 1:] - np.outer(total[1:, 0], total[0, 1:]) / max(total[0, 0], 1.0)
        return float(about[0, 1] / about[0, 0])

    def as_if_not(self, moved: np.ndarray, gain: float) -> ColumnSums:
        """Sums as they were had the columns not been displaced, to first order.

        Parameters
        ----------
        moved : `numpy.ndarray`, shape (2, nx)
            Displacements, arcsec.
        gain : `float`
            Of the reference.
        """
        change = np.zeros_like(self.gram)
        change[:] = np.eye(self.gram.shape[1])
        change[:, 2, -2:] = gain * moved.T
        return ColumnSums(change @ self.gram @ change.transpose(0, 2, 1))

    def loosened(self, jitter: float, noise: float, gain: float) -> tuple[ColumnSums, float]:
        """Sums once every column may jitter on its own, and the logarithm of how much less is expected of each.

        A Gaussian displacement of a column along both axes, of standard deviation ``jitter`` in arcsec, is integrated
        out: what it can explain no longer counts.

        Parameters
        ----------
        jitter : `float`
            Standard deviation along either axis, arcsec.
        noise : `float`
            Variance of what is left over in a pixel.
        gain : `float`
            Of the reference.
        """
        if jitter == 0:
            return self, 0.0
        across = self.gram[:, :, -2:]
        own = np.eye(2) * noise / (gain * jitter) ** 2 + self.gram[:, -2:, -2:]
        taken = across @ np.linalg.solve(own, across.transpose(0, 2, 1))
        widths = np.linalg.slogdet(own * (gain * jitter) ** 2 / noise)[1]
        return ColumnSums(self.gram - taken), float(widths.sum())


@dataclass(frozen=True, eq=False)
class Equations:
    """Second-order model of half the sum of squares: ``residual / 2 - gradient · d + d · hessian · d / 2``.

    Gain and offset of the reference are the best for every trial, as in ``ncc``.

    Parameters
    ----------
    gradient : `numpy.ndarray`, shape (k,)
    hessian : `numpy.ndarray`, shape (k, k)
    residual : `float`
        Sum of squares at the trial itself.
    n_pixels : `float`
        Pixels summed over.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    residual: float
    n_pixels: float


def equations(sums: ColumnSums, functions: np.ndarray) -> Equations:
    """Equations in the affine parameters and then in the amplitudes of functions of the columns.

    Parameters
    ----------
    sums : `ColumnSums`
    functions : `numpy.ndarray`, shape (m, 2, nx)
        Displacement of every column, towards (+Tx, +Ty), per unit of each amplitude.
    """
    images, m = sums.gram.shape[1] - 2, len(functions)
    total = np.empty((images + m, images + m))
    total[:images, :images] = sums.gram[:, :images, :images].sum(axis=0)
    total[images:, :images] = np.einsum("kac,cai->ki", functions, sums.gram[:, images:, :images], optimize=True)
    total[:images, images:] = total[images:, :images].T
    weighed = np.einsum("kac,cab->kbc", functions, sums.gram[:, images:, images:])
    total[images:, images:] = weighed.reshape(m, -1) @ functions.reshape(m, -1).T
    return _projected(total)


def _projected(total: np.ndarray) -> Equations:
    """Take gain and offset out of sums of products of 1, reference, target and derivatives."""
    n = total[0, 0]
    about = total[1:, 1:] - np.outer(total[1:, 0], total[0, 1:]) / max(n, 1.0)
    mm, mt, tt = about[0, 0], about[0, 1], about[1, 1]
    gain, gm, gt = mt / mm, about[2:, 0], about[2:, 1]
    return Equations(
        gradient=gain * (gt - gain * gm),
        hessian=gain**2 * (about[2:, 2:] - np.outer(gm, gm) / mm),
        residual=float(tt - gain * mt),
        n_pixels=float(n),
    )


def metric_equations(metric: SupportsGaussNewton, rows: Rows, functions: np.ndarray, like: Equations) -> Equations:
    """Equations of another metric, in the unit of those of a sum of squares: as large for the shifts.

    Parameters
    ----------
    metric : `~sunalign.abc.SupportsGaussNewton`
    rows : `Rows`
    functions : `numpy.ndarray`, shape (m, 2, nx)
    like : `Equations`
        Of the sum of squares.
    """
    along = [f[0] * rows.slopes[0] + f[1] * rows.slopes[1] for f in functions]
    found = metric.normal_equations(rows.sampled, np.array([*rows.jacobian, *along]), rows.target, rows.mask)
    unit = float(np.trace(like.hessian) / np.trace(found.hessian))
    return replace(like, gradient=unit * found.gradient, hessian=unit * found.hessian)


def linearized(problem: Problem, x: np.ndarray) -> Rows:
    """Rows of a problem at a trial of its free parameters.

    To displace a column is to shift it: its derivatives are those by the shifts, free or not.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    x : `numpy.ndarray`, shape (p,)
        In the order and units of ``problem.names``.
    """
    held = tuple(name for name in _SHIFTS if name not in problem.names)
    values = problem.parameters(x)
    names = problem.names + held
    full = replace(problem, names=names, fixed={k: v for k, v in problem.fixed.items() if k not in held})
    sampled, jacobian, mask = full.linearized([*x, *(values[name] for name in held)])
    slopes = jacobian[[names.index(name) for name in _SHIFTS]]
    return Rows(sampled, jacobian[: len(x)], slopes, problem.target.data, mask)
