"""Cubic B-spline sampling of an image that may hold NaN.

The spline is interpolating (Unser 1999, IEEE SPM 16, 22); `scipy.ndimage.spline_filter` makes its coefficients once.
One NaN would poison all of them: NaN are filled from their nearest valid neighbour first, and an eroded mask says
where samples can be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy import ndimage, sparse

from sunalign.model.grid_sampling import FIRST, SECOND, VALUE, GridCoefficients
from sunalign.model.smoothing import edge, gaussian_smoothed

__all__ = ["SplineImage", "cubic_basis"]

_CHUNK = 16384  # Points at a time: the sixteen taps of a chunk stay in the cache.
_EDGE = 1e-6  # Pixels by which rounding may carry a point over the outermost pixel centres.


class SplineImage:
    """An image that can be sampled between its pixels.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
        NaN where there is no valid value.
    smoothing : `float`
        Standard deviation, in pixels, of a Gaussian with which the image is smoothed first.

    Notes
    -----
    Samples outside the outermost pixel centres, and within about a pixel of a NaN, are NaN. Smoothing bridges single
    pixels that are missing.
    """

    def __init__(self, data: np.ndarray, smoothing: float = 0.0) -> None:
        self.shape = data.shape
        # Pixels at the edges, along x and y, where samples cannot be trusted.
        self._margin = edge(smoothing, data.shape[1]), edge(smoothing, data.shape[0])
        if smoothing:
            data, valid = gaussian_smoothed(data, smoothing)
        else:
            valid = np.isfinite(data)
        self.all_valid = bool(valid.all())
        if not self.all_valid:
            data = _filled(data, np.isfinite(data))
            # What a Gaussian has smoothed already lies away from gaps.
            valid = valid if smoothing else ndimage.binary_erosion(valid, np.ones((3, 3)), border_value=1)
        self.valid = valid
        # A spline commutes with constants; without the mean, single precision loses nothing that matters.
        self.mean = float(data.mean())
        coefficients = ndimage.spline_filter(data - self.mean, order=3, mode="mirror")
        # One row more at the end than the four taps need, so that the last pixel centre is an ordinary point.
        self._padded = np.pad(coefficients, ((1, 2), (1, 2)), mode="reflect")

    def sample(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Values at pixel coordinates; NaN where there are none.

        Parameters
        ----------
        x, y : `numpy.ndarray`
            0-based pixel coordinates, of one shape.
        """
        trusted, x, y = self._trusted(x, y)
        values = ndimage.map_coordinates(self._padded, [y + 1, x + 1], order=3, prefilter=False, mode="nearest")
        values += self.mean
        values[~trusted] = np.nan
        return values

    def sample_with_gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and their derivatives by x and y; NaN where there are none.

        Parameters
        ----------
        x, y : `numpy.ndarray`
            0-based pixel coordinates, of one shape.
        """
        trusted, x, y = self._trusted(x, y)
        out = np.empty((3, *x.shape))
        flat, flat_x, flat_y = out.reshape(3, -1), x.ravel(), y.ravel()
        for start in range(0, flat_x.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            flat[:, part] = self._taps(flat_x[part], flat_y[part])
        out[0] += self.mean
        out[:, ~trusted] = np.nan
        return out[0], out[1], out[2]

    def sample_separable(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Values on the grid that columns and rows span.

        Parameters
        ----------
        x, y : `numpy.ndarray`, shapes (n,) and (m,)
            Pixel coordinates of the columns and of the rows.

        Returns
        -------
        `numpy.ndarray`, shape (m, n)
            Single precision.
        """
        wx, wy = self._weights(x, 1), self._weights(y, 0)
        return self._finished(wy @ self._across(wx), x, y)

    def sample_separable_with_gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `sample_separable`, with the derivatives by x and y.

        Parameters
        ----------
        x, y : `numpy.ndarray`
            As in `sample_separable`.
        """
        wx, wy = self._weights(x, 1), self._weights(y, 0)
        dx, dy = self._weights(x, 1, slope=True), self._weights(y, 0, slope=True)
        across = self._across(wx)
        return self._finished(wy @ across, x, y), wy @ self._across(dx), dy @ across

    def sample_grid(self, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Values, in single precision, on a grid: those at the points to which a homography takes its pixels.

        Parameters
        ----------
        matrix : `numpy.ndarray`, shape (3, 3)
        shape : `tuple` of `int`
            ``(ny, nx)`` of the grid.
        """
        return self._on_grid(matrix, shape, VALUE)[0]

    def sample_grid_with_gradient(
        self, matrix: np.ndarray, shape: tuple[int, int], jacobian: np.ndarray | None = None
    ) -> np.ndarray:
        """As `sample_grid`, with two derivatives, shape (3, ny, nx).

        Parameters
        ----------
        matrix, shape
            As in `sample_grid`.
        jacobian : `numpy.ndarray`, shape (2, 2) or (2, 2, ny, nx), optional
            Derivatives of x and y of the image, as rows, by the two coordinates by which the samples' are wanted; they
            are by x and y of the image itself by default.
        """
        return self._on_grid(matrix, shape, FIRST, jacobian)

    def sample_grid_with_curvature(
        self, matrix: np.ndarray, shape: tuple[int, int], jacobian: np.ndarray | None = None
    ) -> np.ndarray:
        """As `sample_grid_with_gradient`, with derivatives by x twice, x and y, and y twice besides: (6, ny, nx)."""
        return self._on_grid(matrix, shape, SECOND, jacobian)

    def _on_grid(
        self,
        matrix: np.ndarray,
        shape: tuple[int, int],
        orders: Sequence[tuple[int, int]],
        jacobian: np.ndarray | None = None,
    ) -> np.ndarray:
        out = np.empty((len(orders), *shape), np.float32)
        # Rows of a grid have straight edges: they lie on the image if their corners do.
        corners = [0, shape[1] - 1, -shape[1], -1]
        for part, (x, y) in self._on_grids.sample(matrix, shape, orders, out):
            values = out[:, part]
            values[0] += np.float32(self.mean)
            if jacobian is not None:
                here = jacobian if jacobian.ndim == 2 else jacobian[:, :, part]
                _by_others(values, here.astype(np.float32))
            inside = bool((self._inside(x[corners], 0) & self._inside(y[corners], 1)).all())
            if not inside or not self.all_valid:
                trusted = self._valid_near(x, y) if inside else self._trusted(x, y)[0]
                values[:, ~trusted.reshape(values.shape[1:])] = np.nan
        return out

    @cached_property
    def _on_grids(self) -> GridCoefficients:
        return GridCoefficients(self._padded)

    @cached_property
    def _single_transposed(self) -> np.ndarray:
        return np.ascontiguousarray(self._padded.T, dtype=np.float32)

    def _across(self, weights: sparse.csr_matrix) -> np.ndarray:
        return np.ascontiguousarray((weights @ self._single_transposed).T)

    def _weights(self, position: np.ndarray, axis: int, *, slope: bool = False) -> sparse.csr_matrix:
        """Matrix that takes the padded coefficients of one axis to values, or derivatives, at ``position``."""
        last = self.shape[axis] - 1
        position = np.clip(position, 0, last)
        first = np.minimum(position.astype(np.intp), last)
        columns = (first[:, None] + np.arange(4)).ravel()
        rows = np.arange(0, 4 * len(position) + 1, 4)
        size = (len(position), self._padded.shape[axis])
        weights = np.stack(cubic_basis(position - first)[int(slope)], axis=1).astype(np.float32)
        return sparse.csr_matrix((weights.ravel(), columns, rows), size)

    def _finished(self, values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        values += np.float32(self.mean)
        inside_x, inside_y = self._inside(x, 0), self._inside(y, 1)
        values[:, ~inside_x] = np.nan
        values[~inside_y] = np.nan
        if not self.all_valid:
            ix, iy = (
                np.clip(np.rint(p), 0, n - 1).astype(np.intp) for p, n in ((x, self.shape[1]), (y, self.shape[0]))
            )
            values[~self.valid[np.ix_(iy, ix)]] = np.nan
        return values

    def _trusted(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where samples are good, and the coordinates with the others put on pixel (0, 0)."""
        inside = self._inside(x, 0) & self._inside(y, 1)
        x, y = np.where(inside, x, 0.0), np.where(inside, y, 0.0)
        if not self.all_valid:
            inside &= self._valid_near(x, y)
        return inside, x, y

    def _valid_near(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether samples at points on the image do not lean on pixels that are missing."""
        nearest = np.rint(y) * self.shape[1] + np.rint(x)
        return np.asarray(self.valid.ravel().take(nearest.astype(np.intp), mode="clip"))

    def _inside(self, position: np.ndarray, axis: int) -> np.ndarray:
        """Whether coordinates along x (0) or y (1) are on the image."""
        first, last = self._margin[axis], self.shape[1 - axis] - 1 - self._margin[axis]
        # Comparisons with NaN are False, which is what a point without a position needs.
        return (position >= first - _EDGE) & (position <= last + _EDGE)

    def _taps(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ix, iy = x.astype(np.intp), y.astype(np.intp)
        (wx, dx), (wy, dy) = cubic_basis(x - ix), cubic_basis(y - iy)
        width = self._padded.shape[1]
        coefficients, corner = self._padded.ravel(), iy * width + ix
        value, by_x, by_y = (np.zeros(x.size) for _ in range(3))
        for j in range(4):
            row, slope = np.zeros(x.size), np.zeros(x.size)
            for i in range(4):
                c = coefficients.take(corner + (j * width + i))
                row += c * wx[i]
                slope += c * dx[i]
            value += row * wy[j]
            by_y += row * dy[j]
            by_x += slope * wy[j]
        return value, by_x, by_y


def cubic_basis(t: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Cubic B-spline weights of the four coefficients around a point, and their slopes.

    Parameters
    ----------
    t : `numpy.ndarray`
        How far the point is past the second of the four, from 0 to 1, in pixels.
    """
    s = 1 - t
    t2, s2 = t * t, s * s
    value = (s2 * s / 6, 2 / 3 - t2 * (2 - t) / 2, 2 / 3 - s2 * (2 - s) / 2, t2 * t / 6)
    slope = (-s2 / 2, t * (1.5 * t - 2), -s * (1.5 * s - 2), t2 / 2)
    return value, slope


def _by_others(values: np.ndarray, jacobian: np.ndarray) -> None:
    """Turn derivatives by x and y, in all but the first of ``values``, into those by two other coordinates."""
    (a, b), (c, d) = jacobian
    by_x, by_y = values[1:3]
    values[1], values[2] = a * by_x + c * by_y, b * by_x + d * by_y
    if len(values) > 3:
        xx, xy, yy = values[3:]
        values[3], values[4], values[5] = (
            a * a * xx + 2 * a * c * xy + c * c * yy,
            a * b * xx + (a * d + b * c) * xy + c * d * yy,
            b * b * xx + 2 * b * d * xy + d * d * yy,
        )


def _filled(data: np.ndarray, valid: np.ndarray) -> np.ndarray:
    if not valid.any():
        return np.zeros_like(data)
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return data[tuple(nearest)]
