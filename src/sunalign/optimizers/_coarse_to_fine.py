"""The default: an exact surface of shifts on coarse images, then Gauss-Newton on finer and finer ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunpy import log

from sunalign.abc import Optimizer
from sunalign.metrics import NCC
from sunalign.model.gauss_newton import climb
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace
from sunalign.model.surface import SearchSurface, allowing_for_edges, peak_significance, peaks_of, pixels_at_peak
from sunalign.optimizers._fft_search import grid_of
from sunalign.optimizers._hill_climb import HillClimb
from sunalign.optimizers._levenberg_marquardt import best_of

__all__ = ["CoarseToFine"]

_CLEAR = 3.0  # Standard errors above every other shift: no wider search is needed.
_COVERED = 0.8  # Part of the target below which the reference counts as covering only some of it.
_FEW = 256  # Pixels of such a part below which finer ones are taken.


@dataclass(frozen=True, kw_only=True)
class CoarseToFine(Optimizer):
    """FFT surface on coarse images, Levenberg-Marquardt there, then at the reference's own resolution.

    Takes about ten evaluations. With a metric that offers neither a shift surface nor normal equations, ``ncc`` finds
    the coarse peak and ``hill-climb`` does the rest.

    Parameters
    ----------
    coarse : `float`
        Size of the coarse pixels in pixels of the reference.
    n_peaks : `int`
        How many peaks of the coarse surface are climbed where none of them stands out.
    n_scales, n_rotations : `int`
        Size of the grid of scales and rotations that is searched when the coarse peak is ambiguous.
    tolerance : `float`
        The last climb ends when a step moves no edge of the target by more than this many reference pixels.
    """

    coarse: float = 4.0
    n_peaks: int = 3
    n_scales: int = 5
    n_rotations: int = 5
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not self.coarse >= 1:
            raise ValueError(f"'coarse' is a number of reference pixels, at least 1; got {self.coarse}.")
        if min(self.n_peaks, self.n_scales, self.n_rotations) < 1:
            raise ValueError("'n_peaks', 'n_scales' and 'n_rotations' are at least 1.")
        if not self.tolerance > 0:
            raise ValueError(f"'tolerance' is a number of pixels above 0; got {self.tolerance}.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        coarse, judge, surface = self._coarse_surface(objective, space)
        peaks = self._coarse_peaks(judge, surface, space)
        if not objective.has_normal_equations:
            log.info(
                f"The metric {type(objective.metric).__name__} offers no normal equations; "
                f"'hill-climb' refines the coarse peak."
            )
            return self._hill_climb(objective, space, peaks, rng)
        tops = [climb(coarse, x, tolerance=0.05) for x in peaks]
        start = max(tops, key=lambda top: top.equations.score).x if tops else space.start
        top = climb(objective.at_finest_level(), start, tolerance=self.tolerance)
        return best_of(
            objective,
            [top.x],
            space,
            tops=top.converged,
            success=top.converged,
            message=top.message if top.converged else f"The last climb did not converge. {top.message}",
            nit=top.iterations,
        )

    def _coarse_surface(self, objective: Objective, space: SearchSpace) -> tuple[Objective, Objective, SearchSurface]:
        """Coarse images, the judge of their shifts, and all its scores at the start.

        Finer images where the reference covers only part of the target, and so little of it that too few coarse
        pixels are left: the start may have no score at all, and yet be near.
        """
        level = self.coarse
        while True:
            coarse = objective.at_level(level)
            judge = coarse if coarse.has_shift_surface else coarse.with_metric(NCC())
            n_valid = judge.n_valid
            judge = judge.with_min_overlap(allowing_for_edges(judge.min_overlap, n_valid))
            surface = judge.shift_surface(space.start)
            covered = surface.overlap[np.isfinite(surface.scores)].max(initial=0)
            if level == 1 or covered >= min(_FEW, _COVERED * n_valid):
                return coarse, judge, surface
            level = max(level / 2, 1.0)

    def _coarse_peaks(self, judge: Objective, surface: SearchSurface, space: SearchSpace) -> list[np.ndarray]:
        """Promising points: peaks of the surface at the start, and of a wider grid if those are ambiguous."""
        surfaces = [(space.start, surface)]
        if peak_significance(surface, pixels_at_peak(surface)) > _CLEAR:
            return self._points(judge, space, surfaces)[:1]
        if any(not name.startswith("shift") for name in space.names):
            log.debug("The coarse peak is ambiguous; searching a grid of scales and rotations.")
            grid = grid_of(space, self.n_scales, self.n_rotations)
            surfaces = [(x, judge.shift_surface(x)) for x in grid]
        return self._points(judge, space, surfaces)

    def _points(
        self, judge: Objective, space: SearchSpace, surfaces: list[tuple[np.ndarray, SearchSurface]]
    ) -> list[np.ndarray]:
        found = [
            (score, judge.with_shift(x, *shift)) for x, s in surfaces for score, *shift in peaks_of(s, self.n_peaks)
        ]
        found.sort(key=lambda item: -item[0])
        return [space.clip(x) for _, x in found[: self.n_peaks]]

    def _hill_climb(
        self, objective: Objective, space: SearchSpace, peaks: list[np.ndarray], rng: np.random.Generator
    ) -> OptimizeResult:
        scores = [objective(x) for x in [*peaks, space.start]]
        start = [*peaks, space.start][int(np.argmax(scores))]
        hill_climb = HillClimb()
        found = hill_climb.climb_from(objective, space, start)
        found.refined_by = hill_climb
        return found
