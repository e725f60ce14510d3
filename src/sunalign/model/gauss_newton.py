"""Gauss-Newton on the metric itself, damped: from a point to the top near by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sunalign.abc import NormalEquations
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace

__all__ = ["Climb", "climb"]

_LONGEST = 8.0  # Pixels at the target's edge: beyond that a linear model of an image says nothing.
_NOISE = 1e-9  # Score differences that single-precision samples can make.
_DAMPING = 1e-3  # To begin with; what is not damped more is a step as Gauss and Newton have it.
_SMALL = 0.25  # Pixels of a step within which a score may fall by what drops out at an edge.
_MOST = 1e8  # Where damping has got out of hand.
_LEVEL = 10.0  # Tolerances that such a step may be long where no step was found to rise.
_AT_AN_EDGE = 0.1  # Pixels that it may be long where every step changed which pixels are compared: a score jumps there.

_LEVEL_HERE = "The last step was below the tolerance."
_STUCK = (
    "No step uphill raised the score where the climb ended, although it is not level there; "
    "start elsewhere, or take an optimizer that uses nothing but scores, such as 'hill-climb'."
)


class Climb(NamedTuple):
    """Where a climb ended.

    Parameters
    ----------
    x : `numpy.ndarray`, shape (p,)
    equations : `~sunalign.abc.NormalEquations`
        There.
    converged : `bool`
        Whether the gradient there is negligible.
    iterations : `int`
    message : `str`
        Why it ended.
    """

    x: np.ndarray
    equations: NormalEquations
    converged: bool
    iterations: int
    message: str


def climb(
    objective: Objective,
    x: np.ndarray,
    *,
    tolerance: float = 1e-3,
    max_iter: int = 40,
    first: NormalEquations | None = None,
) -> Climb:
    """Climb from ``x`` to the nearest top within the bounds.

    Parameters
    ----------
    objective : `~sunalign.model.objective.Objective`
        Of a metric with normal equations.
    x : `numpy.ndarray`, shape (p,)
    tolerance : `float`
        The climb ends when a step moves no edge of the target by more than this many of its pixels.
    max_iter : `int`
        Largest number of steps.
    first : `~sunalign.abc.NormalEquations`, optional
        Those at ``x``, where they are known.
    """
    space = objective.space
    x = space.clip(np.asarray(x, float))
    here = objective.normal_equations(x) if first is None else first
    hessian, damping, jumped = here.hessian, _DAMPING, False
    for iteration in range(1, max_iter + 1):
        objective.new_iteration()
        trial = space.clip(x + _step(here.gradient, hessian, x, space, damping))
        if _length(trial - x, space) < tolerance or damping > _MOST:
            # A step may be short because one after the other was refused: then it says nothing of the slope.
            freely = min(damping, _DAMPING)
            free = trial if freely == damping else space.clip(x + _step(here.gradient, hessian, x, space, freely))
            refused = max(_LEVEL * tolerance, _AT_AN_EDGE if jumped else 0.0)
            level = _length(free - x, space) < (tolerance if damping <= _DAMPING else refused)
            return Climb(x, here, level, iteration, _LEVEL_HERE if level else _STUCK)
        there = objective.normal_equations(trial)
        kept_pixels = 2 * there.n_pixels >= here.n_pixels
        if kept_pixels and there.score >= here.score - _NOISE - _edge(here, there, _length(trial - x, space)):
            # A step that gains less than rounding from a point a hair away is the top, not progress.
            hessian = _with_secant(there.hessian, trial - x, here.gradient - there.gradient)
            x, here, damping, jumped = trial, there, max(damping / 10, 1e-9), False
        else:
            jumped |= there.n_pixels != here.n_pixels
            damping *= 10
    return Climb(x, here, False, max_iter, "max_iter steps were not enough.")


def _edge(here: NormalEquations, there: NormalEquations, length: float) -> float:
    """Score that a small step may cost because pixels at an edge drop out, as a row does of two images of one field."""
    return max(1 - there.n_pixels / max(here.n_pixels, 1), 0.0) if length < _SMALL else 0.0


def _length(step: np.ndarray, space: SearchSpace) -> float:
    """Pixels by which a step moves the edge of the target that it moves most."""
    return float(np.max(np.abs(step) / space.step, initial=0.0))


def _with_secant(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Gauss-Newton's matrix with the curvature that was seen along the last step (a BFGS update of it).

    Noise in the *reference* has gradients that Gauss-Newton takes for curvature, though the target does not follow
    them: without this the last pixels would be climbed in hundreds of steps.
    """
    along = hessian @ step
    expected, found = float(step @ along), float(step @ change)
    if not (expected > 0 and found > 1e-3 * expected):
        return hessian
    return hessian - np.outer(along, along) / expected + np.outer(change, change) / found


def _step(gradient: np.ndarray, hessian: np.ndarray, x: np.ndarray, space: SearchSpace, damping: float) -> np.ndarray:
    """Damped step, not across a bound that the gradient presses against."""
    unit = space.step  # What follows is in pixels at the edge.
    gradient, hessian = gradient * unit, hessian * np.outer(unit, unit)
    pressed = ((x <= space.lower) & (gradient < 0)) | ((x >= space.upper) & (gradient > 0))
    free = ~pressed
    step = np.zeros(len(x))
    if free.any():
        h = hessian[np.ix_(free, free)]
        # The ridge keeps a featureless direction from taking an endless step.
        h = h + np.diag(damping * np.diag(h) + 1e-12 * (np.trace(h) + np.finfo(float).tiny))
        step[free] = np.linalg.lstsq(h, gradient[free], rcond=None)[0]
    longest = np.abs(step).max(initial=0.0)
    if longest > _LONGEST:
        step *= _LONGEST / longest
    return step * unit
