"""Neighbours on a lattice around the best point, in steps that shrink on a plateau."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.objective import Objective, SearchSpace

__all__ = ["HillClimb", "lattice"]

_KINDS = ("shift", "scale", "rotation")


@dataclass(frozen=True, kw_only=True)
class HillClimb(Optimizer):
    """Deterministic hill-climber on the lattice of parameters around the best point.

    Each iteration scores the ``n_neighbors`` lattice points nearest to the centre. The displacement of the
    score-weighted mean of the population gives a direction; a step along it is taken if it is no worse than the best
    neighbour, which is the next centre otherwise. On a plateau the lattice is refined.

    Steps are in pixels of the reference at the edge of the target: for a shift that is the shift itself.

    Parameters
    ----------
    n_neighbors : `int`
        Candidates an iteration. More is slower, and less easily caught on a side peak.
    max_iter : `int`
        Largest number of iterations.
    step_shift, step_scale, step_rotation : `float`
        First steps of the lattice.
    min_step_shift, min_step_scale, min_step_rotation : `float`
        Steps at which the search ends.
    atol, rtol : `float`
        A plateau is where the best scores of the last iterations spread by less than ``atol + rtol * abs(mean)``.
    plateau_iters : `int`
        How many iterations that are.
    shrink_factor : `float`, mapping or `None`
        What divides the steps on a plateau; `None` goes to the smallest steps at once. A mapping from ``"shift"``,
        ``"scale"`` and ``"rotation"`` sets them apart.
    neighbor_extent : `int`
        Farthest lattice point along one parameter, in steps.
    """

    n_neighbors: int = 20
    max_iter: int = 30
    step_shift: float = 3.0
    step_scale: float = 1.5
    step_rotation: float = 1.5
    min_step_shift: float = 0.25
    min_step_scale: float = 0.1
    min_step_rotation: float = 0.1
    atol: float = 1e-4
    rtol: float = 1e-3
    plateau_iters: int = 3
    shrink_factor: float | None | Mapping[str, float | None] = 2.0
    neighbor_extent: int = 11

    def __post_init__(self) -> None:
        for name in ("n_neighbors", "max_iter", "plateau_iters", "neighbor_extent"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' is at least 1; got {getattr(self, name)}.")
        for kind in _KINDS:
            first, last = getattr(self, f"step_{kind}"), getattr(self, f"min_step_{kind}")
            if not 0 < last <= first:
                raise ValueError(f"'step_{kind}' and 'min_step_{kind}' satisfy 0 < min_step <= step; got {first}, {last}.")
        for factor in self._factors().values():
            if factor is not None and not factor > 1:
                raise ValueError(f"'shrink_factor' is above 1, or None; got {factor}.")
        if self.atol < 0 or self.rtol < 0:
            raise ValueError("'atol' and 'rtol' are not negative.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        return self.climb_from(objective, space, space.start)

    def climb_from(self, objective: Objective, space: SearchSpace, start: np.ndarray) -> OptimizeResult:
        """Search from any point of the space."""
        step, smallest = self._steps(space, "step_"), self._steps(space, "min_step_")
        shrink = np.array([self._factors()[_kind(name)] or np.inf for name in space.names])
        centre = space.clip(np.asarray(start, float))
        score = objective(centre)
        best_x, best = centre, score
        mean_before, tops = centre, [score]
        for iteration in range(1, self.max_iter + 1):
            objective.iteration += 1
            population = self._population(centre, step, space)
            scores = objective.many(population)
            local = int(np.argmax(scores))
            mean = _weighted_mean(population, scores)
            proposal = space.clip(centre + self._stride(mean - mean_before, step, scores[local]))
            mean_before = mean
            proposed = objective(proposal)
            centre, score = (proposal, proposed) if proposed >= scores[local] else (population[local], scores[local])
            if score > best:
                best_x, best = centre, score
            tops.append(scores[local])
            if self._is_plateau(tops):
                if np.all(step <= smallest):
                    return _result(best_x, best, iteration, True, "The score no longer rises at the smallest steps.")
                step = np.maximum(step / shrink, smallest)
        return _result(best_x, best, self.max_iter, False, f"The score still rose after max_iter={self.max_iter} iterations.")

    def _population(self, centre: np.ndarray, step: np.ndarray, space: SearchSpace) -> np.ndarray:
        """The centre and its nearest lattice neighbours within the bounds, without repeats."""
        points = [centre]
        seen = {tuple(np.round(centre, 9))}
        for offset in lattice(len(space), self.neighbor_extent):
            if len(points) > self.n_neighbors:
                break
            point = space.clip(centre + offset * step)
            key = tuple(np.round(point, 9))
            if key not in seen:
                seen.add(key)
                points.append(point)
        return np.array(points)

    def _stride(self, displacement: np.ndarray, step: np.ndarray, score: float) -> np.ndarray:
        # In units of the lattice: arcseconds and scales would not add up to a length.
        direction = displacement / step
        length = float(np.linalg.norm(direction))
        if length == 0 or not np.isfinite(length):
            return np.zeros_like(step)
        factor = 2.0 if score < 0.6 else 1.0 if score < 0.85 else 0.5
        return factor * np.sqrt(len(step)) * direction / length * step

    def _is_plateau(self, tops: list[float]) -> bool:
        recent = np.array(tops[-self.plateau_iters :])
        if len(recent) < self.plateau_iters or not np.isfinite(recent).all():
            return len(recent) >= self.plateau_iters
        return bool(np.ptp(recent) <= self.atol + self.rtol * abs(recent.mean()))

    def _steps(self, space: SearchSpace, prefix: str) -> np.ndarray:
        return np.array([getattr(self, prefix + _kind(name)) for name in space.names]) * space.step

    def _factors(self) -> dict[str, float | None]:
        if isinstance(self.shrink_factor, Mapping):
            unknown = set(self.shrink_factor) - set(_KINDS)
            if unknown:
                raise ValueError(f"'shrink_factor' has keys among {', '.join(_KINDS)}; got {', '.join(sorted(unknown))}.")
            return {**dict.fromkeys(_KINDS, 2.0), **self.shrink_factor}
        return dict.fromkeys(_KINDS, self.shrink_factor)


def lattice(dimensions: int, extent: int) -> Iterator[np.ndarray]:
    """Integer offsets in order of distance, without the origin, as they are asked for."""
    for squared in itertools.count(1):
        if squared > dimensions * extent**2:
            return
        yield from (np.array(v) for v in _with_norm(dimensions, squared, extent))


def _with_norm(dimensions: int, squared: int, extent: int) -> Iterator[tuple[int, ...]]:
    """Integer vectors of one squared length."""
    if dimensions == 0:
        if squared == 0:
            yield ()
        return
    most = min(extent, int(np.sqrt(squared)))
    for first in sorted(range(-most, most + 1), key=abs, reverse=True):
        for rest in _with_norm(dimensions - 1, squared - first**2, extent):
            yield (first, *rest)


def _kind(name: str) -> str:
    return name.split("_")[0]


def _weighted_mean(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    finite = np.isfinite(scores)
    if not finite.any():
        return points[0]
    weights = np.where(finite, scores - scores[finite].min() + 1e-6, 0.0)
    return weights @ points / weights.sum()


def _result(x: np.ndarray, score: float, nit: int, success: bool, message: str) -> OptimizeResult:
    return OptimizeResult(x=x, fun=score, nit=nit, success=success, message=message)
