"""Normalised cross-correlation of masked images at every integer shift, by FFT.

Padfield 2012, IEEE TIP 21, 2706. Six correlations of the images, their squares and their masks give the means and
variances over each shift's own overlap, so that the result is exact: equal to cropping and correlating, shift by shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from scipy import fft

from sunalign.abc import ShiftSurface

__all__ = ["masked_ncc_surface", "transforms_kept"]

_Transforms = tuple[np.ndarray, np.ndarray, np.ndarray]

_Kept = dict[tuple[int, int, tuple[int, ...], tuple[int, ...], str], _Transforms]

# A variable of the context and not of the module: what one alignment keeps is neither seen by one in another thread nor
# left behind when it ends.
_KEPT: ContextVar[_Kept | None] = ContextVar("kept transforms", default=None)
_MOST = 4


@contextmanager
def transforms_kept() -> Iterator[None]:
    """Keep the transforms of the images met last while the ``with`` block lasts.

    A search over scales and rotations meets one target again and again.
    """
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def masked_ncc_surface(
    reference: np.ndarray,
    target: np.ndarray,
    reference_mask: np.ndarray,
    target_mask: np.ndarray,
    margin: tuple[int, int],
    min_overlap: float = 0.0,
    *,
    precision: type[np.floating] = np.float32,
) -> ShiftSurface:
    """NCC of ``target`` with ``reference`` at every shift of up to ``margin`` pixels.

    Parameters
    ----------
    reference, reference_mask : `numpy.ndarray`, shape (ny + 2 my, nx + 2 mx)
        The reference on the target's grid, widened by the margin on every side.
    target, target_mask : `numpy.ndarray`, shape (ny, nx)
    margin : `tuple` of `int`
        ``(my, mx)``.
    min_overlap : `float`
        Fraction of the target's valid pixels below which a shift scores -inf.
    precision : `type`
        Of the transforms. Errors are about 3e-6 in single and 5e-15 in double precision.

    Returns
    -------
    `~sunalign.abc.ShiftSurface`
        0 where a variance vanishes.
    """
    shape = tuple(fft.next_fast_len(n, real=True) for n in reference.shape)
    r, r2, r_valid = _transforms(reference, reference_mask, shape, precision)
    t, t2, t_valid = (np.conj(a) for a in _transforms(target, target_mask, shape, precision))

    def lags(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        # Only as much padding as the margin: lags that would wrap around are never read.
        product = fft.irfft2(a * b, shape)
        return product[: 2 * margin[0] + 1, : 2 * margin[1] + 1].astype(np.float64)

    count = np.rint(lags(r_valid, t_valid))
    safe = np.maximum(count, 1)
    sum_r, sum_t = lags(r, t_valid), lags(r_valid, t)
    covariance = lags(r, t) - sum_r * sum_t / safe
    variance_r = lags(r2, t_valid) - sum_r**2 / safe
    variance_t = lags(r_valid, t2) - sum_t**2 / safe
    scores = _ratio(covariance, variance_r, variance_t, precision)
    scores[count < max(min_overlap * np.count_nonzero(~target_mask), 1)] = -np.inf
    my, mx = margin
    return ShiftSurface(scores, count, np.arange(-mx, mx + 1), np.arange(-my, my + 1))


def _ratio(covariance: np.ndarray, var_r: np.ndarray, var_t: np.ndarray, precision: type[np.floating]) -> np.ndarray:
    # A variance that is rounding noise would give any ratio at all.
    floor = 1e2 * np.finfo(precision).eps
    good = (var_r > floor * max(var_r.max(), 0)) & (var_t > floor * max(var_t.max(), 0))
    product = np.where(good, var_r * var_t, 1.0)
    return np.where(good, np.clip(covariance / np.sqrt(product), -1, 1), 0.0)


def _transforms(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int], precision: type[np.floating]
) -> _Transforms:
    kept = _KEPT.get()
    if kept is None:
        return _transform(image, mask, shape, precision)
    # Hashing the bytes costs a hundredth of the transforms and, unlike an id, cannot take one array for another.
    key = (hash(image.tobytes()), hash(mask.tobytes()), image.shape, shape, np.dtype(precision).name)
    if key not in kept:
        while len(kept) >= _MOST:
            kept.pop(next(iter(kept)))
        kept[key] = _transform(image, mask, shape, precision)
    return kept[key]


def _transform(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int], precision: type[np.floating]
) -> _Transforms:
    valid = ~mask
    count = max(np.count_nonzero(valid), 1)
    values = np.where(valid, image, 0.0)
    values = np.where(valid, values - values.sum() / count, 0.0)
    spread = np.sqrt((values**2).sum() / count)
    if spread > 0:
        values /= spread
    values = values.astype(precision)
    return fft.rfft2(values, shape), fft.rfft2(values**2, shape), fft.rfft2(valid.astype(precision), shape)
