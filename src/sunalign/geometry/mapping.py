"""Pixels of one image to pixels of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from sunalign.geometry.coordinates import PixelGrid, apply_homography

__all__ = ["DirectionTransform", "PixelMapping", "homography_jacobian"]

_STEP = 1e-3  # Target pixels; one-sided differences of a map as smooth as rotation are good to 1e-6 of it.


class DirectionTransform(Protocol):
    """Moves directions from the target's observer and time to the reference's.

    One that is linear may have its 3x3 ``matrix``, which keeps the mapping of pixels a homography.
    """

    def __call__(self, directions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Directions of shape (3, ...), of any length, seen by the target in columns that broadcast with them.

        NaN where hidden.
        """


@dataclass(frozen=True, eq=False)
class PixelMapping:
    """Target pixels to reference pixels.

    Parameters
    ----------
    target, reference : `~sunalign.geometry.coordinates.PixelGrid`
    transform : callable, optional
        What happens on the sky in between: rotation of the Sun, another observer. By default both see the same sky.
    """

    target: PixelGrid
    reference: PixelGrid
    transform: DirectionTransform | None = None

    @cached_property
    def homography(self) -> np.ndarray | None:
        """3x3 matrix of the whole map where there is one."""
        linear = np.eye(3) if self.transform is None else getattr(self.transform, "matrix", None)
        if linear is not None and self.target.exact and self.reference.exact:
            matrix = self.reference.inverse @ linear @ self.target.matrix
            return matrix / matrix[2, 2]
        return None

    def __call__(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reference pixel coordinates; NaN where the reference cannot see."""
        if self.homography is not None:
            return apply_homography(self.homography, x, y)
        directions = self.target.to_directions(x, y)
        if self.transform is not None:
            directions = self.transform(directions, x if columns is None else columns)
        return self.reference.from_directions(directions)

    def jacobian(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Derivatives of the reference's pixel coordinates (X, Y) by the target's.

        Parameters
        ----------
        x, y, columns : `numpy.ndarray`
            As in a call of the mapping.

        Returns
        -------
        `numpy.ndarray`, shape (2, 2, ...)
            ``[[dX/dx, dX/dy], [dY/dx, dY/dy]]``.
        """
        if self.homography is not None:
            return homography_jacobian(self.homography, x, y)
        return self.with_jacobian(x, y, columns)[2]

    def with_jacobian(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reference pixel coordinates and their derivatives.

        Parameters
        ----------
        x, y, columns : `numpy.ndarray`
            As in a call of the mapping.

        Returns
        -------
        X, Y : `numpy.ndarray`
            Pixel coordinates in the reference.
        jacobian : `numpy.ndarray`, shape (2, 2, ...)
            As from `jacobian`.
        """
        if self.homography is not None:
            return *self(x, y), homography_jacobian(self.homography, x, y)
        # All in one call: for a few thousand points NumPy's overhead is most of the cost.
        px, py = self(np.array([x, x + _STEP, x]), np.array([y, y, y + _STEP]), x if columns is None else columns)
        return px[0], py[0], np.array([px[1:] - px[0], py[1:] - py[0]]) / _STEP

    def footprint(self) -> tuple[np.ndarray, np.ndarray]:
        """Reference pixel coordinates of the target's outline and of a coarse net inside it."""
        ny, nx = self.target.shape
        x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, 17), np.linspace(-0.5, ny - 0.5, 17))
        return self(x, y)


def homography_jacobian(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Derivatives of `~sunalign.geometry.coordinates.apply_homography`.

    Parameters
    ----------
    matrix : `numpy.ndarray`, shape (3, 3)
    x, y : `numpy.ndarray`
        Where, of one shape.

    Returns
    -------
    `numpy.ndarray`, shape (2, 2, ...)
        Of the moved x and y as rows, by x and y as columns.
    """
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    moved = apply_homography(matrix, x, y)
    return np.array([[(matrix[k, i] - moved[k] * matrix[2, i]) / w for i in range(2)] for k in range(2)])
