"""Gauss-Newton on the metric itself, damped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import NormalEquations, Optimizer
from sunalign.exceptions import AlignmentError
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace

__all__ = ["Climb", "LevenbergMarquardt", "climb"]

_LONGEST = 8.0  # Pixels at the target's edge: beyond that a linear model of an image says nothing.
_NOISE = 1e-9  # Score differences that single-precision samples can make.


class Climb(NamedTuple):
    """Where a climb ended."""

    x: np.ndarray
    equations: NormalEquations
    converged: bool
    iterations: int


@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt(Optimizer):
    """Damped Gauss-Newton with the analytic Jacobian of the spline (Levenberg-Marquardt).

    Converges in ten to twenty evaluations from nearby, as ``tests/benchmarks/accuracy_table.py`` measures; a start some
    ten reference pixels away may lead to a side peak. Needs a metric with normal equations
    (`~sunalign.abc.SupportsGaussNewton`), such as ``ncc``.

    Parameters
    ----------
    tolerance : `float`
        The search ends when a step moves no edge of the target by more than this many reference pixels.
    max_iter : `int`
        Largest number of steps.
    """

    tolerance: float = 1e-3
    max_iter: int = 40

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"'tolerance' is a number of pixels above 0; got {self.tolerance}.")
        if self.max_iter < 1:
            raise ValueError(f"'max_iter' is at least 1; got {self.max_iter}.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        if not objective.has_normal_equations:
            raise AlignmentError(
                f"The metric {type(objective.metric).__name__} offers no normal equations, which "
                f"'levenberg-marquardt' needs; use optimizer='coarse-to-fine' or 'hill-climb', or metric='ncc'."
            )
        top = climb(objective, space.start, tolerance=self.tolerance, max_iter=self.max_iter)
        return best_of(
            objective,
            [top.x],
            space,
            success=top.converged,
            message="The last step was below the tolerance." if top.converged else "max_iter steps were not enough.",
            nit=top.iterations,
        )


def best_of(objective: Objective, candidates: list[np.ndarray], space: SearchSpace, **fields: object) -> OptimizeResult:
    """Result at the best of some points, the start included: a search never ends below where it began."""
    points = [*candidates, space.start]
    scores = [objective(x) for x in points]
    best = int(np.argmax(scores))
    return OptimizeResult(x=points[best], fun=scores[best], **fields)


def climb(objective: Objective, x: np.ndarray, *, tolerance: float = 1e-3, max_iter: int = 40) -> Climb:
    """Climb from ``x`` to the nearest top within the bounds."""
    space = objective.space
    x = space.clip(np.asarray(x, float))
    here = objective.normal_equations(x)
    hessian, damping = here.hessian, 1e-3
    for iteration in range(1, max_iter + 1):
        objective.new_iteration()
        step = _step(here.gradient, hessian, x, space, damping)
        trial = space.clip(x + step)
        moved = float(np.max(np.abs(trial - x) / space.step)) if len(x) else 0.0
        if moved < tolerance:
            return Climb(x, here, True, iteration)
        there = objective.normal_equations(trial)
        kept_pixels = 2 * there.n_pixels >= here.n_pixels
        if kept_pixels and there.score >= here.score - _NOISE:
            # A step that gains less than rounding from a point a hair away is the top, not progress.
            hessian = _with_secant(there.hessian, trial - x, here.gradient - there.gradient)
            x, here, damping = trial, there, max(damping / 10, 1e-9)
        else:
            damping *= 10
            if damping > 1e8:
                return Climb(x, here, True, iteration)
    return Climb(x, here, False, max_iter)


def _with_secant(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Gauss-Newton's matrix with the curvature that was seen along the last step (a BFGS update of it).

    Noise in the *reference* has gradients that Gauss-Newton takes for curvature, though the target does not follow
    them: without this the last pixels would be climbed in hundreds of steps.
    """
    along = hessian @ step
    expected, seen = float(step @ along), float(step @ change)
    if not (expected > 0 and seen > 1e-3 * expected):
        return hessian
    return hessian - np.outer(along, along) / expected + np.outer(change, change) / seen


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
