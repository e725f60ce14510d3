"""What an alignment finds: an affine map of the sky plane about a pivot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

import astropy.units as u

from sunalign.exceptions import CorrectionError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, angles, nearest_turn, tangent_basis

__all__ = ["PARAMETERS", "UNITS", "Correction", "moved_pixels", "with_error"]

#: The five parameters, in the order in which every array and table has them.
PARAMETERS = ("shift_x", "shift_y", "scale_x", "scale_y", "rotation")

#: Unit of every parameter where it is a plain number.
UNITS = {
    "shift_x": u.arcsec,
    "shift_y": u.arcsec,
    "scale_x": u.dimensionless_unscaled,
    "scale_y": u.dimensionless_unscaled,
    "rotation": u.deg,
}

_NOTHING = {"shift_x": 0.0, "shift_y": 0.0, "scale_x": 1.0, "scale_y": 1.0, "rotation": 0.0}


def _identity() -> np.ndarray:
    return np.eye(2)


@dataclass(frozen=True, eq=False)
class Correction:
    """An affine map of the sky about a pivot.

    The plane tangent at ``pivot`` is mapped by ``matrix`` and laid down on the plane tangent at ``pivot + shift``: in
    a TAN header whose CRPIX is the pivot this *is* ``CRVAL += shift`` and ``CD = matrix @ CD``. It does not depend on
    the grid it was found on. Most people make one with `from_parameters`.

    Parameters
    ----------
    shift : `~astropy.units.Quantity`, shape (2,)
        Added to the target's coordinates (+Tx, +Ty) at the pivot.
    matrix : `numpy.ndarray`, shape (2, 2)
        Linear part, sky to sky.
    pivot : `~astropy.units.Quantity`, shape (2,)
        (Tx, Ty), in the target's uncorrected coordinates, of the point about which scale and rotation act.
    axes : `numpy.ndarray`, shape (2, 2)
        Columns: unit vectors on the sky of the target's pixel axes x and y, along which the scales are measured.
    errors : `dict`
        1-sigma errors of the free parameters, as plain numbers in `~sunalign.correction.UNITS`.
    covariance : `numpy.ndarray` or `None`
        Covariance of the free parameters, in the order of ``errors`` and in `~sunalign.correction.UNITS`.
    """

    shift: u.Quantity = field(default_factory=lambda: np.zeros(2) * u.arcsec)
    matrix: np.ndarray = field(default_factory=_identity)
    pivot: u.Quantity = field(default_factory=lambda: np.zeros(2) * u.arcsec)
    axes: np.ndarray = field(default_factory=_identity)
    errors: Mapping[str, float] = field(default_factory=dict)
    covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("shift", "pivot"):
            value = getattr(self, name)
            if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(u.arcsec):
                raise TypeError(f"'{name}' is a Quantity of two angles such as (3, -2) * u.arcsec; got {value!r}.")
        for name in ("matrix", "axes"):
            value = np.asarray(getattr(self, name), float)
            if value.shape != (2, 2) or not np.isfinite(value).all() or np.linalg.det(value) == 0:
                raise CorrectionError(f"'{name}' of a correction is an invertible 2x2 matrix; got {value.tolist()}.")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "shift", self.shift.to(u.arcsec))
        object.__setattr__(self, "pivot", self.pivot.to(u.arcsec))

    @classmethod
    def from_parameters(
        cls,
        shift_x: u.Quantity = 0 * u.arcsec,
        shift_y: u.Quantity = 0 * u.arcsec,
        scale_x: float = 1.0,
        scale_y: float = 1.0,
        rotation: u.Quantity = 0 * u.deg,
        *,
        pivot: u.Quantity = (0, 0) * u.arcsec,
        axes: np.ndarray | None = None,
        errors: Mapping[str, float] | None = None,
        covariance: np.ndarray | None = None,
    ) -> Correction:
        """Make a correction from its five parameters.

        Parameters
        ----------
        shift_x, shift_y : `~astropy.units.Quantity`
            Added to the target's coordinates at the pivot, the sense of `~sunpy.map.GenericMap.shift_reference_coord`.
        scale_x, scale_y : `float`
            Multiply the pixel size along the target's pixel axes.
        rotation : `~astropy.units.Quantity`
            Counter-clockwise on the sky.
        pivot, axes, errors, covariance
            As in `Correction`.
        """
        if not (scale_x > 0 and scale_y > 0):
            raise CorrectionError(f"A scale is larger than 0; got scale_x={scale_x:g}, scale_y={scale_y:g}.")
        # Not @u.quantity_input: it cannot read annotations that are strings.
        for name, value in {"shift_x": shift_x, "shift_y": shift_y, "rotation": rotation}.items():
            if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(u.arcsec) or not value.isscalar:
                raise TypeError(f"'{name}' is a Quantity of one angle such as 3 * u.{UNITS[name]}; got {value!r}.")
        axes = _identity() if axes is None else np.asarray(axes, float)
        return cls(
            shift=u.Quantity([shift_x, shift_y]),
            matrix=_rotation(rotation.to_value(u.rad)) @ axes @ np.diag([scale_x, scale_y]) @ np.linalg.inv(axes),
            pivot=pivot,
            axes=axes,
            errors=dict(errors or {}),
            covariance=covariance,
        )

    @classmethod
    def between(cls, before: Any, after: Any, *, pivot: u.Quantity | None = None) -> Correction:
        """Correction that carries one image's coordinates into another's.

        Parameters
        ----------
        before, after : image
            Two versions of one image (see `sunalign.images.to_image`) with different coordinates.
        pivot : `~astropy.units.Quantity`, shape (2,), optional
            (Tx, Ty) in the coordinates of ``before``; the array's centre by default.
        """
        from sunalign.images import to_image  # images imports this module's neighbours

        old, new = to_image(before).grid, to_image(after).grid
        if old.shape != new.shape:
            raise CorrectionError(
                f"Corrections relate two versions of one image; these have shapes {old.shape} and {new.shape}."
            )
        if pivot is None:
            cx, cy = old.centre
        else:
            px, py = old.from_directions(tangent_basis(*pivot.to_value(u.rad))[0])
            cx, cy = float(px), float(py)
        start, end = (np.array([float(a) for a in grid.angles(cx, cy)]) for grid in (old, new))
        before_linear, after_linear = old.jacobian(cx, cy), new.jacobian(cx, cy)
        return cls(
            shift=_wrapped(end - start) / ARCSEC * u.arcsec,
            matrix=after_linear @ np.linalg.inv(before_linear),
            pivot=start / ARCSEC * u.arcsec,
            axes=old.axes(cx, cy),
        )

    @property
    def _columns(self) -> np.ndarray:
        return self.matrix @ self.axes

    @property
    def shift_x(self) -> u.Quantity:
        """Added to Tx at the pivot."""
        return self.shift[0]

    @property
    def shift_y(self) -> u.Quantity:
        """Added to Ty at the pivot."""
        return self.shift[1]

    @property
    def scale_x(self) -> float:
        """Multiplies the pixel size along the pixel axis x."""
        return float(np.hypot(*self._columns[:, 0]) / np.hypot(*self.axes[:, 0]))

    @property
    def scale_y(self) -> float:
        """Multiplies the pixel size along the pixel axis y."""
        return float(np.hypot(*self._columns[:, 1]) / np.hypot(*self.axes[:, 1]))

    @property
    def rotation(self) -> u.Quantity:
        """Mean counter-clockwise turn of the two pixel axes on the sky."""
        first, second = self._turns
        return np.degrees(first + nearest_turn(second - first) / 2) * u.deg

    @property
    def shear(self) -> u.Quantity:
        """Difference of the turns of the two pixel axes, 0 for what five parameters can express."""
        return np.degrees(nearest_turn(self._turns[1] - self._turns[0])) * u.deg

    @property
    def _turns(self) -> np.ndarray:
        old, new = self.axes, self._columns
        cross = old[0] * new[1] - old[1] * new[0]
        return np.arctan2(cross, (old * new).sum(axis=0))

    @property
    def parameters(self) -> dict[str, float]:
        """The five parameters as plain numbers in `~sunalign.correction.UNITS`."""
        return dict(self._values)

    @cached_property
    def _values(self) -> dict[str, float]:
        return {name: float(u.Quantity(getattr(self, name)).to_value(UNITS[name])) for name in PARAMETERS}

    @property
    def moved(self) -> frozenset[str]:
        """Names of the parameters that differ from doing nothing."""
        return frozenset(name for name, value in self.parameters.items() if abs(value - _NOTHING[name]) > 1e-12)

    def error(self, name: str) -> u.Quantity:
        """1-sigma error of one parameter; NaN where none was estimated.

        Parameters
        ----------
        name : `str`
            One of `sunalign.correction.PARAMETERS`.
        """
        return self.errors.get(name, np.nan) * UNITS[name]

    @property
    def sky_matrix(self) -> np.ndarray:
        """3x3 matrix that carries uncorrected directions to corrected ones."""
        pivot = self.pivot.to_value(u.rad)
        lift = np.eye(3)
        lift[1:, 1:] = self.matrix
        return tangent_basis(*(pivot + self.shift.to_value(u.rad))).T @ lift @ tangent_basis(*pivot)

    def inverse(self) -> Correction:
        """Undo this correction: ``c.compose(c.inverse())`` does nothing."""
        columns = self._columns
        return Correction(
            shift=-self.shift,
            matrix=np.linalg.inv(self.matrix),
            pivot=self.pivot + self.shift,
            axes=columns / np.hypot(*columns),
        )

    def compose(self, then: Correction) -> Correction:
        """Apply this correction, then ``then``, as one about this one's pivot.

        Parameters
        ----------
        then : `Correction`
            About any pivot of its own.
        """
        total = then.sky_matrix @ self.sky_matrix
        start = self.pivot.to_value(u.rad)
        end = np.array(angles(total @ tangent_basis(*start)[0]))
        lifted = tangent_basis(*end) @ total @ tangent_basis(*start).T
        return Correction(
            shift=_wrapped(end - start) / ARCSEC * u.arcsec,
            matrix=lifted[1:, 1:] / lifted[0, 0],
            pivot=self.pivot,
            axes=self.axes,
        )

    def about(self, pivot: u.Quantity) -> Correction:
        """Return the same correction described about another pivot.

        Equal to second order: with a scale of 10 % and pivots 20 arcmin apart the two differ by some 0.02 arcsec at
        the edge of the Sun, and by nothing without scale.

        Parameters
        ----------
        pivot : `~astropy.units.Quantity`, shape (2,)
            (Tx, Ty) in uncorrected coordinates.
        """
        return replace(
            Correction(pivot=pivot, axes=self.axes).compose(self), errors=self.errors, covariance=self.covariance
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON; angles in arcsec, rotation in degrees."""
        return {
            **self.parameters,
            "errors": {name: float(value) for name, value in self.errors.items()},
            "covariance": None if self.covariance is None else np.asarray(self.covariance).tolist(),
            "pivot": self.pivot.to_value(u.arcsec).tolist(),
            "matrix": self.matrix.tolist(),
            "axes": self.axes.tolist(),
            "units": {name: str(UNITS[name]) for name in PARAMETERS},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Correction:
        """Inverse of `to_dict`.

        Parameters
        ----------
        values : mapping
            Of plain numbers: angles in arcsec, the matrix without unit.
        """
        try:
            covariance = values.get("covariance")
            return cls(
                shift=np.array([values["shift_x"], values["shift_y"]], float) * u.arcsec,
                matrix=np.array(values["matrix"], float),
                pivot=np.array(values["pivot"], float) * u.arcsec,
                axes=np.array(values["axes"], float),
                errors={name: float(value) for name, value in values.get("errors", {}).items()},
                covariance=None if covariance is None else np.array(covariance, float),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorrectionError(
                f"This is not a correction as Correction.to_dict() writes it: {type(error).__name__}: {error}."
            ) from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Correction):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("shift", "matrix", "pivot", "axes")
        ) and (_same(self._known_errors, other._known_errors) and _same(self.covariance, other.covariance))

    @property
    def _known_errors(self) -> np.ndarray:
        return np.array([self.errors.get(name, np.inf) for name in PARAMETERS], float)

    def __hash__(self) -> int:
        return hash((tuple(self.parameters.values()), tuple(self.pivot.value)))

    def __repr__(self) -> str:
        return f"<Correction: {self.describe()}>"

    def describe(self) -> str:
        """What moves and by how much, with errors where they are known, on one line."""
        parts, moved = [], self.moved
        for name, value in self._values.items():
            if name in moved or name in self.errors:
                error = self.errors.get(name)
                unit = "" if UNITS[name] == u.dimensionless_unscaled else f" {UNITS[name]}"
                parts.append(f"{name} {with_error(value, error)}{unit}")
        return ", ".join(parts) or "nothing moves"


def moved_pixels(grid: PixelGrid, correction: Correction) -> np.ndarray:
    """3x3 homography: a pixel of ``grid`` to the pixel whose uncorrected coordinates equal its corrected ones.

    Exact on a gnomonic grid; on another it is the family of maps that is linear in the plane tangent at the centre.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
    correction : `Correction`
    """
    return grid.inverse @ correction.sky_matrix @ grid.matrix


def with_error(value: float, error: float | None) -> str:
    """Return a number with its error, to as many digits as the error deserves.

    Parameters
    ----------
    value : `float`
    error : `float` or `None`
        1 sigma; the number alone where it is not known.
    """
    if error is None or not np.isfinite(error) or error <= 0:
        return f"{value:.6g}"
    digits = max(0, int(np.ceil(-np.log10(error))) + 1)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two arrays of errors are equal; an error that is not known equals itself."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other, equal_nan=True)


def _wrapped(difference: np.ndarray) -> np.ndarray:
    return np.array([nearest_turn(difference[0]), difference[1]])
