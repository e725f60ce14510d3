"""
An optimizer in ten lines
=========================

A plugin is a frozen dataclass with one method. This one throws darts: anywhere first, then around the best so far, in
smaller and smaller circles.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from scipy.optimize import OptimizeResult

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.abc import Optimizer


@dataclass(frozen=True, kw_only=True)
class Darts(Optimizer):
    """Throw darts, in circles that shrink."""

    n: int = 60
    shrink: float = 0.6
    rounds: int = 12

    def maximize(self, objective, space, *, rng):
        best, score, width = space.start, objective(space.start), (space.upper - space.lower) / 2
        for _ in range(self.rounds):
            points = space.clip(best + rng.uniform(-1, 1, (self.n, len(space))) * width)
            scores = objective.many(points)
            if scores.max() > score:
                best, score = points[scores.argmax()], scores.max()
            width = width * self.shrink
        return OptimizeResult(x=best, fun=score, nit=self.rounds, success=True, message="All darts are thrown.")


###############################################################################
# It works at once, with everything around it: bounds, masks, workers, history, figures, errors and doubt.

pair = simulate.raster_pair(seed=5, n_slit=600, center=(-80, 160) * u.arcsec)
result = sunalign.align(pair.target, pair.reference, optimizer=Darts(n=80), rng=4)
print(result)

###############################################################################
# Every dart, coloured by its score.

result.plot_history()
plt.show()

###############################################################################
# And how the score rose.

result.plot_convergence()
plt.show()
