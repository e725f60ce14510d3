"""What an optimizer climbs: the score as a function of the free parameters.

`Objective` adds to the forward model (`sunalign.model.problem`) what every optimizer would otherwise have to do itself:
a cache, the history, the budget, workers and progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from astropy.table import QTable

from sunalign.abc import Metric, NormalEquations, SupportsGaussNewton, SupportsShiftSurface
from sunalign.correction import PARAMETERS, UNITS
from sunalign.model.budget import Budget, BudgetSpent
from sunalign.model.problem import Problem
from sunalign.model.search_space import SearchSpace
from sunalign.model.surface import SearchSurface
from sunalign.model.workers import WorkerPool

__all__ = ["Objective"]

_DECIMALS = 9  # Of a parameter, in its unit, where two trials count as one.


class Objective:
    """Score as a function of the free parameters, with a cache, the history, a budget, workers and progress.

    Parameters
    ----------
    problem : `~sunalign.model.Problem`
        Forward model of target and reference.
    space : `~sunalign.model.SearchSpace`
        The free parameters.
    n_jobs : `int`
        Worker processes that `many` is spread over; 1 for none.
    max_evaluations : `int`, optional
        After which `~sunalign.model.budget.BudgetSpent` ends the search; no limit by default.
    progress : callable, optional
        Called with the evaluations spent and the best score.
    budget : `~sunalign.model.budget.Budget`, optional
        One that is shared with others, instead of ``max_evaluations`` and ``progress``.

    Attributes
    ----------
    space : `~sunalign.model.SearchSpace`
        The free parameters.
    problem : `~sunalign.model.Problem`
        The forward model, for what judges an answer; an optimizer needs nothing of it.
    """

    def __init__(
        self,
        problem: Problem,
        space: SearchSpace,
        *,
        n_jobs: int = 1,
        max_evaluations: int | None = None,
        progress: Callable[[int, float], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.problem = problem
        self.space = space
        self._iteration = 0
        self._cache: dict[tuple[float, ...], float] = {}
        self._rows: list[tuple[float, ...]] = []
        self._best: tuple[float, np.ndarray] | None = None
        self._budget = budget or Budget(max_evaluations, progress)
        self._pool = WorkerPool(replace(problem, whole=None), n_jobs) if n_jobs > 1 else None

    def __enter__(self) -> Objective:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def max_evaluations(self) -> int | None:
        """How many evaluations are allowed."""
        return self._budget.allowed

    @property
    def metric(self) -> Metric:
        """What scores the candidates."""
        return self.problem.metric

    @property
    def n_valid(self) -> int:
        """Number of the target's pixels that can be compared, at this resolution."""
        return self.problem.n_valid

    @property
    def min_overlap(self) -> float:
        """Fraction of those pixels that the reference has to cover; below it a candidate scores -inf."""
        return self.problem.min_overlap

    @property
    def iteration(self) -> int:
        """Number of the current round, as the history has it; see `new_iteration`."""
        return self._iteration

    def new_iteration(self) -> int:
        """Begin a new round of the search; its number goes into the history of every evaluation that follows."""
        self._iteration += 1
        return self._iteration

    def close(self) -> None:
        """Remove the workers' copy of the arrays; the workers themselves are kept for the next alignment."""
        if self._pool is not None:
            self._pool.close()

    def __call__(self, x: Sequence[float] | np.ndarray) -> float:
        """Score at one point; -inf where there is too little to compare."""
        x = np.asarray(x, float)
        key = _key(x)
        if key not in self._cache:
            self._budget.claim(1)
            self._remember(key, x, self.problem.score(x))
        return self._cache[key]

    def many(self, points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Scores at many points, computed by the workers where there are any.

        Parameters
        ----------
        points : array-like, shape (n, p)
            In the order and units of ``space``.

        Returns
        -------
        `numpy.ndarray`, shape (n,)
            -inf where there is too little to compare.
        """
        points = np.atleast_2d(np.asarray(points, float))
        new: dict[tuple[float, ...], np.ndarray] = {}
        for x in points:
            # Of points that count as one the first is the one to score, as it would be one by one.
            if (key := _key(x)) not in self._cache:
                new.setdefault(key, x)
        allowed = list(new.items())[: self._budget.left(len(new))]
        if allowed:
            self._budget.claim(len(allowed))
            xs = np.array([x for _, x in allowed])
            scores = self._pool.scores(xs) if self._pool is not None else [self.problem.score(x) for x in xs]
            for (key, x), score in zip(allowed, scores, strict=True):
                self._remember(key, x, score)
        if len(allowed) < len(new):
            raise BudgetSpent
        return np.array([self._cache[_key(x)] for x in points])

    def _remember(self, key: tuple[float, ...], x: np.ndarray, score: float) -> None:
        self._cache[key] = score
        self._rows.append((self._iteration, *self.problem.parameters(x).values(), score))
        if self._best is None or score > self._best[0]:
            self._best = (score, x.copy())
        self._budget.show(self._best[0])

    @property
    def best(self) -> tuple[np.ndarray, float] | None:
        """Best point so far and its score; `None` before the first evaluation."""
        return None if self._best is None else (self._best[1].copy(), self._best[0])

    @property
    def nfev(self) -> int:
        """Number of images compared so far, at any resolution."""
        return self._budget.spent

    @property
    def history(self) -> QTable:
        """Every evaluation at this resolution, with its iteration, the five parameters and the score."""
        columns = list(zip(*self._rows, strict=True)) or [()] * (len(PARAMETERS) + 2)
        table = QTable()
        table["iteration"] = np.array(columns[0], dtype=int)
        for name, values in zip(PARAMETERS, columns[1:-1], strict=True):
            table[name] = np.array(values, float) * UNITS[name]
        table["score"] = np.array(columns[-1], float)
        return table

    # The optional powers. They are there when the metric has them; an optimizer asks first.

    @property
    def has_shift_surface(self) -> bool:
        """Whether every integer shift can be scored at once."""
        return isinstance(self.problem.metric, SupportsShiftSurface)

    @property
    def has_normal_equations(self) -> bool:
        """Whether steps uphill can be computed."""
        return isinstance(self.problem.metric, SupportsGaussNewton)

    def normal_equations(self, x: np.ndarray) -> NormalEquations:
        """Second-order model around a point; counts as one evaluation and enters the history.

        Parameters
        ----------
        x : `numpy.ndarray`, shape (p,)
        """
        self._budget.claim(1)
        equations, score = self.problem.scored_equations(x)
        if not np.isfinite(equations.score):
            equations = equations._replace(score=-np.inf)
        key = _key(np.asarray(x, float))
        if key not in self._cache and np.isfinite(score):
            self._remember(key, np.asarray(x, float), score)
        return equations

    def shift_surface(self, x: np.ndarray) -> SearchSurface:
        """Scores at every shift of whole pixels within the bounds, all else as in ``x``; counts as one evaluation.

        Parameters
        ----------
        x : `numpy.ndarray`, shape (p,)
            Its shifts are the middle of the surface.
        """
        self._budget.claim(1)
        # A shift of a pixel of a target that is tried larger is larger by as much, and turned as the target is.
        linear = self.problem.pixel_on_sky(x)
        lower, upper = self._shift_bounds(x)
        corners = np.linalg.solve(
            linear, np.array([[a, b] for a in (lower[0], upper[0]) for b in (lower[1], upper[1])]).T
        )
        mx, my = (int(n) for n in np.ceil(np.abs(corners).max(axis=1) - 1e-9))
        centre = np.asarray(x, float).copy()
        for axis in range(2):
            index = self.space.index(f"shift_{'xy'[axis]}")
            if index is not None:
                centre[index] = 0.0
        surface = self.problem.shift_surface(centre, (my, mx))
        dx, dy = np.meshgrid(surface.dx, surface.dy)
        shift = np.einsum("ij,jkl->ikl", linear, np.array([dx, dy], float))
        half = np.abs(linear).sum(axis=1) / 2
        outside = [(shift[k] < lower[k] - half[k]) | (shift[k] > upper[k] + half[k]) for k in range(2)]
        scores = np.where(outside[0] | outside[1], -np.inf, surface.scores)
        return SearchSurface(
            scores, surface.overlap, np.clip(shift[0], lower[0], upper[0]), np.clip(shift[1], lower[1], upper[1])
        )

    def _shift_bounds(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of (shift_x, shift_y) relative to the fixed values: a fixed shift does not move."""
        lower, upper = np.zeros(2), np.zeros(2)
        for axis in range(2):
            index = self.space.index(f"shift_{'xy'[axis]}")
            if index is not None:
                lower[axis], upper[axis] = self.space.lower[index], self.space.upper[index]
        return lower, upper

    def with_shift(self, x: np.ndarray, shift_x: float, shift_y: float) -> np.ndarray:
        """Copy of a point with the free ones of its shifts replaced.

        Parameters
        ----------
        x : `numpy.ndarray`, shape (p,)
        shift_x, shift_y : `float`
            Arcsec.
        """
        moved = np.asarray(x, float).copy()
        for name, value in (("shift_x", shift_x), ("shift_y", shift_y)):
            index = self.space.index(name)
            if index is not None:
                moved[index] = value
        return moved

    def at_level(self, level: float) -> Objective:
        """Return the same objective at another resolution, sharing the budget.

        See `sunalign.model.problem.Problem.at_level`.

        Parameters
        ----------
        level : `float`
            Size of its pixels, in pixels of the reference.
        """
        return self._sharing(self.problem.at_level(level))

    def at_finest_level(self) -> Objective:
        """Return the objective at the finest resolution worth climbing.

        See `sunalign.model.problem.Problem.at_finest_level`.
        """
        return self._sharing(self.problem.at_finest_level())

    def with_metric(self, metric: Metric) -> Objective:
        """Return the same objective judged by another metric, sharing the budget.

        Parameters
        ----------
        metric : `~sunalign.abc.Metric`
        """
        return self._sharing(replace(self.problem, metric=metric))

    def with_min_overlap(self, min_overlap: float) -> Objective:
        """Return the same objective with another fraction of the target to be covered, sharing the budget.

        Parameters
        ----------
        min_overlap : `float`
            From 0 to 1; below it a candidate scores -inf.
        """
        return self._sharing(replace(self.problem, min_overlap=min_overlap))

    def _sharing(self, problem: Problem) -> Objective:
        return Objective(problem, self.space, budget=self._budget)


def _key(x: np.ndarray) -> tuple[float, ...]:
    # Adding 0.0 makes -0.0 the same trial as 0.0.
    return tuple(np.round(x, _DECIMALS) + 0.0)
