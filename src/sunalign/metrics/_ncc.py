"""Mean-centred normalised cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sunalign.abc import Metric, NormalEquations, ShiftSurface
from sunalign.masked_correlation import masked_ncc_surface

__all__ = ["NCC"]


@dataclass(frozen=True, kw_only=True)
class NCC(Metric):
    r"""Normalised cross-correlation of the pixels that are valid in both images.

    .. math:: \frac{\sum (r - \bar r)(t - \bar t)}{\sqrt{\sum (r - \bar r)^2 \sum (t - \bar t)^2}}

    with means and sums over the valid pixels only. In [-1, 1]; 0 when there are none or when either image is
    constant. Unchanged by a gain (above 0) and an offset of either image.
    """

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """See `sunalign.abc.Metric.score`."""
        valid = ~mask
        r, t = (_centred(image, valid) for image in (reference, target))
        if r is None or t is None:
            return 0.0
        return float(np.clip(np.dot(r, t) / np.sqrt(np.dot(r, r) * np.dot(t, t)), -1, 1))

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


def _centred(image: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
    """Valid values less their mean; `None` when they are constant to rounding."""
    values = image[valid].astype(np.float64)
    if values.size == 0:
        return None
    size = np.abs(values).max()
    # Subtracting a value of the image first keeps every digit where the offset is a million sigmas.
    values -= values[0]
    values -= values.mean()
    if np.abs(values).max() <= 8 * np.finfo(np.float64).eps * size:
        return None
    return values
