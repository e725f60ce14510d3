"""How noisy an image is, as a function of its intensity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["NoiseModel", "noise_model", "tiles_of"]

_TILE = 64  # Side, in pixels, of the parts that are looked at.
_MOST_TILES = 16
_GOLDEN = (np.sqrt(5) - 1) / 2
_BINS = 8  # Of intensity, in which the noise is measured.


@dataclass(frozen=True)
class NoiseModel:
    """Variance of the noise as a function of the intensity, ``read + gain * intensity``.

    Parameters
    ----------
    read : `float`
        Variance at zero.
    gain : `float`
        Variance for each unit of intensity, as photons make it.
    """

    read: float = 0.0
    gain: float = 0.0

    def variance(self, intensity: np.ndarray | float) -> np.ndarray:
        """Expected variance of pixels of this intensity.

        Parameters
        ----------
        intensity : `numpy.ndarray` or `float`
            Not yet scaled; below 0 as at 0.
        """
        return np.asarray(self.read + self.gain * np.maximum(intensity, 0.0))


def noise_model(arrays: Iterable[np.ndarray]) -> NoiseModel:
    """Noise of images of one detector: what a smooth surface leaves of 3x3 pixels (Immerkær 1996, CVIU 64, 300).

    Parameters
    ----------
    arrays : iterable of `numpy.ndarray`, each of shape (ny, nx)
        NaN where there is no value.
    """
    means, residuals = [np.empty(0)], [np.empty(0)]
    for tile in tiles_of(arrays):
        if min(tile.shape) < 3:
            continue
        rows = tile[:-2] - 2 * tile[1:-1] + tile[2:], tile[:-2] + tile[1:-1] + tile[2:]
        residual = (rows[0][:, :-2] - 2 * rows[0][:, 1:-1] + rows[0][:, 2:]) / 6
        mean = (rows[1][:, :-2] + rows[1][:, 1:-1] + rows[1][:, 2:]) / 9
        good = np.isfinite(residual)
        means.append(mean[good])
        residuals.append(residual[good])
    mean, residual = np.concatenate(means), np.abs(np.concatenate(residuals))
    if mean.size < 16 * _BINS:
        return NoiseModel()
    order = np.array_split(np.argsort(mean), _BINS)
    level = np.array([mean[part].mean() for part in order])
    variance = np.array([_robust_variance(residual[part]) for part in order])
    return _line(level, variance)


def _robust_variance(residual: np.ndarray) -> float:
    """Of a normal distribution with this median absolute value."""
    middle = 1.4826 * _median(residual)
    # Where most pixels hold no photon at all the median says nothing.
    return middle**2 if middle > 0 else float(np.mean(residual**2))


def _median(values: np.ndarray) -> float:
    """As `numpy.median`, of values that are all finite, in a fraction of the time."""
    half = values.size // 2
    ordered = np.partition(values, half)
    return float(ordered[half] if values.size % 2 else (ordered[:half].max() + ordered[half]) / 2)


def _line(level: np.ndarray, variance: np.ndarray) -> NoiseModel:
    """Straight line through most of the variances (Theil & Sen): hot pixels and structure spoil some of them."""
    i, j = np.triu_indices(len(level), 1)
    apart = level[j] > level[i]
    if not apart.any():
        return NoiseModel(float(np.median(variance)))
    i, j = i[apart], j[apart]
    gain = max(float(np.median((variance[j] - variance[i]) / (level[j] - level[i]))), 0.0)
    return NoiseModel(max(float(np.median(variance - gain * level)), 0.0), gain)


def tiles_of(arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Some parts of the images, spread over them, of those with the fewest gaps.

    Parameters
    ----------
    arrays : iterable of `numpy.ndarray`, each of shape (ny, nx)
    """
    found = [tile for array in arrays for tile in _cut(array)]
    if len(found) <= _MOST_TILES:
        return found
    # Steps of the golden section do not fall on one column of tiles again and again.
    some = [found[int(k * _GOLDEN * len(found)) % len(found)] for k in range(2 * _MOST_TILES)]
    return sorted(some, key=lambda tile: -np.count_nonzero(np.isfinite(tile)))[:_MOST_TILES]


def _cut(array: np.ndarray) -> list[np.ndarray]:
    ny, nx = array.shape
    rows, columns = (range(0, max(1, n - _TILE + 1), _TILE) for n in (ny, nx))
    return [array[y : y + _TILE, x : x + _TILE] for y in rows for x in columns]
