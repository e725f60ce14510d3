"""Joint Gauss-Newton of the affine parameters and the pointing of the columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sunalign.abc import SupportsGaussNewton
from sunalign.coordinates import ARCSEC
from sunalign.metrics import NCC
from sunalign.objective import SearchSpace
from sunalign.pointing._displaced import displaced, in_pixels
from sunalign.pointing._equations import ColumnSums, Equations, Rows, equations, linearized, metric_equations
from sunalign.pointing._model import PointingModel
from sunalign.pointing._strength import Posterior, posterior
from sunalign.problem import Problem
from sunalign.quality import _block as residual_block

__all__ = ["Solution", "columns_of", "displaced_problem", "solve"]

_COARSE = 3.0  # Reference pixels: where a displacement of several pixels is still seen.
_FAR = 1.0  # Reference pixels that a linear model of an image can be trusted to move.
_TOLERANCE = 0.01  # Reference pixels.
_MOST = 8


@dataclass(frozen=True, eq=False)
class Solution:
    """Where the joint fit ended.

    Parameters
    ----------
    x : `numpy.ndarray`, shape (p,)
        The affine parameters.
    amplitudes : `numpy.ndarray`, shape (m + 2 q,)
        Gains of the templates, and the drift's.
    posterior : `~sunalign.pointing._strength.Posterior`
        Of all of them, the affine ones first.
    equations : `~sunalign.pointing._equations.Equations`
    rows : `~sunalign.pointing._equations.Rows`
    noise : `float`
        Variance of the residual that counts, once its correlation is reckoned with.
    iterations : `int`
    converged : `bool`
    """

    x: np.ndarray
    amplitudes: np.ndarray
    posterior: Posterior
    equations: Equations
    rows: Rows
    noise: float
    iterations: int
    converged: bool


def displaced_problem(problem: Problem, model: PointingModel, amplitudes: np.ndarray) -> Problem:
    """Forward model with the columns displaced."""
    moved = np.einsum("k,kac->ac", amplitudes, model.functions)
    to_pixels = in_pixels(problem.base, problem.pivot)
    return replace(problem, reference=displaced(problem.reference, to_pixels @ moved))


def solve(problem: Problem, space: SearchSpace, x: np.ndarray, model: PointingModel) -> Solution:
    """Fit from an affine answer; the columns are taken to be where it has them, or where a template does."""
    amplitudes = np.zeros(len(model.functions))
    finest = problem.at_finest_level()
    if any(template.gains for template in model.templates):
        coarse = problem.at_level(_COARSE)
        x, amplitudes = _climbed(coarse, space, x, _best_start(coarse, x, model), model)[:2]
    else:
        trial = _iterated(finest, space, x, amplitudes, model, limit=1)
        if _moved(finest, model, trial.amplitudes) > _FAR:
            x, amplitudes = _climbed(problem.at_level(_COARSE), space, x, amplitudes, model)[:2]
    return _iterated(finest, space, x, amplitudes, model, limit=_MOST)


def _climbed(
    problem: Problem, space: SearchSpace, x: np.ndarray, amplitudes: np.ndarray, model: PointingModel
) -> tuple[np.ndarray, np.ndarray]:
    found = _iterated(problem, space, x, amplitudes, model, limit=_MOST)
    return found.x, found.amplitudes


def _best_start(problem: Problem, x: np.ndarray, model: PointingModel) -> np.ndarray:
    """Amplitudes with which the images correlate best: a table's sign and size are tried, not believed."""
    judge = replace(problem, metric=NCC())
    best = np.zeros(len(model.functions))
    for k, template in enumerate(model.templates):
        trials = [best]
        for gain in template.gains:
            trials.append(best.copy())
            trials[-1][k] = gain
        scores = [displaced_problem(judge, model, trial).score(x) for trial in trials]
        best = trials[int(np.argmax(scores))]
    return best


def _iterated(
    problem: Problem, space: SearchSpace, x: np.ndarray, amplitudes: np.ndarray, model: PointingModel, limit: int
) -> Solution:
    functions = model.at(columns_of(problem))
    p = len(x)
    for iteration in range(1, limit + 1):
        here = displaced_problem(problem, model, amplitudes)
        rows = linearized(here, x)
        found, noise = system(here, rows, functions)
        information = found.hessian / noise
        now = np.concatenate([x, amplitudes])
        answer = posterior(
            found.gradient / noise + information @ now, information, model.basis.share, model.strengths, model.chances
        )
        change = answer.mean - now
        x, amplitudes = space.clip(answer.mean[:p]), answer.mean[p:]
        far = max(_moved(problem, model, change[p:]), float(np.max(np.abs(change[:p]) / space.step, initial=0.0)))
        if far < _TOLERANCE:
            break
    return Solution(x, amplitudes, answer, found, rows, noise, iteration, far < _TOLERANCE)


def system(problem: Problem, rows: Rows, functions: np.ndarray) -> tuple[Equations, float]:
    """Equations in all parameters, and the variance by which they are to be divided."""
    sums = ColumnSums.of(rows)
    found = equations(sums, functions)
    noise = _noise(problem, rows, found)
    if not isinstance(problem.metric, NCC):
        assert isinstance(problem.metric, SupportsGaussNewton)
        found = metric_equations(problem.metric, rows, functions, found)
    return found, noise


def _noise(problem: Problem, rows: Rows, found: Equations) -> float:
    """Variance of the residual per independent pixel.

    Where two images differ by structure, neighbouring residuals are alike, and a displacement is known less well than
    as many independent ones would make it. By how much is seen from the scatter of blocks of about ten reference
    pixels, as in `sunalign.quality.covariance`.
    """
    variance = found.residual / max(found.n_pixels - len(found.gradient), 1.0)
    one = np.zeros((2, 2, rows.mask.shape[1]))
    one[0, 0] = one[1, 1] = 1.0
    white = variance * equations(ColumnSums.of(replace(rows, jacobian=rows.jacobian[:0])), one).hessian
    shares = NCC().block_scores(rows.sampled, rows.slopes, rows.target, rows.mask, residual_block(problem))
    inflation = np.sqrt(max(np.linalg.det(shares @ shares.T), 0.0) / np.linalg.det(white))
    # Residuals that repel each other are too good to be true.
    return float(variance * max(inflation, 1.0))


def columns_of(problem: Problem) -> np.ndarray:
    """Columns of the target as it was given, of those of a problem that may be binned."""
    affine = problem.in_base(problem.target.grid)
    return np.asarray(affine[0, 2] + affine[0, 0] * np.arange(problem.target.grid.shape[1], dtype=float))


def _moved(problem: Problem, model: PointingModel, amplitudes: np.ndarray) -> float:
    """Largest displacement of a column, in pixels of the reference at its own resolution."""
    moved = np.einsum("k,kac->ac", amplitudes, model.functions[:, :, model.valid])
    return float(np.hypot(*moved).max() * ARCSEC / problem.reference.pixel_size)
