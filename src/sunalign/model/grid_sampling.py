"""Cubic B-spline sampling on a grid that is turned, sheared or seen askew.

As `sunalign.model.interpolation` has it for points anywhere, in single precision and some times as fast: positions are
straight between rows that are some rows apart; one product of small matrices makes all weights; the sixteen
coefficients of a point are fetched once, for the value and all derivatives; and all of it happens in blocks that stay
in the cache, with points that are neighbours in memory side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sunalign.geometry.coordinates import apply_homography

__all__ = ["FIRST", "SECOND", "VALUE", "GridCoefficients", "rows_at_once"]

#: Which derivatives to sample, as orders along x and y.
VALUE = ((0, 0),)
FIRST = ((0, 0), (1, 0), (0, 1))
SECOND = (*FIRST, (2, 0), (1, 1), (0, 2))

_BLOCK = 16384  # Points at a time.
_STRAIGHT = 1e-5  # Pixels by which a homography may deviate from a straight line between two rows of a grid.

# Weights of the four coefficients along one axis, for the value and the first two derivatives: rows are coefficients,
# columns powers of how far a point lies past the second one.
_SIXTHS = [
    [[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]],
    [[-3, 6, -3, 0], [0, -12, 9, 0], [3, 6, -9, 0], [0, 0, 3, 0]],
    [[6, -6, 0, 0], [-12, 18, 0, 0], [6, -18, 0, 0], [0, 6, 0, 0]],
]
_WEIGHTS = np.array(_SIXTHS, np.float32) / np.float32(6)


class GridCoefficients:
    """Coefficients of a cubic spline, to be sampled on grids.

    Parameters
    ----------
    padded : `numpy.ndarray`, shape (ny + 3, nx + 3)
        One row and column before, and two after, those of the image.
    """

    def __init__(self, padded: np.ndarray) -> None:
        self._width = padded.shape[1]
        self._flat = padded.astype(np.float32).ravel()

    def sample(
        self, matrix: np.ndarray, shape: tuple[int, int], orders: Sequence[tuple[int, int]], out: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Sample a grid some rows at a time.

        Parameters
        ----------
        matrix : `numpy.ndarray`, shape (3, 3)
            Homography from the grid's pixels to the image's.
        shape : `tuple` of `int`
            ``(ny, nx)`` of the grid.
        orders : sequence of `tuple` of `int`
            What to sample, such as `FIRST`: orders of the derivative by x and y of the image.
        out : `numpy.ndarray`, shape (len(orders), ny, nx), in single precision
            Where to put it.

        Yields
        ------
        `slice`, `numpy.ndarray`
            Rows of the grid that are ready, and x and y of their points, shape (2, n), which are written over by the
            next ones. What lies beyond the image has some value or other.
        """
        rows = rows_at_once(matrix, shape, _BLOCK)
        most, highest = rows * shape[1], int(np.max(orders)) + 1
        places, whole = np.empty((2, 2, most))
        powers = np.ones((4, 2 * most), np.float32)
        weights = np.empty((4 * highest, 2 * most), np.float32)
        taps, spare, *across = np.empty((2 + highest, 4 * most), np.float32)
        flat = out.reshape(len(orders), -1)
        for part, n in _located(matrix, shape, rows, places):
            xy, floor = places[:, :n], whole[:, :n]
            along_x, along_y = _all_weights(xy, floor, powers, weights)
            floor[1] *= self._width
            floor[1] += floor[0]
            tap, product, *columns = (a[: 4 * n].reshape(4, n) for a in (taps, spare, *across))
            self._gather(floor[1].astype(np.intp), along_x, columns, tap, product)
            first = part.start * shape[1]
            for found, (order_x, order_y) in zip(flat[:, first : first + n], orders, strict=True):
                np.multiply(columns[order_x], along_y[order_y], out=product)
                np.add.reduce(product, axis=0, out=found)
            yield part, xy

    def _gather(
        self, corner: np.ndarray, weights: np.ndarray, out: Sequence[np.ndarray], tap: np.ndarray, product: np.ndarray
    ) -> None:
        """Sums along x, in each of four rows, shape (4, n), with each of some sets of weights, shape (4, n)."""
        for k in range(4):
            for row in range(4):
                self._flat[row * self._width + k :].take(corner, out=tap[row], mode="clip")
            for total, weight in zip(out, weights, strict=True):
                if k:
                    np.multiply(tap, weight[k], out=product)
                    total += product
                else:
                    np.multiply(tap, weight[k], out=total)


def _all_weights(
    xy: np.ndarray, floor: np.ndarray, powers: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights along x and along y of every order, each of shape (orders, 4, n); and the pixels' corners, ``floor``."""
    n = xy.shape[1]
    np.floor(xy, out=floor)
    power, weight = powers[:, : 2 * n], weights[:, : 2 * n]
    np.subtract(xy, floor, out=power[1].reshape(2, n), casting="same_kind")
    np.multiply(power[1], power[1], out=power[2])
    np.multiply(power[1], power[2], out=power[3])
    highest = len(weights) // 4
    np.matmul(_WEIGHTS[:highest].reshape(-1, 4), power, out=weight)
    every = weight.reshape(highest, 4, 2 * n)
    return every[..., :n], every[..., n:]


def _located(matrix: np.ndarray, shape: tuple[int, int], rows: int, places: np.ndarray) -> Iterator[tuple[slice, int]]:
    """Put the positions of a grid's points, some rows at a time, into the first n of ``places``; give rows and n."""
    ny, nx = shape
    columns, past = np.arange(nx, dtype=float), np.arange(rows)[:, None] / rows
    beyond = apply_homography(matrix, columns, 0.0)
    for start in range(0, ny, rows):
        part = slice(start, min(start + rows, ny))
        n = part.stop - start
        first, beyond = beyond, apply_homography(matrix, columns, float(start + rows))
        for place, begin, end in zip(places[:, : n * nx].reshape(2, n, nx), first, beyond, strict=True):
            np.multiply(past[:n], end - begin, out=place)
            place += begin
        yield part, n * nx


def rows_at_once(matrix: np.ndarray, shape: tuple[int, int], most: int) -> int:
    """Rows of a grid between which a homography is straight to a hundred-thousandth of a pixel; 1 at least.

    Parameters
    ----------
    matrix : `numpy.ndarray`, shape (3, 3)
    shape : `tuple` of `int`
        ``(ny, nx)``.
    most : `int`
        Largest number of points in so many rows.
    """
    ny, nx = shape
    rows = max(1, most // nx)
    x, y = np.array([0.0, nx - 1, 0, nx - 1]), np.array([0.0, 0, ny - 1 + rows, ny - 1 + rows])
    numerator = matrix @ np.array([x, y, np.ones(4)])
    w = numerator[2]
    if w.min() * w.max() <= 0:
        return 1
    # Second derivative along y of a ratio of two linear functions, which is greatest in a corner.
    bend = 2 * matrix[2, 1] * (matrix[:2, 1:2] * w - numerator[:2] * matrix[2, 1]) / w**3
    with np.errstate(divide="ignore"):
        return int(np.clip(np.sqrt(8 * _STRAIGHT / np.abs(bend).max()), 1, rows))
