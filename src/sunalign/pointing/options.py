"""What the pointing of a raster's columns can be: templates with a gain each, and a smooth drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

import astropy.units as u

from sunalign.exceptions import AlignmentError
from sunalign.geometry.times import interpolate_columns
from sunalign.images import Image
from sunalign.pointing._basis import Basis, beyond_affine, spline_basis
from sunalign.pointing.templates import Template

__all__ = ["DriftOptions", "PointingModel", "column_times", "make_model"]

_FEWEST = 6  # Columns below which a curve is drawn through noise.
_COLUMNS_PER_INTERVAL = 6
_MOST_INTERVALS = 16

#: Rms of a drift that are considered, in pixels of the reference. Below the first nothing can be measured, beyond the
#: last the alignment would not have begun.
_STRENGTHS = np.concatenate([[0.0], 0.05 * 2.0 ** np.arange(8)])

#: What is believed of no drift at all along an axis, and of no jitter; the rest is shared by all other sizes alike.
_NONE = 0.5

#: Rms of an independent jitter of the columns.
_JITTERS = np.array([0.0, 0.02, 0.06, 0.2, 0.6])

#: Jitter, as a part of the drift, of a model that is left loose: single columns soon follow noise.
_LOOSE_JITTER = 0.15


@dataclass(frozen=True, kw_only=True)
class DriftOptions:
    """How a drift is fitted.

    Parameters
    ----------
    time : `~astropy.units.Quantity`, optional
        Shortest time within which the drift changes: the distance of the spline's knots.
    knots : `int`, optional
        Instead, the number of intervals between knots.
    prior : `~astropy.units.Quantity`, optional
        Expected rms of the drift along each axis; by default found from the data.
    """

    time: u.Quantity | None = None
    knots: int | None = None
    prior: u.Quantity | None = None

    def __post_init__(self) -> None:
        if self.time is not None and self.knots is not None:
            raise AlignmentError("'drift_time' and 'drift_knots' say the same thing; give one of them.")
        if self.time is not None and not _is_positive(self.time, u.s):
            raise AlignmentError(f"'drift_time' is a time above 0, such as 20 * u.min; got {self.time!r}.")
        if self.knots is not None and not (isinstance(self.knots, (int, np.integer)) and self.knots >= 1):
            raise AlignmentError(f"'drift_knots' is a number of intervals, 1 or more; got {self.knots!r}.")
        if self.prior is not None and not _is_positive(self.prior, u.arcsec):
            raise AlignmentError(f"'drift_prior' is an angle above 0, such as 2 * u.arcsec; got {self.prior!r}.")


def _is_positive(value: object, unit: u.UnitBase) -> bool:
    if not isinstance(value, u.Quantity) or not value.isscalar or not value.unit.is_equivalent(unit):
        return False
    return bool(0 < value.to_value(unit) < np.inf)


@dataclass(frozen=True, eq=False)
class PointingModel:
    """Displacements of the columns as a linear function of amplitudes: a gain a template, then the drift's.

    Parameters
    ----------
    templates : sequence of `Template`
    shapes : `numpy.ndarray`, shape (m, 2, n)
        Of the templates, in arcsec towards (+Tx, +Ty), beyond what shift and scale can do.
    basis : `Basis`
        Of the drift, the same along both axes.
    strengths, chances : `numpy.ndarray`
        Rms of the drift that are considered, in arcsec, and what is thought of each beforehand.
    valid : `numpy.ndarray` of `bool`, shape (n,)
        Columns that have data.
    seconds : `numpy.ndarray`, shape (n,)
        Time of every column, or its number where none is known.
    jitters, jitter_chances : `numpy.ndarray`
        Rms of displacements of single columns that are considered, in arcsec, and what is thought of each beforehand.
    """

    templates: tuple[Template, ...]
    shapes: np.ndarray
    basis: Basis
    strengths: np.ndarray
    chances: np.ndarray
    valid: np.ndarray
    seconds: np.ndarray
    jitters: np.ndarray = field(default_factory=lambda: np.zeros(1))
    jitter_chances: np.ndarray = field(default_factory=lambda: np.ones(1))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the templates."""
        return tuple(template.name for template in self.templates)

    @property
    def functions(self) -> np.ndarray:
        """Displacement of every column per unit of each amplitude, shape (m + 2 q, 2, n)."""
        drift = np.zeros((2, self.basis.size, 2, len(self.valid)))
        for axis in range(2):
            drift[axis, :, axis] = self.basis.values.T
        return np.concatenate([self.shapes, drift.reshape(-1, *drift.shape[2:])])

    def at(self, columns: np.ndarray) -> np.ndarray:
        """Functions at columns, also between them.

        Parameters
        ----------
        columns : `numpy.ndarray`, shape (n,)
            0-based; beyond the ends they are what they are there.

        Returns
        -------
        `numpy.ndarray`, shape (m + 2 q, 2, n)
        """
        return interpolate_columns(self.functions, np.clip(columns, 0, len(self.valid) - 1))

    def loose(self, strength: float) -> PointingModel:
        """Model that lets the drift go where the data say, up to about ``strength`` in arcsec, and columns by less.

        Parameters
        ----------
        strength : `float`
            Rms of the drift, arcsec.
        """
        if not self.strengths.any():
            return self
        one = np.ones(1)
        own = strength * _LOOSE_JITTER * one
        return replace(self, strengths=strength * one, chances=one, jitters=own, jitter_chances=one)

    def coarser(self) -> PointingModel:
        """Model with fewer strengths, which is enough on the way."""
        some = np.unique([0, *range(len(self.strengths) - 1, 0, -2)])
        return replace(self, strengths=self.strengths[some], chances=self.chances[some] / self.chances[some].sum())


def column_times(image: Image) -> tuple[np.ndarray, bool]:
    """Seconds of every column, and whether they are; numbers of the columns where there are no times.

    Parameters
    ----------
    image : `~sunalign.images.Image`

    Returns
    -------
    `numpy.ndarray`, shape (n,)
    `bool`
        Whether they are seconds.
    """
    n, times = image.grid.shape[1], image.times
    if times is None or times.is_instant:
        return np.arange(n, dtype=float), False
    return times(np.arange(n)), True


def make_model(
    image: Image,
    pixel: float,
    options: DriftOptions,
    templates: Sequence[Template],
    *,
    drift: bool = True,
    degree: int = 1,
) -> PointingModel:
    """Model for an image.

    Parameters
    ----------
    image : `~sunalign.images.Image`
    pixel : `float`
        Size of the reference's pixels in arcsec.
    options : `DriftOptions`
    templates : sequence of `Template`
    drift : `bool`
        Whether there is a drift besides the templates.
    degree : `int`
        Up to which power of the column the affine parameters can stand in for it: 1, or 0 for exposures of one place.

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        There are too few columns, or a template is constant.
    """
    valid = np.isfinite(image.data).any(axis=0)
    if valid.sum() < _FEWEST:
        raise AlignmentError(
            f"{image.name} has data in {valid.sum()} columns, and a drift needs {_FEWEST} or more; "
            f"leave drift out of fit."
        )
    seconds, timed = column_times(image)
    if options.time is not None and not timed:
        raise AlignmentError(
            f"{image.name} has one time for all columns, so 'drift_time' means nothing; use 'drift_knots'."
        )
    basis = spline_basis(seconds, valid, _intervals(seconds, valid, options), degree)
    strengths = pixel * _STRENGTHS
    chances = _chances(len(strengths))
    if options.prior is not None:
        strengths, chances = np.array([options.prior.to_value(u.arcsec)]), np.ones(1)
    if not drift:
        strengths, chances = np.zeros(1), np.ones(1)
    shapes = np.array([template.shape(image) for template in templates]).reshape(-1, 2, len(valid))
    shapes = beyond_affine(shapes.reshape(-1, len(valid)).T, valid, degree).T.reshape(shapes.shape)
    for template, shape in zip(templates, shapes, strict=True):
        if not np.abs(shape[:, valid]).max() > 1e-6:
            raise AlignmentError(
                f"The template '{template.name}' says no more than a shift and a scale along x of the whole raster, "
                f"which are fitted anyway; leave it out."
            )
    if drift and not timed and options.knots is None:
        raise AlignmentError(
            f"{image.name} has one time for all columns, as a snapshot has, which knows no drift; leave drift out of "
            f"fit. If it is a raster whose header lacks the times of its columns, give 'drift_knots'."
        )
    jitters, jitter_chances = np.zeros(1), np.ones(1)
    if drift:
        jitters = pixel * _JITTERS
        jitter_chances = _chances(len(jitters))
    return PointingModel(tuple(templates), shapes, basis, strengths, chances, valid, seconds, jitters, jitter_chances)


def _chances(count: int) -> np.ndarray:
    return np.array([_NONE, *np.full(count - 1, (1 - _NONE) / (count - 1))])


def _intervals(seconds: np.ndarray, valid: np.ndarray, options: DriftOptions) -> int:
    n = int(valid.sum())
    if options.knots is not None:
        return min(options.knots, n)
    if options.time is not None:
        span = float(np.ptp(seconds[valid]))
        return int(np.clip(np.rint(span / options.time.to_value(u.s)), 1, n))
    return int(np.clip(n // _COLUMNS_PER_INTERVAL, 1, _MOST_INTERVALS))
