"""Every integer shift at once, on a grid of scales and rotations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.exceptions import AlignmentError
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace
from sunalign.model.surface import peaks_of
from sunalign.optimizers._levenberg_marquardt import best_of

__all__ = ["FFTSearch", "grid_of"]


@dataclass(frozen=True, kw_only=True)
class FFTSearch(Optimizer):
    """Exact score at every shift of whole pixels by FFT (Padfield 2012), the peak refined by a parabola.

    Parameters
    ----------
    level : `float`
        Size of the search's pixels in pixels of the reference.
    n_scales, n_rotations : `int`
        Values of each free scale, and of the rotation, between their bounds; 1 keeps the start.
    """

    level: float = 1.0
    n_scales: int = 1
    n_rotations: int = 1

    def __post_init__(self) -> None:
        if not self.level > 0:
            raise ValueError(f"'level' is a number of reference pixels above 0; got {self.level}.")
        if self.n_scales < 1 or self.n_rotations < 1:
            raise ValueError("'n_scales' and 'n_rotations' are at least 1.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        if not objective.has_shift_surface:
            raise AlignmentError(
                f"The metric {type(objective.metric).__name__} offers no shift surface, which 'fft-search' "
                f"needs; use optimizer='coarse-to-fine' or 'hill-climb', or metric='ncc'."
            )
        level = objective.at_level(self.level)
        best_x, best_score = space.start, -np.inf
        points = grid_of(space, self.n_scales, self.n_rotations)
        for x in points:
            objective.new_iteration()
            peak = peaks_of(level.shift_surface(x), 1)
            if peak and peak[0][0] > best_score:
                best_score, best_x = peak[0][0], space.clip(level.with_shift(x, *peak[0][1:]))
        found = bool(np.isfinite(best_score))
        return best_of(
            objective,
            [best_x],
            space,
            success=found,
            message="The highest of all shifts." if found else "No shift leaves enough overlap.",
            nit=len(points),
        )


def grid_of(space: SearchSpace, n_scales: int, n_rotations: int) -> list[np.ndarray]:
    """Points that differ in the free scales and the rotation.

    Parameters
    ----------
    space : `~sunalign.model.search_space.SearchSpace`
    n_scales, n_rotations : `int`
        Values from bound to bound of every free scale, and of the rotation; 1 for the start alone.

    Returns
    -------
    `list` of `numpy.ndarray`
        In the order of ``space``, the start among them, nearest to it first.
    """
    axes = []
    for p in space:
        n = 1 if p.name.startswith("shift") else n_scales if p.name.startswith("scale") else n_rotations
        axes.append([p.start] if n == 1 else sorted({*np.linspace(p.lower, p.upper, n), p.start}))
    points = [np.array(values) for values in itertools.product(*axes)]
    return sorted(points, key=lambda x: float(np.sum(((x - space.start) / space.step) ** 2)))
