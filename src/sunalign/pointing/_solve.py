"""Joint Gauss-Newton of the affine parameters and the pointing of the columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sunalign.abc import SupportsGaussNewton
from sunalign.geometry.coordinates import ARCSEC
from sunalign.metrics import NCC
from sunalign.model.problem import Problem
from sunalign.model.quality import block_shape as residual_block
from sunalign.model.search_space import SearchSpace
from sunalign.pointing._equations import ColumnSums, Equations, Rows, equations, linearized, metric_equations
from sunalign.pointing._strength import Posterior, posterior
from sunalign.pointing.displaced import displaced, in_pixels
from sunalign.pointing.options import PointingModel

__all__ = ["Solution", "State", "columns_of", "displaced_problem", "solve"]

_COARSE = 3.0  # Reference pixels: where a displacement of several pixels is still seen.
_LOOSE = 2.0  # Reference pixels of drift, rms, against which nothing is said at first.
_NEAR = 0.3  # Reference pixels within which a climb ends at the same place.
_FAR = 1.0  # Reference pixels that a linear model of an image can be trusted to move.
_TOLERANCE = 0.01  # Reference pixels.
_MOST = 8


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit is.

    Parameters
    ----------
    x : `numpy.ndarray`, shape (p,)
        The affine parameters.
    amplitudes : `numpy.ndarray`, shape (m + 2 q,)
        Gains of the templates, and the drift's.
    jitter : `numpy.ndarray`, shape (2, n)
        Displacement of each column of its own, arcsec.
    """

    x: np.ndarray
    amplitudes: np.ndarray
    jitter: np.ndarray

    @property
    def unknowns(self) -> np.ndarray:
        """All but the jitter."""
        return np.concatenate([self.x, self.amplitudes])

    def moved(self, model: PointingModel) -> np.ndarray:
        """Displacement of every column.

        Parameters
        ----------
        model : `~sunalign.pointing.options.PointingModel`

        Returns
        -------
        `numpy.ndarray`, shape (2, n)
            Arcsec towards (+Tx, +Ty).
        """
        return np.asarray(np.einsum("k,kac->ac", self.amplitudes, model.functions) + self.jitter)


@dataclass(frozen=True, eq=False)
class Solution:
    """Where the joint fit ended.

    Parameters
    ----------
    state : `State`
    around : `numpy.ndarray`
        Affine parameters and amplitudes around which all here is linear.
    posterior : `~sunalign.pointing._strength.Posterior`
        Of the affine parameters, and then of the amplitudes.
    equations : `~sunalign.pointing._equations.Equations`
        In the same, with the jitter integrated out.
    sums : `~sunalign.pointing._equations.ColumnSums`
        Likewise.
    stiff : `~sunalign.pointing._equations.Equations`
        As if there were no jitter.
    noise : `float`
        Variance of the residual that counts, once its correlation is reckoned with.
    jitter : `float`
        Standard deviation of the columns' own displacements, arcsec.
    covariance : `numpy.ndarray`, shape (2, 2, n)
        Of the displacement of every column.
    evidence : `float`
        Logarithm of how probable the data are, comparable at equal noise.
    iterations : `int`
    converged : `bool`
    """

    state: State
    around: np.ndarray
    posterior: Posterior
    equations: Equations
    sums: ColumnSums
    stiff: Equations
    noise: float
    jitter: float
    covariance: np.ndarray
    evidence: float
    iterations: int
    converged: bool


def displaced_problem(problem: Problem, moved: np.ndarray) -> Problem:
    """Forward model with displaced columns.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    moved : `numpy.ndarray`, shape (2, n)
        Displacements, arcsec towards (+Tx, +Ty), of the columns of the target as it was given.
    """
    to_pixels = in_pixels(problem.base, problem.pivot)
    return replace(problem, reference=displaced(problem.reference, to_pixels @ moved))


class NothingInCommon(Exception):
    """A trial at which the images say nothing of where the columns are."""


def solve(problem: Problem, space: SearchSpace, x: np.ndarray, model: PointingModel) -> Solution:
    """Fit from an affine answer; the columns are taken to be where it has them, or where a template does.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    space : `~sunalign.model.search_space.SearchSpace`
    x : `numpy.ndarray`, shape (p,)
        Answer of an alignment without drift.
    model : `~sunalign.pointing.options.PointingModel`

    Raises
    ------
    NothingInCommon
        The fit led to where the images have too little in common to go on.
    """
    try:
        return _solved(problem, space, x, model)
    except np.linalg.LinAlgError as error:
        raise NothingInCommon from error


def _solved(problem: Problem, space: SearchSpace, x: np.ndarray, model: PointingModel) -> Solution:
    still = State(x, np.zeros(len(model.functions)), np.zeros((2, len(model.valid))))
    finest, coarse = problem.at_finest_level(), problem.at_level(_COARSE)
    # First with a drift as free as it likes: what is left then is noise, and not a drift that was not allowed for.
    loose = model.loose(_LOOSE * _pixel(finest))
    if any(template.gains for template in model.templates):
        start = _iterated(coarse, space, _best_start(coarse, still, model), loose).state
    else:
        start = _iterated(finest, space, still, loose, limit=1).state
        if _largest(finest, start.moved(model)[:, model.valid]) > _FAR:
            start = _iterated(coarse, space, still, loose).state
    free = _iterated(finest, space, start, loose)
    # Then what the data make probable, from there and from where single columns have not followed noise astray.
    smooth = replace(free.state, jitter=still.jitter)
    ends = [
        _iterated(finest, space, begin, model.coarser(), noise=free.noise)
        for begin in _apart(finest, model, [free.state, smooth, still])
    ]
    best = max(ends, key=lambda end: end.evidence)
    return _iterated(finest, space, best.state, model, limit=1, noise=free.noise)


def _apart(problem: Problem, model: PointingModel, states: list[State]) -> list[State]:
    """States from which a climb may end elsewhere than from the first."""
    moved = [state.moved(model)[:, model.valid] for state in states]
    far = [_largest(problem, other - moved[0]) > _NEAR for other in moved[1:]]
    return [states[0], *(state for state, is_far in zip(states[1:], far, strict=True) if is_far)]


def _best_start(problem: Problem, still: State, model: PointingModel) -> State:
    """Amplitudes with which the images correlate best: a table's sign and size are tried, not believed."""
    judge = replace(problem, metric=NCC())
    best = still
    for k, template in enumerate(model.templates):
        trials = [best]
        for gain in template.gains:
            amplitudes = best.amplitudes.copy()
            amplitudes[k] = gain
            trials.append(replace(best, amplitudes=amplitudes))
        scores = [displaced_problem(judge, trial.moved(model)).score(trial.x) for trial in trials]
        best = trials[int(np.argmax(scores))]
    return best


def _iterated(
    problem: Problem,
    space: SearchSpace,
    state: State,
    model: PointingModel,
    limit: int = _MOST,
    noise: float | None = None,
) -> Solution:
    iteration, far = 0, np.inf
    while iteration < limit and far >= _TOLERANCE:
        iteration += 1
        found = _step(problem, space, state, model, noise)
        moved = _largest(problem, (found.state.moved(model) - state.moved(model))[:, model.valid])
        far = max(moved, float(np.max(np.abs(found.state.x - state.x) / space.step, initial=0.0)))
        state = found.state
    return replace(found, iterations=iteration, converged=far < _TOLERANCE)


def _step(
    problem: Problem, space: SearchSpace, state: State, model: PointingModel, noise: float | None = None
) -> Solution:
    """One step of Gauss-Newton, for the jitter that makes the data most probable; the noise may be known."""
    columns = columns_of(problem)
    functions = model.at(columns)
    own = np.rint(np.clip(columns, 0, len(model.valid) - 1)).astype(int)
    here = displaced_problem(problem, state.moved(model))
    rows = linearized(here, state.x)
    raw = ColumnSums.of(rows)
    gain = raw.gain
    sums = raw.as_if_not(state.jitter[:, own], gain)
    stiff = _equations(here, rows, raw, functions)
    noise = _noise(here, rows, stiff, model) if noise is None else noise
    trials = []
    for jitter, chance in zip(model.jitters, model.jitter_chances, strict=True):
        loose, widths = sums.loosened(jitter, noise, gain)
        found = _equations(here, rows, loose, functions)
        information = found.hessian / noise
        score = found.gradient / noise + information @ state.unknowns
        answer = posterior(score, information, model.basis.share, model.strengths, model.chances)
        # The log-likelihood of no parameters at all, from which the posterior's evidence is counted.
        base = -found.residual / (2 * noise) - found.gradient @ state.unknowns / noise
        base -= 0.5 * state.unknowns @ information @ state.unknowns
        trials.append((answer.evidence + base - 0.5 * widths + np.log(chance), jitter, answer, found, loose))
    evidence, jitter, answer, found, loose = max(trials, key=lambda trial: trial[0])
    p = len(state.x)
    new = State(space.clip(answer.mean[:p]), answer.mean[p:], state.jitter)
    moves = _jitter(sums, functions, answer, state, jitter, noise, gain)
    nearest = np.clip(
        np.searchsorted((columns[1:] + columns[:-1]) / 2, np.arange(len(model.valid))), 0, len(columns) - 1
    )
    new = replace(new, jitter=moves.mean[:, nearest])
    covariance = moves.covariance(model.functions, nearest, answer.covariance)
    return Solution(new, state.unknowns, answer, found, loose, stiff, noise, jitter, covariance, evidence, 1, False)


class _Moves(NamedTuple):
    """Displacements of single columns, given all else.

    ``mean`` has the shape (2, nx), ``slope`` (2, k, nx): the mean's derivative by all parameters; ``own`` (2, 2, nx):
    covariance where these are known.
    """

    mean: np.ndarray
    slope: np.ndarray
    own: np.ndarray

    def covariance(self, functions: np.ndarray, nearest: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Covariance of the whole displacement of every column, shape (2, 2, n)."""
        slope = self.slope[:, :, nearest].copy()
        slope[:, slope.shape[1] - len(functions) :] += functions.transpose(1, 0, 2)
        return np.asarray(np.einsum("akc,kl,blc->abc", slope, known, slope, optimize=True) + self.own[:, :, nearest])


def _jitter(
    sums: ColumnSums,
    functions: np.ndarray,
    answer: Posterior,
    state: State,
    jitter: float,
    noise: float,
    gain: float,
) -> _Moves:
    gram = sums.gram
    images = gram.shape[1] - 5
    within = np.linalg.inv(np.eye(2) * noise + (gain * jitter) ** 2 * gram[:, -2:, -2:]) * jitter**2
    change = answer.mean - state.unknowns
    # What the reference does not explain of each column's share, before it moves on its own.
    about = gram[:, -2:, :].copy()
    mean = gram[:, 0, :3].sum(axis=0) / max(gram[:, 0, 0].sum(), 1.0)
    left = about[:, :, 2] - gain * about[:, :, 1] - (mean[2] - gain * mean[1]) * about[:, :, 0]
    by_affine = about[:, :, 3 : 3 + images]
    by_columns = np.einsum("cab,kbc->cak", gram[:, -2:, -2:], functions)
    by_all = gain * np.concatenate([by_affine, by_columns], axis=2)
    left = left - by_all @ change
    return _Moves(
        mean=np.einsum("cab,cb->ac", gain * within, left),
        slope=-np.einsum("cab,cbk->akc", gain * within, by_all),
        own=noise * within.transpose(1, 2, 0),
    )


def _equations(problem: Problem, rows: Rows, sums: ColumnSums, functions: np.ndarray) -> Equations:
    found = equations(sums, functions)
    if isinstance(problem.metric, NCC):
        return found
    assert isinstance(problem.metric, SupportsGaussNewton)
    return metric_equations(problem.metric, rows, functions, found)


def _noise(problem: Problem, rows: Rows, found: Equations, model: PointingModel) -> float:
    """Variance of the residual per independent pixel.

    Where two images differ by structure, neighbouring residuals are alike, and a displacement is known less well than
    as many independent ones would make it. By how much is seen from the scatter of blocks of about ten reference
    pixels, as in `sunalign.model.quality.covariance`.
    """
    variance = found.residual / max(found.n_pixels - len(found.gradient), 1.0)
    one = np.zeros((2, 2, rows.mask.shape[1]))
    one[0, 0] = one[1, 1] = 1.0
    white = variance * equations(ColumnSums.of(replace(rows, jacobian=rows.jacobian[:0])), one).hessian
    if not np.linalg.det(white) > 0:
        raise NothingInCommon
    shares = NCC().block_scores(rows.sampled, rows.slopes, rows.target, rows.mask, residual_block(problem, 2))
    inflation = np.sqrt(max(np.linalg.det(shares @ shares.T), 0.0) / np.linalg.det(white))
    if model.jitters.any():
        # What the fit has taken from the scatter of the blocks is given back: a column that is free to move takes one
        # share in as many as there are blocks along it, and the drift one for each of its functions.
        along = max(2, -(-rows.mask.shape[0] // residual_block(problem, 2)[0]))
        blocks = int(np.count_nonzero(np.any(shares != 0, axis=0)))
        inflation *= along / (along - 1) * blocks / max(blocks - model.basis.size, blocks / 3)
    # Residuals that repel each other are too good to be true.
    return float(variance * max(inflation, 1.0))


def columns_of(problem: Problem) -> np.ndarray:
    """Columns of the target as it was given, of those of a problem that may be binned.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`

    Returns
    -------
    `numpy.ndarray`, shape (n,)
        Fractions where columns are binned.
    """
    affine = problem.in_base(problem.target.grid)
    return np.asarray(affine[0, 2] + affine[0, 0] * np.arange(problem.target.grid.shape[1], dtype=float))


def _largest(problem: Problem, moved: np.ndarray) -> float:
    """Largest displacement of a column, in pixels of the reference."""
    return float(np.hypot(*moved).max() / _pixel(problem))


def _pixel(problem: Problem) -> float:
    own = problem.reference.pixel_size
    return (own if np.isfinite(own) else max(problem.target.grid.pixel_size)) / ARCSEC
