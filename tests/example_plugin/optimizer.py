"""An optimizer of a page."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Spiral(Optimizer):
    """Draw points around the best one, in a circle that narrows.

    Parameters
    ----------
    n_points : `int`
        Points a round.
    n_rounds : `int`
        Rounds; the first reaches as far as the bounds.
    narrowing : `float`
        Factor, below 1, between the widths of two rounds.
    """

    n_points: int = 40
    n_rounds: int = 20
    narrowing: float = 0.7

    def __post_init__(self) -> None:
        if self.n_points < 1 or self.n_rounds < 1:
            raise ValueError("'n_points' and 'n_rounds' are at least 1.")
        if not 0 < self.narrowing < 1:
            raise ValueError(f"'narrowing' is between 0 and 1; got {self.narrowing}.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        best, score = space.start, objective(space.start)
        width = (space.upper - space.lower) / 2
        for _ in range(self.n_rounds):
            objective.new_iteration()
            points = space.clip(best + rng.normal(scale=0.5, size=(self.n_points, len(space))) * width)
            scores = objective.many(points)
            if scores.max() > score:
                best, score = points[np.argmax(scores)], scores.max()
            width = width * self.narrowing
        return OptimizeResult(x=best, fun=score, nit=self.n_rounds, success=True, message="All rounds were made.")
