"""What an optimizer climbs: the score of the target at trial pointings, and the space of them.

`Problem` is the forward model: the target is left alone, and the reference is sampled at the target's own pixels,
moved as the trial parameters say. `Objective` adds what every optimizer would otherwise have to do itself: a cache,
the history, the budget, workers and progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import QTable

from sunalign._workers import WorkerPool
from sunalign.abc import Metric, NormalEquations, ShiftSurface, SupportsGaussNewton, SupportsShiftSurface
from sunalign.coordinates import ARCSEC, PixelGrid, apply_homography, tangent_basis
from sunalign.correction import PARAMETERS, UNITS, Correction
from sunalign.exceptions import PluginError, told
from sunalign.images import Image
from sunalign.reference import Reference
from sunalign.surface import SearchSurface

__all__ = ["BudgetSpent", "Objective", "Parameter", "Problem", "SearchSpace"]

_DECIMALS = 9  # Of a parameter, in its unit, where two trials count as one.


#: Pixels of a target beyond which a coarser grid tells as much.
MANY = 2**19


class BudgetSpent(Exception):  # noqa: N818  (it ends a search, it is not an error)
    """The evaluations that were allowed are used up."""


@dataclass(frozen=True)
class Parameter:
    """A free parameter.

    Parameters
    ----------
    name : `str`
        One of `sunalign.correction.PARAMETERS`.
    lower, upper, start : `float`
        In the unit of `sunalign.correction.UNITS`.
    step : `float`
        Change that moves the edge of the target by about one pixel of the reference: the natural length.
    """

    name: str
    lower: float
    upper: float
    start: float
    step: float

    @property
    def unit(self) -> u.UnitBase:
        """Unit of every number here."""
        return UNITS[self.name]


@dataclass(frozen=True)
class SearchSpace:
    """The free parameters, in order."""

    parameters: tuple[Parameter, ...]

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(p.name for p in self.parameters)

    def _array(self, attribute: str) -> np.ndarray:
        return np.array([getattr(p, attribute) for p in self.parameters], float)

    @property
    def lower(self) -> np.ndarray:
        """Lower bounds."""
        return self._array("lower")

    @property
    def upper(self) -> np.ndarray:
        """Upper bounds."""
        return self._array("upper")

    @property
    def start(self) -> np.ndarray:
        """Where a search starts."""
        return self._array("start")

    @property
    def step(self) -> np.ndarray:
        """Natural lengths."""
        return self._array("step")

    def clip(self, x: np.ndarray) -> np.ndarray:
        """Nearest point within the bounds."""
        return np.clip(x, self.lower, self.upper)

    def index(self, name: str) -> int | None:
        """Position of a parameter; `None` if it is not free."""
        return self.names.index(name) if name in self.names else None


@dataclass(frozen=True, eq=False)
class Problem:
    """The forward model of one alignment at one resolution.

    Parameters
    ----------
    target : `~sunalign.images.Image`
        Scaled, masked, and possibly binned.
    reference : `~sunalign.reference.Reference`
        Scaled; sampled in the pixel coordinates of ``base``.
    metric : `~sunalign.abc.Metric`
    base : `~sunalign.coordinates.PixelGrid`
        Pixels of the target as it was given.
    pivot : `tuple` of `float`
        Pixel of ``base`` about which scale and rotation act.
    names : `tuple` of `str`
        The free parameters, in the order of every ``x``.
    fixed : mapping
        Values of the other parameters, in their units.
    min_overlap : `float`
        Fraction of the target's valid pixels that must have a sample; below it a candidate scores -inf.
    """

    target: Image
    reference: Reference
    metric: Metric
    base: PixelGrid
    pivot: tuple[float, float]
    names: tuple[str, ...]
    fixed: Mapping[str, float] = field(default_factory=dict)
    min_overlap: float = 0.25

    @cached_property
    def target_mask(self) -> np.ndarray:
        """True where the target has nothing to compare."""
        return self.target.mask

    @cached_property
    def n_valid(self) -> int:
        """Number of pixels to compare."""
        return int(np.count_nonzero(~self.target_mask))

    @cached_property
    def _axes(self) -> np.ndarray:
        linear = self.base.jacobian(*self.pivot)
        return linear / np.hypot(*linear)

    @cached_property
    def _pivot_sky(self) -> u.Quantity:
        return np.array([float(a) for a in self.base.angles(*self.pivot)]) / ARCSEC * u.arcsec

    @cached_property
    def _columns(self) -> np.ndarray:
        return _first_row(self._to_base, self.target.grid.shape[1])

    def parameters(self, x: Sequence[float] | np.ndarray) -> dict[str, float]:
        """All five parameters, free and fixed, as plain numbers."""
        values = {**dict.fromkeys(PARAMETERS, 0.0), "scale_x": 1.0, "scale_y": 1.0, **self.fixed}
        return values | dict(zip(self.names, map(float, x), strict=True))

    def correction(self, x: Sequence[float] | np.ndarray, **extra: Any) -> Correction:
        """Turn a point of the search space into a correction."""
        values: dict[str, Any] = {
            name: value if name.startswith("scale") else value * UNITS[name]
            for name, value in self.parameters(x).items()
        }
        return Correction.from_parameters(**values, pivot=self._pivot_sky, axes=self._axes, **extra)

    def matrix(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Homography: pixel of the (binned) target to the ``base`` pixel where it is tried."""
        return self._moved(self.parameters(x)) @ self._to_base

    @cached_property
    def _to_base(self) -> np.ndarray:
        return self.in_base(self.target.grid)

    def in_base(self, grid: PixelGrid) -> np.ndarray:
        """Affine map, 3x3: a pixel of a grid that was cropped or binned to the pixel of ``base``."""
        # Both are relative to the same WCS, and base may be a crop itself: the overlap of a working grid.
        return np.linalg.inv(self.base._base_affine) @ grid._base_affine

    def _moved(self, values: Mapping[str, float]) -> np.ndarray:
        # As `moved_pixels(self.base, self.correction(x))`, without the Quantities.
        lift = np.eye(3)
        lift[1:, 1:] = self._stretch(values)
        pivot, shift = self._pivot_radians, ARCSEC * np.array([values["shift_x"], values["shift_y"]])
        sky = tangent_basis(*(pivot + shift)).T @ lift @ self._pivot_basis
        return self.base.inverse @ sky @ self.base.matrix

    def _stretch(self, values: Mapping[str, float]) -> np.ndarray:
        """2x2: offset on the sky from the pivot to where it is tried, but for the shift."""
        angle = np.radians(values["rotation"])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return turn @ self._axes @ np.diag([values["scale_x"], values["scale_y"]]) @ self._axes_inverse

    def pixel_on_sky(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """2x2: steps along the target's pixel axes, as they are tried, to arcsec towards (+Tx, +Ty) at the pivot."""
        to_base = self.in_base(self.target.grid)[:2, :2]
        return self._stretch(self.parameters(x)) @ self.base.jacobian(*self.pivot) @ to_base / ARCSEC

    @cached_property
    def _axes_inverse(self) -> np.ndarray:
        return np.linalg.inv(self._axes)

    @cached_property
    def _pivot_radians(self) -> np.ndarray:
        return self._pivot_sky.to_value(u.rad)

    @cached_property
    def _pivot_basis(self) -> np.ndarray:
        return tangent_basis(*self._pivot_radians)

    def sample(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Reference at the target's pixels, shape (ny, nx); NaN where there is none."""
        return self.reference.sample_grid(self.matrix(x), self.target.grid.shape, self._columns)

    def score(self, x: Sequence[float] | np.ndarray) -> float:
        """Score of one trial; -inf where there is too little to compare."""
        sampled = self.sample(x)
        mask = self.target_mask | ~np.isfinite(sampled)
        if self.n_valid == 0 or np.count_nonzero(~mask) < max(self.min_overlap * self.n_valid, 2):
            return -np.inf
        value = _called(self.metric, "score", sampled, self.target.data, mask)
        if not isinstance(value, (float, int, np.floating)):
            raise PluginError(
                f"The metric {type(self.metric).__name__} returned {type(value).__name__}; a score is a float."
            )
        return float(value) if np.isfinite(value) else -np.inf

    def overlap(self, x: Sequence[float] | np.ndarray) -> float:
        """Fraction of the target's valid pixels that have a sample."""
        return float(np.count_nonzero(np.isfinite(self.sample(x)) & ~self.target_mask) / max(self.n_valid, 1))

    def normal_equations(self, x: Sequence[float] | np.ndarray) -> NormalEquations:
        """Second-order model of the score around one trial."""
        sampled, jacobian, mask = self.linearized(x)
        return _called(self.metric, "normal_equations", sampled, jacobian, self.target.data, mask)

    def linearized(self, x: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples (ny, nx), their derivatives by the free parameters (p, ny, nx), and what to ignore (ny, nx)."""
        x = np.asarray(x, float)
        matrix, shape = self.matrix(x), self.target.grid.shape
        sampled, by_x, by_y = self.reference.sample_grid_with_gradient(matrix, shape, self._columns)
        jacobian = np.empty((len(x), *shape), by_x.dtype)
        for row, (along_x, along_y) in zip(jacobian, self._displacements(x, matrix), strict=True):
            np.multiply(by_x, along_x.astype(by_x.dtype), out=row)
            row += by_y * along_y.astype(by_y.dtype)
        return sampled, jacobian, self.target_mask | ~np.isfinite(sampled)

    def _displacements(self, x: np.ndarray, matrix: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Derivatives of the tried pixel coordinates by every parameter, each broadcasting to (ny, nx)."""
        ny, nx = self.target.grid.shape
        px, py = np.arange(nx, dtype=float), np.arange(ny, dtype=float)[:, None]
        corner_x, corner_y = np.array([0.0, nx, 0.0]), np.array([0.0, 0.0, ny])
        moved = np.array(apply_homography(matrix, corner_x, corner_y))
        w = matrix[2, 0] * corner_x + matrix[2, 1] * corner_y + matrix[2, 2]
        for i in range(len(x)):
            # The matrix is smooth in the parameters, so a difference of nine numbers serves; and the derivative is
            # affine over the image but for the curvature of the sky, some 1e-5 of it.
            d = self._matrix_derivative(x, i) @ np.array([corner_x, corner_y, np.ones(3)])
            first, right, top = ((d[:2] - moved * d[2]) / w).T
            yield tuple(  # type: ignore[misc]
                first[k] + (right[k] - first[k]) / nx * px + (top[k] - first[k]) / ny * py
                if max(abs(right[k] - first[k]), abs(top[k] - first[k])) > 1e-6 * abs(first).max()
                else np.asarray(first[k])
                for k in range(2)
            )

    def _matrix_derivative(self, x: np.ndarray, i: int) -> np.ndarray:
        step = np.zeros(len(x))
        step[i] = 1e-4 if self.names[i].startswith("scale") else 1e-2
        return (self.matrix(x + step) - self.matrix(x - step)) / (2 * step[i])

    def shift_surface(self, x: Sequence[float] | np.ndarray, margin: tuple[int, int]) -> ShiftSurface:
        """Scores at every integer shift, in pixels of this target, of up to ``margin = (my, mx)`` around a trial."""
        my, mx = margin
        padded = self.target.grid.padded(my, mx)
        to_base = self.in_base(padded)
        columns = _first_row(to_base, padded.shape[1])
        matrix = self._moved(self.parameters(x)) @ to_base
        wide = self.reference.sample_grid(matrix, padded.shape, columns).astype(float)
        return _called(
            self.metric,
            "shift_surface",
            wide,
            self.target.data,
            ~np.isfinite(wide),
            self.target_mask,
            margin,
            self.min_overlap,
        )

    def at_level(self, level: float) -> Problem:
        """Return the problem with pixels of about ``level`` reference pixels, or the target's own where larger.

        Level 1 bins the target to about square pixels of the reference's size, which loses nothing: the reference has
        no finer detail to offer.
        """
        if level not in self._levels:
            self._levels[level] = self._binned(level)
        return replace(self._levels[level], metric=self.metric)

    @cached_property
    def _levels(self) -> dict[float, Problem]:
        return {}

    def at_finest_level(self) -> Problem:
        """Return level 1, or level 2 for an image of more than half a million pixels.

        So many pixels fix the parameters to a thousandth of one at either resolution; level 4 would already show the
        bias of interpolating between large pixels.
        """
        finest = self.at_level(1.0)
        return finest if finest.target.data.size <= MANY else self.at_level(2.0)

    def _binned(self, level: float) -> Problem:
        size = np.array(self.target.grid.pixel_size)
        own = self.reference.pixel_size if np.isfinite(self.reference.pixel_size) else float(size.min())
        pitch = level * max(own, float(size.min()))
        # Too few pixels across would leave nothing to correlate.
        most = np.maximum(np.array(self.target.grid.shape[::-1]) // 8, 1)
        bx, by = (int(n) for n in np.clip(np.rint(pitch / size), 1, most))
        factor = max(1, int(np.rint(np.sqrt(size[0] * bx * size[1] * by) / own)))
        return replace(self, target=self.target.binned(by, bx), reference=self.reference.binned(factor))


def _first_row(to_base: np.ndarray, nx: int) -> np.ndarray:
    """Base columns of a grid's columns."""
    return to_base[0, 2] + to_base[0, 0] * np.arange(nx, dtype=float)


def _called(metric: Metric, method: str, *arguments: Any) -> Any:
    try:
        return getattr(metric, method)(*arguments)
    except Exception as error:
        raise PluginError(
            f"The metric {type(metric).__name__} failed in {method}(): {told(error)}."
        ) from error


class Objective:
    """Score as a function of the free parameters, with a cache, the history, a budget, workers and progress.

    Attributes
    ----------
    problem : `Problem`
    space : `SearchSpace`
    nfev : `int`
        Number of images compared so far, at any resolution.
    iteration : `int`
        Written into the history; optimizers may count with it.
    """

    def __init__(
        self,
        problem: Problem,
        space: SearchSpace,
        *,
        n_jobs: int = 1,
        max_evaluations: int | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        self.problem = problem
        self.space = space
        self.iteration = 0
        self._cache: dict[tuple[float, ...], float] = {}
        self._rows: list[tuple[float, ...]] = []
        self._best: tuple[float, np.ndarray] | None = None
        self._counter = _Counter(max_evaluations, progress)
        self._pool = WorkerPool(problem, n_jobs) if n_jobs > 1 else None

    def __enter__(self) -> Objective:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def max_evaluations(self) -> int | None:
        """How many evaluations are allowed."""
        return self._counter.allowed

    def close(self) -> None:
        """Remove the workers' copy of the arrays; the workers themselves are kept for the next alignment."""
        if self._pool is not None:
            self._pool.close()

    def __call__(self, x: Sequence[float] | np.ndarray) -> float:
        """Score at one point; -inf where there is too little to compare."""
        x = np.asarray(x, float)
        key = _key(x)
        if key not in self._cache:
            self._counter.claim(1)
            self._remember(key, x, self.problem.score(x))
        return self._cache[key]

    def many(self, points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Scores at many points, shape (n, p), computed by the workers where there are any."""
        points = np.atleast_2d(np.asarray(points, float))
        new: dict[tuple[float, ...], np.ndarray] = {}
        for x in points:
            # Of points that count as one the first is the one to score, as it would be one by one.
            if (key := _key(x)) not in self._cache:
                new.setdefault(key, x)
        allowed = list(new.items())[: self._counter.left(len(new))]
        if allowed:
            self._counter.claim(len(allowed))
            xs = np.array([x for _, x in allowed])
            scores = self._pool.scores(xs) if self._pool is not None else [self.problem.score(x) for x in xs]
            for (key, x), score in zip(allowed, scores, strict=True):
                self._remember(key, x, score)
        if len(allowed) < len(new):
            raise BudgetSpent
        return np.array([self._cache[_key(x)] for x in points])

    def _remember(self, key: tuple[float, ...], x: np.ndarray, score: float) -> None:
        self._cache[key] = score
        self._rows.append((self.iteration, *self.problem.parameters(x).values(), score))
        if self._best is None or score > self._best[0]:
            self._best = (score, x.copy())
        self._counter.show(self._best[0])

    @property
    def best(self) -> tuple[np.ndarray, float] | None:
        """Best point so far and its score; `None` before the first evaluation."""
        return None if self._best is None else (self._best[1].copy(), self._best[0])

    @property
    def nfev(self) -> int:
        """Number of images compared so far, at any resolution."""
        return self._counter.spent

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
        """Second-order model around a point; counts as one evaluation and enters the history."""
        self._counter.claim(1)
        equations = self.problem.normal_equations(x)
        if not np.isfinite(equations.score):
            equations = equations._replace(score=-np.inf)
        key = _key(np.asarray(x, float))
        if key not in self._cache and equations.n_pixels >= max(self.problem.min_overlap * self.problem.n_valid, 2):
            self._remember(key, np.asarray(x, float), equations.score)
        return equations

    def shift_surface(self, x: np.ndarray) -> SearchSurface:
        """Scores at every shift of whole pixels within the bounds, all else as in ``x``; counts as one evaluation."""
        self._counter.claim(1)
        # A shift of a pixel of a target that is tried larger is larger by as much, and turned as the target is.
        linear = self.problem.pixel_on_sky(x)
        lower, upper = self._shift_bounds(x)
        corners = np.linalg.solve(linear, np.array([[a, b] for a in (lower[0], upper[0]) for b in (lower[1], upper[1])]).T)
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
        return SearchSurface(scores, surface.overlap, np.clip(shift[0], lower[0], upper[0]), np.clip(shift[1], lower[1], upper[1]))

    def _shift_bounds(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of (shift_x, shift_y) relative to the fixed values: a fixed shift does not move."""
        lower, upper = np.zeros(2), np.zeros(2)
        for axis in range(2):
            index = self.space.index(f"shift_{'xy'[axis]}")
            if index is not None:
                lower[axis], upper[axis] = self.space.lower[index], self.space.upper[index]
        return lower, upper

    def with_shift(self, x: np.ndarray, shift_x: float, shift_y: float) -> np.ndarray:
        """Copy of ``x`` with the free ones of its shifts, in arcsec, replaced."""
        moved = np.asarray(x, float).copy()
        for name, value in (("shift_x", shift_x), ("shift_y", shift_y)):
            index = self.space.index(name)
            if index is not None:
                moved[index] = value
        return moved

    def at_level(self, level: float) -> Objective:
        """Return the same objective at another resolution (see `Problem.at_level`), sharing the budget."""
        return self._sharing(self.problem.at_level(level))

    def at_finest_level(self) -> Objective:
        """Return the objective at the finest resolution worth climbing (see `Problem.at_finest_level`)."""
        return self._sharing(self.problem.at_finest_level())

    def with_metric(self, metric: Metric) -> Objective:
        """Return the same objective judged by another metric, sharing the budget."""
        return self._sharing(replace(self.problem, metric=metric))

    def _sharing(self, problem: Problem) -> Objective:
        other = Objective(problem, self.space)
        other._counter = self._counter
        return other


class _Counter:
    """Evaluations spent and allowed, shared between resolutions."""

    def __init__(self, allowed: int | None, progress: Callable[[int, float], None] | None) -> None:
        self.allowed = allowed
        self.spent = 0
        self._progress = progress

    def left(self, wanted: int) -> int:
        return wanted if self.allowed is None else max(0, min(wanted, self.allowed - self.spent))

    def claim(self, n: int) -> None:
        if self.left(n) < n:
            raise BudgetSpent
        self.spent += n

    def show(self, best: float) -> None:
        if self._progress is not None:
            self._progress(self.spent, best)


def _key(x: np.ndarray) -> tuple[float, ...]:
    # Adding 0.0 makes -0.0 the same trial as 0.0.
    return tuple(np.round(x, _DECIMALS) + 0.0)
