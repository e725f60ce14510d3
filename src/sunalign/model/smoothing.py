"""Gaussian smoothing of images that have gaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["bridged", "edge", "gaussian_smoothed", "kernel"]

_REACH = 3.0  # Standard deviations at which the Gaussian is cut off.
_ENOUGH = 0.97  # Share of a Gaussian's weight that has to lie on valid pixels, or on lone gaps between them.
_QUANTILE = 1.88  # Standard deviations from an edge at which that share is reached.
_BLOCK = 16384  # Pixels at a time.


def gaussian_smoothed(data: np.ndarray, width: float | tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Image smoothed by a Gaussian over its valid pixels, and where nearly all of these were there.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
        NaN where there is no value.
    width : `float` or `tuple` of `float`
        Standard deviation in pixels, or one along each axis.

    Returns
    -------
    `numpy.ndarray`, `numpy.ndarray` of `bool`, both of shape (ny, nx)
        Smoothed values, NaN only where no valid pixel is near; and True where they can be trusted, which includes the
        places of single missing pixels. The edges of the image are not told apart; see `edge`.
    """
    valid = np.isfinite(data)
    if not valid.all():
        data, valid = bridged(data, valid)
    if valid.all():
        return _filtered(data, width), valid
    weight = _filtered(valid.astype(float), width)
    # About the mean of the valid ones, so that rounding is that of the deviations.
    mean = float(data[valid].mean()) if valid.any() else 0.0
    total = _filtered(np.where(valid, data - mean, 0.0), width)
    near = weight > 1e-3
    return np.where(near, mean + total / np.where(near, weight, 1.0), np.nan), weight > _ENOUGH


def edge(width: float, n: int) -> int:
    """Pixels at either end of a row that see too much of what is beyond: the inside, mirrored.

    Parameters
    ----------
    width : `float`
        Of the Gaussian, in pixels.
    n : `int`
        Pixels of the row.
    """
    return min(int(np.ceil(_QUANTILE * width - 0.5)), n // 8) if width > 0 else 0


def bridged(data: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill lone gaps by the mean of their neighbours, six of which at least are there.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    valid : `numpy.ndarray` of `bool`, shape (ny, nx)
        False where there is a gap.

    Returns
    -------
    `numpy.ndarray`, `numpy.ndarray` of `bool`, both of shape (ny, nx)
        The same arrays where there is nothing to fill.
    """
    rows, columns = np.nonzero(~valid[1:-1, 1:-1])
    rows, columns = rows + 1, columns + 1
    around = [(rows + y, columns + x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    count = np.sum([valid[at] for at in around], axis=0)
    lone = count >= 6
    if not lone.any():
        return data, valid
    total = np.sum([np.where(valid[at], data[at], 0.0) for at in around], axis=0)
    data, valid = data.copy(), valid.copy()
    data[rows[lone], columns[lone]] = total[lone] / count[lone]
    valid[rows[lone], columns[lone]] = True
    return data, valid


def _filtered(data: np.ndarray, width: float | tuple[float, float]) -> np.ndarray:
    """Convolution with a Gaussian, in rows that stay in the cache: half the time of `scipy.ndimage.gaussian_filter`."""
    along_y, along_x = (kernel(float(w)) for w in np.broadcast_to(width, 2))
    (ry, rx), (ny, nx) = (len(along_y) - 1, len(along_x) - 1), data.shape
    padded = np.pad(data, ((ry, ry), (rx, rx)), mode="reflect")
    out, rows = np.empty((ny, nx)), max(1, _BLOCK // padded.shape[1])
    wide, spare = np.empty((2, rows, padded.shape[1]))
    for start in range(0, ny, rows):
        n = min(rows, ny - start)
        _weighted([padded[start + k : start + k + n] for k in range(2 * ry + 1)], along_y, wide[:n], spare[:n])
        part = out[start : start + n]
        _weighted([wide[:n, k : k + nx] for k in range(2 * rx + 1)], along_x, part, spare[:n, :nx])
    return out


def _weighted(taps: Sequence[np.ndarray], weights: np.ndarray, out: np.ndarray, spare: np.ndarray) -> None:
    """Sum of an odd number of taps with weights that are the same to either side of the middle one."""
    middle = len(weights) - 1
    np.multiply(taps[middle], weights[0], out=out)
    for k in range(1, middle + 1):
        np.add(taps[middle - k], taps[middle + k], out=spare)
        spare *= weights[k]
        out += spare


def kernel(width: float) -> np.ndarray:
    """Weights of a Gaussian from its middle outwards.

    Parameters
    ----------
    width : `float`
        Standard deviation in pixels; 0 for a single weight.
    """
    offsets = np.arange(int(_REACH * width + 0.5) + 1)
    half = np.exp(-0.5 * (offsets / width) ** 2) if width > 0 else np.ones(1)
    return np.asarray(half / (half[0] + 2 * half[1:].sum()))
