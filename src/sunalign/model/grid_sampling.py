"""Cubic B-spline sampling on a grid that is turned, sheared or seen askew.

As `sunalign.model.interpolation` has it for points anywhere, in single precision and some times as fast: the four
coefficients above each other lie side by side in memory, so that four gathers fetch all sixteen, for the value and both
derivatives; positions come from the grid's matrix row by row; and all of it happens in blocks that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sunalign.geometry.coordinates import apply_homography

__all__ = ["PackedCoefficients", "nearly_affine"]

_BLOCK = 8192  # Points at a time.
_AFFINE = 1e-4  # Pixels of deviation below which a homography is taken for affine.

# Weights of the four coefficients along one axis, and their slopes: rows are coefficients, columns powers of how far a
# point lies past the second one.
_VALUE = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6
_SLOPE = np.array([[-3, 6, -3, 0], [0, -12, 9, 0], [3, 6, -9, 0], [0, 0, 3, 0]]) / 6


def _four_times(weights: np.ndarray) -> np.ndarray:
    """Shape (4, 4, 4): for each coefficient, a matrix from powers to its weight, once for each of four rows."""
    return np.repeat(weights[:, :, None], 4, axis=2).astype(np.float32)


_ALONG_X, _ALONG_X_SLOPE = _four_times(_VALUE), _four_times(_SLOPE)
_ALONG_Y, _ALONG_Y_SLOPE = (np.ascontiguousarray(weights.T, dtype=np.float32) for weights in (_VALUE, _SLOPE))
_ONES = np.ones(4, np.float32)

_OFFSETS = np.array([(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)]).T


class _Positions(NamedTuple):
    """Some rows of a grid: which points, and where they are on the image."""

    part: slice
    x: np.ndarray
    y: np.ndarray


class PackedCoefficients:
    """Coefficients of a cubic spline, arranged for sampling on grids.

    Parameters
    ----------
    padded : `numpy.ndarray`, shape (ny + 3, nx + 3)
        One row and column before, and two after, those of the image.
    """

    def __init__(self, padded: np.ndarray) -> None:
        rows, self._width = padded.shape
        packed = np.zeros((rows, self._width, 4), np.float32)
        for k in range(4):
            packed[: rows - k, :, k] = padded[k:]
        self._packed = packed.reshape(-1, 4)

    def sample(
        self, matrix: np.ndarray, shape: tuple[int, int], *, with_gradient: bool
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, list[np.ndarray]]]:
        """Sample a grid some rows at a time.

        Parameters
        ----------
        matrix : `numpy.ndarray`, shape (3, 3)
            Homography from the grid's pixels to the image's.
        shape : `tuple` of `int`
            ``(ny, nx)`` of the grid.
        with_gradient : `bool`
            Whether to have the derivatives by x and y of the image as well.

        Yields
        ------
        `slice`, `numpy.ndarray`, `numpy.ndarray`, `list`
            Rows of the grid; x and y of their points, in one dimension; and the value, or the value and both
            derivatives, there. What lies beyond the image has some value or other. All but the slice are written over
            by the next rows.
        """
        most = max(1, _BLOCK // shape[1]) * shape[1]
        taps, across, slopes, spare = (np.empty((most, 4), np.float32) for _ in range(4))
        weights = np.empty((4, most, 4), np.float32)
        found = [np.empty(most, np.float32) for _ in range(3 if with_gradient else 1)]
        for part, x, y in _rows(matrix, shape, most // shape[1]):
            n = x.size
            corner, powers_x, powers_y = self._located(x, y)
            values = [array[:n] for array in found]
            self._gather(corner, _weights(powers_x, _ALONG_X, weights), across[:n], taps[:n])
            _sum_of_products(across[:n], powers_y.T @ _ALONG_Y, spare[:n], values[0])
            if with_gradient:
                self._gather(corner, _weights(powers_x, _ALONG_X_SLOPE, weights), slopes[:n], taps[:n])
                _sum_of_products(slopes[:n], powers_y.T @ _ALONG_Y, spare[:n], values[1])
                _sum_of_products(across[:n], powers_y.T @ _ALONG_Y_SLOPE, spare[:n], values[2])
            yield part, x, y, values

    def _located(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Index of the first of each point's coefficients, and powers, shape (4, n), of how far it is past them."""
        column, row = np.floor(x), np.floor(y)
        powers = _powers(x - column), _powers(y - row)
        row *= self._width
        row += column
        return row.astype(np.intp), *powers

    def _gather(self, corner: np.ndarray, weights: np.ndarray, out: np.ndarray, spare: np.ndarray) -> None:
        """Sums along x, of each of four rows, shape (n, 4)."""
        for k in range(4):
            into = spare if k else out
            self._packed[k:].take(corner, axis=0, out=into, mode="clip")
            into *= weights[k]
            if k:
                out += spare


def _powers(t: np.ndarray) -> np.ndarray:
    powers = np.empty((4, t.size), np.float32)
    powers[0] = 1.0
    powers[1] = t
    np.multiply(powers[1], powers[1], out=powers[2])
    np.multiply(powers[1], powers[2], out=powers[3])
    return powers


def _weights(powers: np.ndarray, matrices: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Weight of each of four coefficients, four times over, shape (4, n, 4)."""
    return np.matmul(powers.T, matrices, out=out[:, : powers.shape[1]])


def _sum_of_products(a: np.ndarray, b: np.ndarray, spare: np.ndarray, out: np.ndarray) -> None:
    np.multiply(a, b, out=spare)
    np.dot(spare, _ONES, out=out)


def _rows(matrix: np.ndarray, shape: tuple[int, int], rows: int) -> Iterator[_Positions]:
    """Positions of a grid's points, some rows at a time."""
    ny, nx = shape
    affine = nearly_affine(matrix, shape)
    columns = np.arange(nx, dtype=float)
    for start in range(0, ny, rows):
        part = slice(start, min(start + rows, ny))
        j = np.arange(part.start, part.stop, dtype=float)[:, None]
        if affine is None:
            x, y = apply_homography(matrix, columns, j)
        else:
            x, y = (affine[k, 0] * columns + (affine[k, 1] * j + affine[k, 2]) for k in range(2))
        yield _Positions(part, x.ravel(), y.ravel())


def nearly_affine(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """Affine map, shape (2, 3), that is a homography to a ten-thousandth of a pixel all over a grid; `None` if none is.

    Parameters
    ----------
    matrix : `numpy.ndarray`, shape (3, 3)
    shape : `tuple` of `int`
        ``(ny, nx)``.
    """
    ny, nx = shape
    cx, cy = (nx - 1) / 2, (ny - 1) / 2
    # Corners, middles of the sides and the centre; least squares, for which these offsets are orthogonal.
    seen = np.array(apply_homography(matrix, cx + cx * _OFFSETS[0], cy + cy * _OFFSETS[1]))
    along = seen @ _OFFSETS.T / 6
    middle = seen.mean(axis=1)
    if np.abs(along @ _OFFSETS + middle[:, None] - seen).max() >= _AFFINE:
        return None
    linear = along / np.maximum([cx, cy], 0.5)
    return np.column_stack([linear, middle - linear @ [cx, cy]])
