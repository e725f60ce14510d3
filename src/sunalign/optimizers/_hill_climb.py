"""Neighbours on a lattice around the best point, in steps that shrink on a plateau."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace

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
        First steps of the lattice; 0 holds the parameters of that kind where they start.
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
    shrink_factor: float | Mapping[str, float | None] | None = 2.0
    neighbor_extent: int = 11

    def __post_init__(self) -> None:
        for name in ("n_neighbors", "max_iter", "plateau_iters", "neighbor_extent"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' is at least 1; got {getattr(self, name)}.")
        for kind in _KINDS:
            first, last = getattr(self, f"step_{kind}"), getattr(self, f"min_step_{kind}")
            if not (first == 0 or 0 < last <= first):
                raise ValueError(
                    f"'step_{kind}' and 'min_step_{kind}' satisfy 0 < min_step <= step, or the step is 0 to hold the "
                    f"parameter; got {first} and {last}."
                )
        for factor in self._factors().values():
            if factor is not None and not factor > 1:
                raise ValueError(f"'shrink_factor' is above 1, or None; got {factor}.")
        if self.atol < 0 or self.rtol < 0:
            raise ValueError("'atol' and 'rtol' are not negative.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        return self.climb_from(objective, space, space.start)

    def climb_from(self, objective: Objective, space: SearchSpace, start: np.ndarray) -> OptimizeResult:
        """Search from any point of the space.

        Parameters
        ----------
        objective, space
            As in `maximize`.
        start : `numpy.ndarray`, shape (p,)
            In the order of ``space``; what lies beyond its bounds is taken to them.
        """
        step = self._steps(space, "step_")
        smallest = np.minimum(self._steps(space, "min_step_"), step)
        shrink = np.array([self._factors()[_kind(name)] or np.inf for name in space.names])
        centre = space.clip(np.asarray(start, float))
        best_x, best = centre, objective(centre)
        mean_before, tops, plateaus = centre, [best], 0
        for iteration in range(1, self.max_iter + 1):
            objective.new_iteration()
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
            plateaus = plateaus + 1 if self._is_plateau(tops) else 0
            if plateaus:
                # Asked before the steps shrink: the smallest lattice is always tried.
                if plateaus >= self.plateau_iters and np.all(step <= smallest):
                    return _result(best_x, best, iteration, True, "The score no longer rises at the smallest steps.")
                step = np.maximum(step / shrink, smallest)
        message = f"The score still rose after max_iter={self.max_iter} iterations."
        return _result(best_x, best, self.max_iter, False, message)

    def _population(self, centre: np.ndarray, step: np.ndarray, space: SearchSpace) -> np.ndarray:
        """The centre and its nearest lattice neighbours within the bounds, without repeats."""
        points = {tuple(np.round(centre, 9)): centre}
        for offset in lattice(*self._reach(centre, step, space)):
            if len(points) > self.n_neighbors:
                break
            point = space.clip(centre + offset * step)
            points.setdefault(tuple(np.round(point, 9)), point)
        return np.array(list(points.values()))

    def _reach(self, centre: np.ndarray, step: np.ndarray, space: SearchSpace) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest offset of every parameter: the first beyond a bound lands on it, more would repeat it."""
        room = _in_steps(centre - space.lower, step), _in_steps(space.upper - centre, step)
        down, up = (np.minimum(np.ceil(np.round(r, 6)), self.neighbor_extent).astype(int) for r in room)
        return -down, up

    def _stride(self, displacement: np.ndarray, step: np.ndarray, score: float) -> np.ndarray:
        # In units of the lattice: arcseconds and scales would not add up to a length.
        direction = _in_steps(displacement, step)
        length = float(np.linalg.norm(direction))
        if length == 0 or not np.isfinite(length):
            return np.zeros_like(step)
        factor = 2.0 if score < 0.6 else 1.0 if score < 0.85 else 0.5
        return factor * np.sqrt(np.count_nonzero(step)) * direction / length * step

    def _is_plateau(self, tops: list[float]) -> bool:
        recent = np.array(tops[-self.plateau_iters :])
        if len(recent) < self.plateau_iters:
            return False
        finite = np.isfinite(recent)
        if not finite.all():
            # Nowhere any overlap is as flat as can be; the first score after that is a rise.
            return not finite.any()
        return bool(np.ptp(recent) <= self.atol + self.rtol * abs(recent.mean()))

    def _steps(self, space: SearchSpace, prefix: str) -> np.ndarray:
        return np.array([getattr(self, prefix + _kind(name)) for name in space.names]) * space.step

    def _factors(self) -> dict[str, float | None]:
        if isinstance(self.shrink_factor, Mapping):
            unknown = set(self.shrink_factor) - set(_KINDS)
            if unknown:
                raise ValueError(
                    f"'shrink_factor' has keys among {', '.join(_KINDS)}; got {', '.join(sorted(unknown))}."
                )
            return {**dict.fromkeys(_KINDS, 2.0), **self.shrink_factor}
        return dict.fromkeys(_KINDS, self.shrink_factor)


def _in_steps(length: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Lengths in steps; 0 along a parameter that is held by a step of 0."""
    return np.divide(length, step, out=np.zeros_like(step), where=step > 0)


def lattice(lowest: Sequence[int] | np.ndarray, highest: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
    """Integer offsets between limits, nearest first and without the origin, as they are asked for.

    Equally distant ones come in a fixed order: those that move one parameter far before those that move several, and
    backwards before forwards.

    Parameters
    ----------
    lowest, highest : sequence of `int`
        Limits of every parameter, of which zero is one or lies between.
    """
    limits = list(zip((int(n) for n in lowest), (int(n) for n in highest), strict=True))
    farthest = sum(max(-low, high) ** 2 for low, high in limits)
    for squared in range(1, farthest + 1):
        yield from (np.array(offset) for offset in _with_norm(limits, squared))


def _with_norm(limits: list[tuple[int, int]], squared: int) -> Iterator[tuple[int, ...]]:
    """Integer vectors within limits of one squared length."""
    if not limits:
        if squared == 0:
            yield ()
        return
    (low, high), rest = limits[0], limits[1:]
    if squared > max(-low, high) ** 2 + sum(max(-a, b) ** 2 for a, b in rest):
        return
    most = math.isqrt(squared)
    for first in sorted(range(max(low, -most), min(high, most) + 1), key=lambda k: (-abs(k), k)):
        for others in _with_norm(rest, squared - first**2):
            yield (first, *others)


def _kind(name: str) -> str:
    return name.partition("_")[0]


def _weighted_mean(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    finite = np.isfinite(scores)
    if not finite.any():
        return points[0]
    weights = np.where(finite, scores - scores[finite].min() + 1e-6, 0.0)
    return weights @ points / weights.sum()


def _result(x: np.ndarray, score: float, nit: int, success: bool, message: str) -> OptimizeResult:
    return OptimizeResult(x=x, fun=score, nit=nit, success=success, message=message)
