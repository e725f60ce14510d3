"""Correlation of the ranks of the intensities."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from sunalign.abc import Metric


@dataclass(frozen=True, kw_only=True)
class RankCorrelation(Metric):
    """Spearman's rank correlation of the pixels that are valid in both images.

    In [-1, 1], and 1 for any relation between the intensities that only rises. 0 when there are no pixels or either
    image is constant.

    Parameters
    ----------
    decimals : `int` or `None`
        Digits to which intensities are rounded first, so that differences below the noise are no differences.
    """

    decimals: int | None = None

    def __post_init__(self) -> None:
        if self.decimals is not None and self.decimals < 0:
            raise ValueError(f"'decimals' is at least 0, or None; got {self.decimals}.")

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """See `sunalign.abc.Metric.score`."""
        valid = ~mask
        if not valid.any():
            return 0.0
        r, t = (rankdata(self._rounded(image[valid])) for image in (reference, target))
        if np.ptp(r) == 0 or np.ptp(t) == 0:
            return 0.0
        return float(np.clip(np.corrcoef(r, t)[0, 1], -1, 1))

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        return values if self.decimals is None else np.round(values, self.decimals)
