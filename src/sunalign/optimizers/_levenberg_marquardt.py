"""Gauss-Newton on the metric itself, damped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.exceptions import AlignmentError
from sunalign.model.gauss_newton import climb
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace

__all__ = ["LevenbergMarquardt", "best_of"]


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
            tops=top.converged,
            success=top.converged,
            message=top.message,
            nit=top.iterations,
        )


def best_of(
    objective: Objective, candidates: list[np.ndarray], space: SearchSpace, *, tops: bool = False, **fields: object
) -> OptimizeResult:
    """Result at the best of some points, the start included: a search never ends below where it began.

    Parameters
    ----------
    objective : `~sunalign.model.objective.Objective`
    candidates : `list` of `numpy.ndarray`
        In the order of ``space``.
    space : `~sunalign.model.search_space.SearchSpace`
        For its start.
    tops : `bool`
        Whether the candidates were climbed to: one beside the start is then the top that the start belongs to.
    **fields
        Further ones of the result: ``success``, ``message``, ``nit``.
    """
    points = [*candidates, space.start]
    scores = [objective(x) for x in points]
    best, found = int(np.argmax(scores)), int(np.argmax(scores[:-1]))
    if tops and best != found and _loses_an_edge(objective, points[found], space, scores[-1] - scores[found]):
        best = found
    return OptimizeResult(x=points[best], fun=scores[best], **fields)


def _loses_an_edge(objective: Objective, x: np.ndarray, space: SearchSpace, loss: float) -> bool:
    """Whether a top is beside the start, and scores less for no more than the pixels that only the start can compare.

    Of two images of one field a row at the edge drops out as soon as they are moved at all.
    """
    if np.max(np.abs(x - space.start) / space.step) > 1:
        return False
    there, here = objective.problem.overlap(x), objective.problem.overlap(space.start)
    return loss <= 1 - there / here
