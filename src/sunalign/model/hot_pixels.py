"""Pixels that a particle hit, or that are hot or dead."""

from __future__ import annotations

import numpy as np

from sunalign.model.noise import NoiseModel, noise_model

__all__ = ["hot_pixels"]

_SIGMAS = 8.0  # Of the local noise, beyond which a pixel is out of place.
_SHARP = 0.1  # Share of an excess that any optics would give to the neighbours, at least.
_BLOCK = 16384  # Pixels at a time.
_MANY = 0.05  # So many are no defects: they are what the image shows, such as single photons.
_AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
_BESIDE = [_AROUND.index(offset) for offset in ((-1, 0), (1, 0), (0, -1), (0, 1))]


def hot_pixels(data: np.ndarray, noise: NoiseModel | None = None) -> np.ndarray:
    """Pixels far from the median of their neighbours, and alone in it.

    A point on the Sun is as wide as the point-spread function, so its neighbours share in it; those of a hot pixel do
    not. That, and not the brightness, tells them apart.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
        NaN where there is no value.
    noise : `~sunalign.model.noise.NoiseModel`, optional
        Of the image; measured by default.

    Returns
    -------
    `numpy.ndarray` of `bool`, shape (ny, nx)
        True for a pixel to be ignored.
    """
    found = np.zeros(data.shape, bool)
    if min(data.shape) < 3:
        return found
    noise = noise_model([data]) if noise is None else noise
    rows, columns = np.divmod(np.flatnonzero(_candidates(data, noise)), data.shape[1] - 2)
    places = (rows + 1) * data.shape[1] + columns + 1
    if places.size == 0 or places.size > 4 * _MANY * data.size:
        return found
    hot = places[_alone(data, places, noise)]
    if hot.size <= _MANY * np.count_nonzero(np.isfinite(data)):
        found.ravel()[hot] = True
    return found


def _candidates(data: np.ndarray, noise: NoiseModel) -> np.ndarray:
    """Inner pixels above, or below, both neighbours along both axes or along the one that holds no other hot pixel."""
    ny, nx = data.shape
    found = np.empty((ny - 2, nx - 2), bool)
    rows = max(1, _BLOCK // nx)  # Rows that stay in the cache.
    for start in range(0, ny - 2, rows):
        # In one dimension, and not in rows that are cut at both ends: the neighbours of those ends mean nothing.
        part = data[start : start + rows + 2].ravel()
        inner, below, above = part[nx:-nx], part[: -2 * nx], part[2 * nx :]
        left, right = part[nx - 1 : -nx - 1], part[nx + 1 : part.size - nx + 1]
        # Comparisons with NaN are False; of a pair with one NaN the other counts.
        higher = np.fmin(np.fmax(left, right), np.fmax(below, above))
        lower = np.fmax(np.fmin(left, right), np.fmin(below, above))
        # Whichever is farther; for a pixel between them neither is positive.
        excess = np.fmax(inner - higher, lower - inner)
        near = (excess > 0) & (excess**2 > (_SIGMAS / 2) ** 2 * noise.variance(higher))
        found[start : start + rows] = near.reshape(-1, nx)[:, 1:-1]
    return found


def _alone(data: np.ndarray, places: np.ndarray, noise: NoiseModel) -> np.ndarray:
    """Which of some pixels, by their places in the flattened image, stand out from all that is around them."""
    out = np.zeros(places.size, bool)
    kept, flat = np.arange(places.size), data.ravel()
    around = np.array([flat.take(places + (y * data.shape[1] + x)) for y, x in _AROUND])
    some = np.count_nonzero(np.isfinite(around), axis=0) >= 5
    kept, around = kept[some], around[:, some]
    middle = _median(around)
    excess = flat.take(places[kept]) - middle
    sigma = np.sqrt(noise.variance(middle))
    # Most are none by the noise alone, and need no scatter of their neighbours.
    some = np.abs(excess) > _SIGMAS * sigma
    kept, around, middle, excess, sigma = kept[some], around[:, some], middle[some], excess[some], sigma[some]
    sigma = np.maximum(sigma, 1.4826 * _median(np.abs(around - middle)))
    beside = around[_BESIDE]
    beside = np.where(np.isfinite(beside), beside, middle)
    shared = _median(beside) - middle
    out[kept] = (np.abs(excess) > _SIGMAS * sigma) & (np.sign(excess) * shared < _SHARP * np.abs(excess) + sigma / 2)
    return out


def _median(values: np.ndarray) -> np.ndarray:
    """Median along the first axis, of the few that are not NaN: `numpy.nanmedian` takes ten times as long."""
    ordered, n = np.sort(values, axis=0), len(values)  # NaN come last.
    if np.isfinite(ordered[-1]).all():
        return np.asarray((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)
    last = np.count_nonzero(np.isfinite(ordered), axis=0) - 1
    low, high = (ordered[(last + up) // 2, np.arange(last.size)] for up in (0, 1))
    return np.asarray((low + high) / 2)
