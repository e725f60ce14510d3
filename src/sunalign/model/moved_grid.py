"""Where the pixels of a target are tried, and how that changes with the parameters, as matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sunalign.geometry.coordinates import ARCSEC, PixelGrid, tangent_basis

__all__ = ["MovedGrid"]

_SHIFTS = ("shift_x", "shift_y")
_SCALES = ("scale_x", "scale_y")
_QUARTER_TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class MovedGrid:
    """A target's pixels, moved by shift, scale and rotation.

    `sunalign.Correction` says the same in Quantities, which take a thousand times as long as the matrices.

    Parameters
    ----------
    base : `~sunalign.geometry.coordinates.PixelGrid`
    pivot : `tuple` of `float`
        Pixel about which scale and rotation act.
    """

    base: PixelGrid
    pivot: tuple[float, float]

    @cached_property
    def axes(self) -> np.ndarray:
        """Unit vectors on the sky along the pixel axes at the pivot, shape (2, 2) as columns."""
        return self.base.axes(*self.pivot)

    @cached_property
    def pivot_angles(self) -> tuple[float, float]:
        """Tx and Ty of the pivot in radians."""
        tx, ty = self.base.angles(*self.pivot)
        return float(tx), float(ty)

    def matrix(self, values: Mapping[str, float]) -> np.ndarray:
        """Homography from a pixel of ``base`` to the one where it is tried, shape (3, 3).

        Parameters
        ----------
        values : mapping
            All five parameters, in `~sunalign.correction.UNITS`.
        """
        return np.asarray(self._turned_back(values) @ _lifted(self.stretch(values), 1.0) @ self._about_pivot)

    def derivatives(self, values: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
        """Derivatives of `matrix` by some parameters, shape (p, 3, 3).

        Parameters
        ----------
        values : mapping
            As in `matrix`.
        names : sequence of `str`, length p
            Which of `~sunalign.correction.PARAMETERS`.
        """
        lifted = _lifted(self.stretch(values), 1.0)
        changes = np.array([self._change(name, values, lifted) for name in names]).reshape(-1, 3, 3)
        return np.asarray(self._turned_back(values) @ changes @ self._about_pivot)

    def stretch(self, values: Mapping[str, float]) -> np.ndarray:
        """2x2: offset on the sky from the pivot to where it is tried, but for the shift.

        Parameters
        ----------
        values : mapping
            As in `matrix`.
        """
        scales = np.array([values[name] for name in _SCALES])
        return _turn(values) @ (self.axes * scales) @ self._axes_inverse

    def _change(self, name: str, values: Mapping[str, float], lifted: np.ndarray) -> np.ndarray:
        """Derivative by one parameter, between `_turned_back` and `_about_pivot`."""
        if name == "rotation":
            return _lifted(np.radians(_QUARTER_TURN @ lifted[1:, 1:]), 0.0)
        if name in _SCALES:
            k = _SCALES.index(name)
            return _lifted(_turn(values) @ np.outer(self.axes[:, k], self._axes_inverse[k]), 0.0)
        # Of the basis tangent at the pivot, by its two angles.
        latitude = self.pivot_angles[1] + ARCSEC * values["shift_y"]
        cos, sin = ARCSEC * math.cos(latitude), ARCSEC * math.sin(latitude)
        by_tx = np.array([[0, -cos, 0], [cos, 0, -sin], [0, sin, 0]])
        by_ty = np.array([[0, 0, -ARCSEC], [0, 0, 0], [ARCSEC, 0, 0]])
        return np.asarray((by_tx, by_ty)[_SHIFTS.index(name)] @ lifted)

    def _turned_back(self, values: Mapping[str, float]) -> np.ndarray:
        """From the plane tangent at the moved pivot to the pixels of ``base``."""
        tx, ty = (p + ARCSEC * values[name] for p, name in zip(self.pivot_angles, _SHIFTS, strict=True))
        return np.asarray(self.base.inverse @ tangent_basis(tx, ty).T)

    @cached_property
    def _about_pivot(self) -> np.ndarray:
        return tangent_basis(*self.pivot_angles) @ self.base.matrix

    @cached_property
    def _axes_inverse(self) -> np.ndarray:
        return np.linalg.inv(self.axes)


def _turn(values: Mapping[str, float]) -> np.ndarray:
    angle = math.radians(values["rotation"])
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _lifted(linear: np.ndarray, along: float) -> np.ndarray:
    """3x3 matrix with a linear map of the tangent plane in it."""
    lift = np.zeros((3, 3))
    lift[0, 0] = along
    lift[1:, 1:] = linear
    return lift
