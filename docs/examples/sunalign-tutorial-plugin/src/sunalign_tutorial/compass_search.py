"""Look to every side, go where it is higher, and look nearer when it is nowhere higher."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class CompassSearch(Optimizer):
    """Try a step forwards and backwards along every parameter; halve the steps when none is better.

    Parameters
    ----------
    first_step : `float`
        In pixels of the reference at the edge of the target.
    halvings : `int`
        How often the steps are halved before the search ends.
    """

    first_step: float = 4.0
    halvings: int = 7

    def __post_init__(self) -> None:
        if not self.first_step > 0:
            raise ValueError(f"'first_step' is a number of pixels above 0; got {self.first_step}.")
        if self.halvings < 1:
            raise ValueError(f"'halvings' is at least 1; got {self.halvings}.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        best, score = space.start, objective(space.start)
        # space.step is what moves the target's edge by one reference pixel: it makes all parameters alike.
        steps = self.first_step * np.diag(space.step)
        for _ in range(self.halvings + 1):
            while True:
                objective.new_iteration()
                points = space.clip(best + np.concatenate([steps, -steps]))
                scores = objective.many(points)
                if not scores.max() > score:
                    break
                best, score = points[np.argmax(scores)], scores.max()
            steps = steps / 2
        return OptimizeResult(x=best, fun=score, nit=objective.iteration, success=True, message="No step is better.")
