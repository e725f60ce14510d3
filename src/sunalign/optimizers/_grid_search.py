"""Every point of a grid: the correlation cube."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.correction import PARAMETERS
from sunalign.model.objective import Objective
from sunalign.model.search_space import Parameter, SearchSpace

__all__ = ["GridSearch"]

_KINDS = ("shift", "scale", "rotation")
_BATCH = 256  # Candidates handed over at a time: enough to keep workers busy, few enough to show progress.
_USUAL_STEP = {"shift": 1.0}
_USUAL_POINTS = 5


@dataclass(frozen=True, kw_only=True)
class GridSearch(Optimizer):
    """Exact score at every point of a grid between the bounds, and a parabola through the best.

    The whole cube comes with the result, as ``cube`` (an axis a parameter, -inf where there is too little to compare)
    and ``axes`` (parameter names, in the order of the cube's axes, to its values in their units). Slow with more than
    two parameters, and sees nothing narrower than its steps: meant for looking at the cube.

    Parameters
    ----------
    step : `float`, mapping or `None`
        Distance of the grid's points, from the start outwards, in reference pixels at the edge of the target: for a
        shift that is the shift itself; 0 holds a parameter at its start. A mapping sets it by parameter
        (``"shift_x"``) or kind (``"shift"``, ``"scale"``, ``"rotation"``). By default 1 for shifts.
    n_points : `int`, mapping or `None`
        Number of points from bound to bound, for parameters that have no ``step``; 1 is the start alone. By default 5.
    refine : `bool`
        Go on to the top of a quadratic fitted to the neighbours of the best point, if the score there is better.
    """

    step: float | Mapping[str, float] | None = None
    n_points: int | Mapping[str, int] | None = None
    refine: bool = True

    def __post_init__(self) -> None:
        for name, check, words in (
            ("step", lambda v: 0 <= v < np.inf, "a number of pixels, 0 or more"),
            ("n_points", lambda v: v >= 1 and v == int(v), "a number of points, at least 1"),
        ):
            _check(name, getattr(self, name), check, words)

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        # First, so that a budget that ends the search leaves no less than this.
        objective(space.start)
        axes = [self._axis(p) for p in space]
        shape = tuple(len(values) for values in axes)
        cube = np.concatenate([objective.many(batch) for batch in _batches(axes)]).reshape(shape)
        best = np.unravel_index(int(np.argmax(cube)), shape)
        grid_point = np.array([values[k] for values, k in zip(axes, best, strict=True)])
        candidates = [grid_point, space.start]
        if self.refine:
            candidates.insert(0, space.clip(_top(cube, axes, best, grid_point)))
        scores = objective.many(np.array(candidates))
        k = int(np.argmax(scores))
        found = bool(np.isfinite(scores[k]))
        return OptimizeResult(
            x=candidates[k],
            fun=float(scores[k]),
            success=found,
            message=f"The best of {cube.size} points." if found else "No point of the grid leaves enough overlap.",
            nit=1,
            cube=cube,
            axes=dict(zip(space.names, axes, strict=True)),
        )

    def _axis(self, p: Parameter) -> np.ndarray:
        """Values of one parameter, in order."""
        step, n = _of(self.step, p.name), _of(self.n_points, p.name)
        if step is None and n is None:
            step = _USUAL_STEP.get(_kind(p.name))
        if step is None:
            n = int(n or _USUAL_POINTS)
            return np.array([p.start]) if n == 1 else np.linspace(p.lower, p.upper, n)
        if step == 0:
            return np.array([p.start])
        pitch = step * p.step
        # A bound that rounding puts a hair beyond the last step still counts as reached.
        down, up = (int(np.floor((end - p.start) / pitch * sign + 1e-9)) for end, sign in ((p.lower, -1), (p.upper, 1)))
        return np.clip(p.start + pitch * np.arange(-down, up + 1), p.lower, p.upper)


def _kind(name: str) -> str:
    return name.partition("_")[0]


def _of(option: float | Mapping[str, float] | None, name: str) -> float | None:
    """Value of an option for a parameter: its own, or that of its kind, or the one for all."""
    if isinstance(option, Mapping):
        return option.get(name, option.get(_kind(name)))
    return option


def _check(name: str, option: object, check: Callable[[float], bool], words: str) -> None:
    values = option if isinstance(option, Mapping) else {} if option is None else {"shift": option}
    unknown = sorted(set(values) - {*PARAMETERS, *_KINDS})
    if unknown:
        raise ValueError(f"'{name}' is by {', '.join([*_KINDS, *PARAMETERS])}; got {', '.join(map(str, unknown))}.")
    for value in values.values():
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float, np.integer, np.floating))
            or not check(float(value))
        ):
            raise ValueError(f"'{name}' is {words}; got {value!r}.")


def _batches(axes: list[np.ndarray]) -> Iterator[np.ndarray]:
    points = itertools.product(*axes)
    while batch := list(itertools.islice(points, _BATCH)):
        yield np.array(batch)


def _top(cube: np.ndarray, axes: list[np.ndarray], best: tuple[np.intp, ...], grid_point: np.ndarray) -> np.ndarray:
    """Top of the quadratic through the best point's neighbours, no farther than they; the point where there is none."""
    inner = [k for k, index in enumerate(best) if 0 < index < cube.shape[k] - 1]
    if not inner:
        return grid_point
    offsets = np.array(list(itertools.product((-1, 0, 1), repeat=len(inner))), float)
    index = np.tile(np.array(best, int), (len(offsets), 1))
    index[:, inner] += offsets.astype(int)
    scores = cube[tuple(index.T)]
    finite = np.isfinite(scores)
    pairs = list(itertools.combinations_with_replacement(range(len(inner)), 2))
    products = [offsets[:, i] * offsets[:, j] for i, j in pairs]
    design = np.column_stack([np.ones(len(offsets)), offsets, *products])[finite]
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return grid_point
    solution = np.linalg.lstsq(design, scores[finite], rcond=None)[0]
    gradient, hessian = solution[1 : len(inner) + 1], np.zeros((len(inner), len(inner)))
    for (i, j), value in zip(pairs, solution[len(inner) + 1 :], strict=True):
        hessian[i, j] += value
        hessian[j, i] += value
    if np.linalg.eigvalsh(hessian).max() >= 0:
        return grid_point
    moved = np.clip(np.linalg.solve(hessian, -gradient), -1, 1)
    point = grid_point.copy()
    for k, offset in zip(inner, moved, strict=True):
        side = best[k] + (1 if offset >= 0 else -1)
        point[k] += abs(offset) * (axes[k][side] - axes[k][best[k]])
    return point
