"""The forward model of one alignment.

The target is left alone, and the reference is sampled at the target's own pixels, moved as the trial parameters say.
Resampling the noisy one of two images instead would pull the answer towards half pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

import astropy.units as u

from sunalign.abc import Metric, NormalEquations, ShiftSurface, SupportsShiftSurface
from sunalign.correction import PARAMETERS, UNITS, Correction
from sunalign.exceptions import PluginError, describe_error
from sunalign.geometry.coordinates import ARCSEC, PixelGrid
from sunalign.images import Image
from sunalign.model.band_limit import BandLimit
from sunalign.model.moved_grid import MovedGrid
from sunalign.model.plane_sums import speaks_of_planes
from sunalign.model.reference_contract import Reference
from sunalign.model.resolution import at_half_resolution, at_level, band_limited, factors, loses_much
from sunalign.model.score_by_score import surface_of_scores
from sunalign.model.surface import allowing_for_edges
from sunalign.wcs.plausible import check_surface

__all__ = ["MANY", "Bent", "Problem"]

#: Pixels of a target beyond which a coarser grid tells as much.
MANY = 2**19


Slopes = tuple[np.ndarray, np.ndarray]


class Bent(NamedTuple):
    """Samples of a trial, (ny, nx), their first and second derivatives by the pixel of ``base``, and what to ignore."""

    sampled: np.ndarray
    slopes: Slopes
    bends: tuple[np.ndarray, ...]
    hidden: np.ndarray


@dataclass(frozen=True, eq=False)
class Problem:
    """The forward model of one alignment at one resolution.

    Parameters
    ----------
    target : `~sunalign.images.Image`
        Scaled, masked, and possibly binned.
    reference : `~sunalign.model.reference_contract.Reference`
        Scaled; sampled in the pixel coordinates of ``base``.
    metric : `~sunalign.abc.Metric`
    base : `~sunalign.geometry.coordinates.PixelGrid`
        Pixels of the target as it was given.
    pivot : `tuple` of `float`
        Pixel of ``base`` about which scale and rotation act.
    names : `tuple` of `str`
        The free parameters, in the order of every ``x``.
    fixed : mapping
        Values of the other parameters, in their units.
    min_overlap : `float`
        Fraction of the target's valid pixels that must have a sample; below it a candidate scores -inf.
    limit : `~sunalign.model.band_limit.BandLimit`, optional
        How both are smoothed against the reference's noise, here and, anew, at every other level.
    sharp : `~sunalign.images.Image`, optional
        The target before it was smoothed, from which the other levels are made.
    level_one : `float`, optional
        Length, in radians, that level 1 stands for, where the target's pixels are larger and all that is compared.
    whole : `Problem`, optional
        The same in the target's own pixels and as sharp as it was given, where those are finer than what is compared.
    moved : `~sunalign.model.moved_grid.MovedGrid`, optional
        What ``base`` and ``pivot`` make, which all levels have in common.
    """

    target: Image
    reference: Reference
    metric: Metric
    base: PixelGrid
    pivot: tuple[float, float]
    names: tuple[str, ...]
    fixed: Mapping[str, float] = field(default_factory=dict)
    min_overlap: float = 0.25
    limit: BandLimit | None = None
    sharp: Image | None = None
    level_one: float | None = None
    whole: Problem | None = field(default=None, repr=False)
    moved: MovedGrid = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.moved is None or (self.moved.base, self.moved.pivot) != (self.base, self.pivot):
            object.__setattr__(self, "moved", MovedGrid(self.base, self.pivot))

    @cached_property
    def target_mask(self) -> np.ndarray:
        """True where the target has nothing to compare."""
        return self.target.mask

    @cached_property
    def n_valid(self) -> int:
        """Number of pixels to compare."""
        return int(np.count_nonzero(~self.target_mask))

    @cached_property
    def least_overlap(self) -> float:
        """``min_overlap``, less the pixels along the edge of the reference's coverage that smoothing has cost."""
        if not self.reference.smoothing:
            return self.min_overlap
        return allowing_for_edges(self.min_overlap, self.n_valid)

    @cached_property
    def reference_pixel(self) -> float:
        """Size of the reference's pixels in radians; the target's where the reference has none of its own."""
        own = self.reference.pixel_size
        return own if np.isfinite(own) else float(np.sqrt(np.prod(self.target.grid.pixel_size)))

    @cached_property
    def columns(self) -> np.ndarray:
        """Column of ``base`` that each column of the target belongs to, shape (nx,)."""
        return _first_row(self._to_base, self.target.grid.shape[1])

    def parameters(self, x: Sequence[float] | np.ndarray) -> dict[str, float]:
        """All five parameters, free and fixed, as plain numbers.

        Parameters
        ----------
        x : sequence of `float`, length p
            In the order of ``names``, units as in `sunalign.correction.UNITS`.
        """
        values = {**dict.fromkeys(PARAMETERS, 0.0), "scale_x": 1.0, "scale_y": 1.0, **self.fixed}
        return values | dict(zip(self.names, map(float, x), strict=True))

    def correction(self, x: Sequence[float] | np.ndarray, **extra: Any) -> Correction:
        """Turn a point of the search space into a correction.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        **extra
            Further arguments of `~sunalign.Correction.from_parameters`, such as its errors.
        """
        values: dict[str, Any] = {
            name: value if name.startswith("scale") else value * UNITS[name]
            for name, value in self.parameters(x).items()
        }
        pivot = np.array(self.moved.pivot_angles) / ARCSEC * u.arcsec
        return Correction.from_parameters(**values, pivot=pivot, axes=self.moved.axes, **extra)

    def matrix(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Homography: pixel of the (binned) target to the ``base`` pixel where it is tried.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.

        Returns
        -------
        `numpy.ndarray`, shape (3, 3)
        """
        return self.moved.matrix(self.parameters(x)) @ self._to_base

    @cached_property
    def _to_base(self) -> np.ndarray:
        return self.in_base(self.target.grid)

    def in_base(self, grid: PixelGrid) -> np.ndarray:
        """Affine map from pixels of a grid that was cropped or binned to those of ``base``.

        Parameters
        ----------
        grid : `~sunalign.geometry.coordinates.PixelGrid`
            Of the WCS of ``base``.

        Returns
        -------
        `numpy.ndarray`, shape (3, 3)
        """
        # Both are relative to the same WCS, and base may be a crop itself: the overlap of a working grid.
        return grid.affine_to(self.base)

    def pixel_on_sky(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Steps along the target's pixel axes, as they are tried, on the sky at the pivot.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.

        Returns
        -------
        `numpy.ndarray`, shape (2, 2)
            From pixels along (x, y) to arcsec towards (+Tx, +Ty).
        """
        stretch = self.moved.stretch(self.parameters(x))
        return stretch @ self.base.jacobian(*self.pivot) @ self._to_base[:2, :2] / ARCSEC

    def sample(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Reference at the target's pixels, shape (ny, nx); NaN where there is none.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        """
        return self.reference.sample_grid(self.matrix(x), self.target.grid.shape, self.columns)

    def score(self, x: Sequence[float] | np.ndarray) -> float:
        """Score of one trial; -inf where there is too little to compare.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        """
        sampled = self.sample(x)
        mask = self.target_mask | ~np.isfinite(sampled)
        self._n_compared[tuple(map(float, x))] = int(np.count_nonzero(~mask))
        return self._score_but_for(sampled, mask)

    def score_of(self, sampled: np.ndarray, ignored: np.ndarray | None = None) -> float:
        """Score of samples; -inf where there are too few.

        Parameters
        ----------
        sampled : `numpy.ndarray`, shape (ny, nx)
            As `sample` gives them.
        ignored : `numpy.ndarray` of `bool`, shape (ny, nx), optional
            True where a pixel is to be left out besides.
        """
        mask = self.target_mask | ~np.isfinite(sampled)
        return self._score_but_for(sampled, mask if ignored is None else mask | ignored)

    def _score_but_for(self, sampled: np.ndarray, mask: np.ndarray) -> float:
        if self.n_valid == 0 or np.count_nonzero(~mask) < max(self.least_overlap * self.n_valid, 2):
            return -np.inf
        value = _called(self.metric, "score", sampled, self.target.data, mask)
        if not isinstance(value, (float, int, np.floating)):
            raise PluginError(
                f"The metric {type(self.metric).__name__} returned {type(value).__name__}; a score is a float."
            )
        return float(value) if np.isfinite(value) else -np.inf

    def overlap(self, x: Sequence[float] | np.ndarray) -> float:
        """Fraction of the target's valid pixels that have a sample.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        """
        n_compared = self._n_compared.get(tuple(map(float, x)))
        if n_compared is None:
            n_compared = int(np.count_nonzero(np.isfinite(self.sample(x)) & ~self.target_mask))
        return n_compared / max(self.n_valid, 1)

    @cached_property
    def _n_compared(self) -> dict[tuple[float, ...], int]:
        """Pixels that had a sample in each of the trials that were scored."""
        return {}

    def normal_equations(self, x: Sequence[float] | np.ndarray) -> NormalEquations:
        """Second-order model of the score around one trial, over the pixels that have a derivative.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        """
        return self.scored_equations(x)[0]

    def scored_equations(self, x: Sequence[float] | np.ndarray) -> tuple[NormalEquations, float]:
        """As `normal_equations`, and the score of that trial over all the pixels that have a sample, as in `score`.

        The two part at the edge of coverage, where a sample may have no derivative.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        """
        sampled, slopes, mask = self.with_slopes(x)
        equations = self.equations(x, sampled, slopes, mask)
        compared = np.count_nonzero(np.isfinite(sampled) & ~self.target_mask)
        if equations.n_pixels == compared >= max(self.least_overlap * self.n_valid, 2) and np.isfinite(equations.score):
            return equations, float(equations.score)
        return equations, self.score_of(sampled)

    def equations(
        self, x: Sequence[float] | np.ndarray, sampled: np.ndarray, slopes: Slopes, mask: np.ndarray
    ) -> NormalEquations:
        """As `normal_equations`, from what `with_slopes` gives.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        sampled : `numpy.ndarray`, shape (ny, nx)
        slopes : `tuple` of two `numpy.ndarray`, shape (ny, nx)
        mask : `numpy.ndarray` of `bool`, shape (ny, nx)
            True where there is nothing to compare.
        """
        target = self.target.data
        if speaks_of_planes(self.metric):
            return _called(self.metric, "plane_equations", sampled, slopes, self.displacements(x), target, mask)
        return _called(self.metric, "normal_equations", sampled, self.jacobian(x, slopes), target, mask)

    def linearized(self, x: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples, their derivatives by the free parameters, and what to ignore.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.

        Returns
        -------
        sampled : `numpy.ndarray`, shape (ny, nx)
        jacobian : `numpy.ndarray`, shape (p, ny, nx)
        mask : `numpy.ndarray` of `bool`, shape (ny, nx)
            True where there is nothing to compare.
        """
        sampled, slopes, mask = self.with_slopes(x)
        return sampled, self.jacobian(x, slopes), mask

    def jacobian(self, x: Sequence[float] | np.ndarray, slopes: Slopes) -> np.ndarray:
        """Derivatives of the samples by the free parameters, shape (p, ny, nx).

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        slopes : `tuple` of two `numpy.ndarray`, shape (ny, nx)
            As `with_slopes` gives them.
        """
        (by_x, by_y), shape = slopes, self.target.grid.shape
        jacobian = np.empty((len(self.names), *shape), by_x.dtype)
        spare = np.empty(shape, by_x.dtype)
        for row, displacement in zip(jacobian, self.displacements(x), strict=True):
            along_x, along_y = (_plane(coefficients, shape, by_x.dtype) for coefficients in displacement)
            np.multiply(by_x, along_x, out=row)
            np.multiply(by_y, along_y, out=spare)
            row += spare
        return jacobian

    def with_slopes(self, x: Sequence[float] | np.ndarray) -> tuple[np.ndarray, Slopes, np.ndarray]:
        """Samples, their derivatives by the pixel of ``base``, and what to ignore.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.

        Returns
        -------
        sampled : `numpy.ndarray`, shape (ny, nx)
        slopes : `tuple` of two `numpy.ndarray`, shape (ny, nx)
            Along x and y.
        mask : `numpy.ndarray` of `bool`, shape (ny, nx)
            True where there is nothing to compare.
        """
        given = self.matrix(x), self.target.grid.shape, self.columns
        sampled, by_x, by_y = self.reference.sample_grid_with_gradient(*given)
        return sampled, (by_x, by_y), self._without_derivative(sampled, by_x, by_y)

    def with_bends(self, x: Sequence[float] | np.ndarray) -> Bent:
        """As `with_slopes`, with second derivatives by x twice, by x and y, and by y twice.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        """
        given = self.matrix(x), self.target.grid.shape, self.columns
        sampled, by_x, by_y, *bends = self.reference.sample_grid_with_curvature(*given)
        return Bent(sampled, (by_x, by_y), tuple(bends), self._without_derivative(sampled, by_x, by_y, *bends))

    def _without_derivative(self, *values: np.ndarray) -> np.ndarray:
        # At the edge of coverage a sample may have no derivative.
        return self.target_mask | ~np.isfinite(sum(values))

    def displacements(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Derivatives of the tried pixel coordinates by every parameter, as planes over the target, shape (p, 2, 3).

        Element ``[i, k]`` has the constant, the slope along x and the slope along y, in pixels of the target, of the
        derivative of coordinate k (x, y) by parameter i.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        """
        ny, nx = self.target.grid.shape
        corners = self._to_base @ np.array([[0.0, nx, 0.0], [0.0, 0.0, ny], [1.0, 1.0, 1.0]])
        values = self.parameters(x)
        moved = self.moved.matrix(values) @ corners
        change = self.moved.derivatives(values, self.names) @ corners
        # Affine over the image but for the curvature of the sky, some 1e-5 of it.
        found = (change[:, :2] - moved[:2] / moved[2] * change[:, 2:]) / moved[2]
        found[..., 1:] = (found[..., 1:] - found[..., :1]) / (nx, ny)
        return found

    def shift_surface(self, x: Sequence[float] | np.ndarray, margin: tuple[int, int]) -> ShiftSurface:
        """Scores at every integer shift around a trial.

        Parameters
        ----------
        x : sequence of `float`, length p
            As in `parameters`.
        margin : `tuple` of `int`
            Largest shifts ``(my, mx)``, in pixels of this target.
        """
        my, mx = margin
        padded = self.target.grid.padded(my, mx)
        width, height = self.target.grid.pixel_size
        check_surface(padded.shape, self.target.grid, (mx * width, my * height))
        to_base = self.in_base(padded)
        columns = _first_row(to_base, padded.shape[1])
        matrix = self.moved.matrix(self.parameters(x)) @ to_base
        wide = self.reference.sample_grid(matrix, padded.shape, columns).astype(float)
        given = (wide, self.target.data, ~np.isfinite(wide), self.target_mask, margin, self.least_overlap)
        if isinstance(self.metric, SupportsShiftSurface):
            return _called(self.metric, "shift_surface", *given)
        return surface_of_scores(partial(_called, self.metric, "score"), *given)

    def at_level(self, level: float) -> Problem:
        """Return the problem with pixels of about ``level`` reference pixels, or the target's own where larger.

        Level 1 bins the target to about square pixels of the reference's size, which loses nothing: the reference has
        no finer detail to offer.

        Parameters
        ----------
        level : `float`
            1 or larger.
        """
        if level not in self._levels:
            self._levels[level] = at_level(self, level)
        kept = self._levels[level]
        return kept if kept.metric is self.metric else replace(kept, metric=self.metric)

    @cached_property
    def _levels(self) -> dict[float, Problem]:
        return {}

    def at_finest_level(self) -> Problem:
        """Return level 1, or what is compared instead of an image of more than half a million pixels."""
        return self.at_level(1.0)

    def as_compared(self) -> Problem:
        """Return the problem at the finest resolution worth comparing, band-limited.

        That of the target as it was given, but for images of more than half a million pixels, counted as large as the
        reference's: so many fix the parameters with half of it, unless gaps all over leave few of the larger ones.
        """
        if self.size_at(1.0) <= MANY:
            return band_limited(self)
        one = self.at_level(1.0)
        half = at_half_resolution(one)
        return band_limited(self) if loses_much(one, half) else replace(half, whole=self)

    def size_at(self, level: float) -> int:
        """Number of pixels of the target at a level.

        Parameters
        ----------
        level : `float`
            As in `at_level`.
        """
        bx, by, _ = factors(self, level)
        ny, nx = self.target.grid.shape
        return (ny // by) * (nx // bx)

    def without_band_limit(self) -> Problem:
        """Return the problem with both images as sharp as they were given."""
        return replace(
            self, target=self.sharp or self.target, reference=self.reference.smoothed(0.0), limit=None, sharp=None
        )


def _plane(coefficients: np.ndarray, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Constant and slopes of `Problem.displacements`, spread over the pixels where they are no constant."""
    constant, along_x, along_y = coefficients
    ny, nx = shape
    if max(abs(along_x) * nx, abs(along_y) * ny) <= 1e-6 * abs(constant):
        return np.asarray(constant, dtype)
    row = (constant + along_x * np.arange(nx)).astype(dtype)
    return row + (along_y * np.arange(ny)).astype(dtype)[:, None]


def _first_row(to_base: np.ndarray, nx: int) -> np.ndarray:
    """Base columns of a grid's columns."""
    return to_base[0, 2] + to_base[0, 0] * np.arange(nx, dtype=float)


def _called(metric: Metric, method: str, *arguments: Any) -> Any:
    try:
        return getattr(metric, method)(*arguments)
    except Warning:
        # One that the user has made an error.
        raise
    except Exception as error:
        raise PluginError(
            f"The metric {type(metric).__name__} failed in {method}(): {describe_error(error)}."
        ) from error
