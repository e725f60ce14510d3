"""How little is left of the target when the reference is subtracted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sunalign.abc import Metric

__all__ = ["Residual"]

_NOISES = ("poisson", "uniform")


@dataclass(frozen=True, kw_only=True)
class Residual(Metric):
    r"""Weighted least squares: the share of the target that the reference explains, each pixel weighed by its noise.

    .. math:: \pm \left[ 1 - \frac{\min_{a, b} \sum w (t - a r - b)^2}{\min_c \sum w (t - c)^2} \right]

    with the best gain a and offset b, the sign being that of the gain; 1 is a perfect match, 0 none at all. It is the
    weighted mean squared residual, smaller being better, turned round and freed of units. 0 when the weights or either
    image leave nothing to explain; NaN when there are no pixels.

    With ``noise="poisson"`` the weights are the inverse of the expected variance,
    ``1 / (max(a r + b, 0) + floor * mean(abs(t)))``, from an unweighted fit of the reference, which is the less noisy
    of the two: weights from the data would favour pixels that came out low by chance (Wheaton et al. 1995, ApJ 438,
    322). Without the offset and for ``floor=0`` that is the ``std((ref - img) / sqrt(ref))`` that F. Auchère's tools
    call the residue. With ``noise="uniform"`` the weights are equal, and the score is the signed square of ``ncc``.

    Parameters
    ----------
    noise : {"poisson", "uniform"}
        ``"poisson"`` is for linear intensities whose zero is that of the detector; ``"uniform"`` for anything else.
    floor : `float`
        Variance, of read noise and background, in units of that of a pixel of mean intensity.
    """

    scaling: ClassVar[str] = "linear"

    noise: str = "poisson"
    floor: float = 0.3

    def __post_init__(self) -> None:
        if self.noise not in _NOISES:
            raise ValueError(f"'noise' is one of {', '.join(_NOISES)}; got {self.noise!r}.")
        if not 0 < self.floor < np.inf:
            raise ValueError(f"'floor' is above 0; got {self.floor}.")

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """See `sunalign.abc.Metric.score`."""
        valid = ~mask
        r, t = (image[valid].astype(np.float64, copy=False) for image in (reference, target))
        if r.size == 0:
            return np.nan
        fit = _Fit.of(r, t, np.ones_like(t))
        if self.noise == "poisson":
            expected = np.maximum(fit.gain * (r - fit.mean_r) + fit.mean_t, 0.0)
            variance = expected + self.floor * np.abs(t).mean()
            if variance.min() > 0:
                fit = _Fit.of(r, t, 1.0 / variance)
        return fit.explained


@dataclass(frozen=True)
class _Fit:
    """Weighted straight line through target against reference."""

    mean_r: float
    mean_t: float
    rr: float
    tt: float
    rt: float

    @classmethod
    def of(cls, r: np.ndarray, t: np.ndarray, weight: np.ndarray) -> _Fit:
        weight = weight / weight.sum()
        # About a value of the image first: an offset would cost the digits of the mean.
        mean_r, mean_t = (v[0] + float(np.einsum("i,i->", weight, v - v[0])) for v in (r, t))
        dr, dt = r - mean_r, t - mean_t
        rr, tt, rt = (float(np.einsum("i,i,i->", weight, a, b)) for a, b in ((dr, dr), (dt, dt), (dr, dt)))
        eps = 8 * np.finfo(np.float64).eps
        # Deviations that are rounding explain nothing.
        rr, tt = (0.0 if v <= (eps * m) ** 2 else v for v, m in ((rr, mean_r), (tt, mean_t)))
        return cls(mean_r, mean_t, rr, tt, rt)

    @property
    def gain(self) -> float:
        return self.rt / self.rr if self.rr > 0 else 0.0

    @property
    def explained(self) -> float:
        if self.rr <= 0 or self.tt <= 0:
            return 0.0
        correlation = float(np.clip(self.rt / np.sqrt(self.rr * self.tt), -1, 1))
        return correlation * abs(correlation)
