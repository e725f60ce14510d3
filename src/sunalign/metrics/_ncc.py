"""Mean-centred normalised cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sunalign.abc import Metric, NormalEquations, ShiftSurface
from sunalign.masked_correlation import masked_ncc_surface

__all__ = ["NCC"]

_BLOCK = 16384  # Pixels at a time.


@dataclass(frozen=True, kw_only=True)
class NCC(Metric):
    r"""Normalised cross-correlation of the pixels that are valid in both images.

    .. math:: \frac{\sum (r - \bar r)(t - \bar t)}{\sqrt{\sum (r - \bar r)^2 \sum (t - \bar t)^2}}

    with means and sums over the valid pixels only. In [-1, 1]; 0 when there are none or when either image is
    constant. Unchanged by a gain (above 0) and an offset of either image.
    """

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """See `sunalign.abc.Metric.score`."""
        moments = _moments(reference, target, ~mask)
        if moments is None:
            return 0.0
        rr, tt, rt = moments
        return float(np.clip(rt / np.sqrt(rr * tt), -1, 1))

    def shift_surface(
        self,
        reference: np.ndarray,
        target: np.ndarray,
        reference_mask: np.ndarray,
        target_mask: np.ndarray,
        margin: tuple[int, int],
        min_overlap: float,
    ) -> ShiftSurface:
        """See `sunalign.abc.SupportsShiftSurface`."""
        return masked_ncc_surface(reference, target, reference_mask, target_mask, margin, min_overlap)

    def normal_equations(
        self, reference: np.ndarray, jacobian: np.ndarray, target: np.ndarray, mask: np.ndarray
    ) -> NormalEquations:
        """See `sunalign.abc.SupportsGaussNewton`.

        Gain and offset are projected out, as in ECC (Evangelidis & Psarakis 2008, IEEE PAMI 30, 1858): the model is
        ``t = a m + b`` with a and b the best for every trial.
        """
        valid = ~mask
        p, n = len(jacobian), int(np.count_nonzero(valid))
        m, t = (_centred(image, valid) for image in (reference, target))
        if m is None or t is None:
            return NormalEquations(0.0, np.zeros(p), np.eye(p), np.zeros((p, *mask.shape)), n)
        mm, mt = np.dot(m, m), np.dot(m, t)
        gain = mt / mm
        g = np.stack([row[valid].astype(np.float64) for row in jacobian])
        g -= g.mean(axis=1, keepdims=True)
        gm = g @ m
        hessian = gain**2 * (g @ g.T - np.outer(gm, gm) / mm)
        gradient = gain * (g @ t - gain * gm)
        residual = t - gain * m
        # Orthogonal to m and to constants: what is left when the gain and the offset have taken their share.
        g -= np.outer(gm / mm, m)
        contributions = np.zeros((p, *mask.shape))
        contributions[:, valid] = gain * g * residual
        score = float(np.clip(mt / np.sqrt(mm * np.dot(t, t)), -1, 1))
        return NormalEquations(score, gradient, hessian, contributions, n)


def _moments(reference: np.ndarray, target: np.ndarray, valid: np.ndarray) -> tuple[float, float, float] | None:
    """Sums over the valid pixels of r r, t t and r t about the means; `None` if there are none or either is constant.

    Block by block, so that every copy stays in the cache, each about its own means, joined as in Chan, Golub & LeVeque
    1983 (The American Statistician 37, 242): as exact as two passes over all.
    """
    ny, nx = valid.shape
    rows = max(1, _BLOCK // max(nx, 1))
    n, mean_r, mean_t, rr, tt, rt = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    first: tuple[float, float] | None = None
    for start in range(0, ny, rows):
        part = slice(start, start + rows)
        where = valid[part]
        r, t = (image[part][where].astype(np.float64, copy=False) for image in (reference, target))
        if r.size == 0:
            continue
        # Subtracting a value of the image first keeps every digit where the offset is a million sigmas.
        first = first or (float(r[0]), float(t[0]))
        r -= first[0]
        t -= first[1]
        m, own_r, own_t = r.size, float(r.sum()) / r.size, float(t.sum()) / t.size
        r -= own_r
        t -= own_t
        n += m
        apart_r, apart_t, share = own_r - mean_r, own_t - mean_t, m * (n - m) / n
        rr += _dot(r, r) + apart_r * apart_r * share
        tt += _dot(t, t) + apart_t * apart_t * share
        rt += _dot(r, t) + apart_r * apart_t * share
        mean_r += apart_r * m / n
        mean_t += apart_t * m / n
    if first is None or _is_rounding(rr / n, first[0]) or _is_rounding(tt / n, first[1]):
        return None
    return rr, tt, rt


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # BLAS splits long sums between its threads, whose number differs between this process and a worker.
    return float(np.einsum("i,i->", a, b))


def _centred(image: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
    """Valid values less their mean; `None` when they are constant to rounding."""
    values = image[valid].astype(np.float64, copy=False)
    if values.size == 0:
        return None
    first = float(values[0])
    values -= first
    values -= values.mean()
    return None if _is_rounding(_dot(values, values) / values.size, first) else values


def _is_rounding(variance: float, value: float) -> bool:
    """Whether the deviations are no more than what rounding makes of values like this one."""
    return bool(variance <= (8 * np.finfo(np.float64).eps * value) ** 2)
