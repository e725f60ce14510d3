"""Mutual information of the intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sunalign.abc import Metric
from sunalign.model.interpolation import cubic_basis

__all__ = ["MutualInformation"]

# Integral of the squared cubic B-spline: neighbouring bins that share samples do not vary freely.
_SPREAD = 151 / 315
_BLOCK = 16384  # Pixels at a time: what is made of them stays in the cache.


@dataclass(frozen=True, kw_only=True)
class MutualInformation(Metric):
    r"""How much one image tells about the other, whatever the relation between their intensities.

    .. math:: \sum_{ij} p_{ij} \ln \frac{p_{ij}}{p_i p_j} - \frac{(m - 1) (s m - 1)}{2 n}

    in nats, of the joint histogram p, of m by m bins, of the n valid pixels. As in Mattes et al. 2003 (IEEE TMI 22,
    120) each sample of the reference is spread over four bins by a cubic B-spline, so that the score is smooth in the
    pointing, and the target is binned plainly. Bins divide the range of the valid values evenly. The last term is the
    information that unrelated images have in common by chance (Roulston 1999, Physica D 125, 285), s = 151 / 315 being
    what the spreading leaves of it: without it small overlaps would score high.

    About 0 or a little below for unrelated images; 0 when either image is constant; NaN when there are no pixels.
    Unchanged by a gain (above 0) and an offset of either image. For images whose relation is not a straight line, such
    as lines formed at other temperatures: bright in one may be dark in the other. Noisier than ``ncc`` where it is one.

    Parameters
    ----------
    n_bins : `int`
        Bins along either axis of the histogram. More need more pixels.
    """

    n_bins: int = 24

    def __post_init__(self) -> None:
        if self.n_bins < 5:
            raise ValueError(f"'n_bins' is at least 5; got {self.n_bins}.")

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """See `sunalign.abc.Metric.score`."""
        valid = ~mask
        r, t = (_unit(image[valid].astype(np.float64, copy=False)) for image in (reference, target))
        if r is None or t is None:
            return 0.0 if valid.any() else np.nan
        chance = (self.n_bins - 1) * (_SPREAD * self.n_bins - 1) / (2 * r.size)
        return _information(self._histogram(r, t)) - chance

    def _histogram(self, r: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Joint histogram, shape (target's bins, reference's bins), of values between 0 and 1."""
        n = self.n_bins
        counts = np.zeros(n * n)
        for start in range(0, r.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            rows = np.minimum(t[part] * n, n - 1).astype(np.intp)
            # Four bins share a sample: three fewer intervals than bins.
            position = r[part] * (n - 3)
            first = np.minimum(position, n - 4).astype(np.intp)
            corner = rows * n + first
            for k, weight in enumerate(cubic_basis(position - first)[0]):
                counts += np.bincount(corner + k, weight, n * n)
        return counts.reshape(n, n)


def _unit(values: np.ndarray) -> np.ndarray | None:
    """Values between 0 and 1; `None` when they are all alike."""
    if values.size == 0:
        return None
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else None


def _information(counts: np.ndarray) -> float:
    """Mutual information, in nats, of the two axes of a histogram."""
    joint = counts / counts.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    return float(np.sum(joint[filled] * np.log(joint[filled] / apart[filled])))
