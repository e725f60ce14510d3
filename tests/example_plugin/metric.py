"""A metric of one line."""

from dataclasses import dataclass

import numpy as np

from sunalign.abc import Metric


@dataclass(frozen=True, kw_only=True)
class SignAgreement(Metric):
    """How often both images are brighter, or both darker, than their own median.

    From 0 to 1, and about 0.5 for unrelated images. It is as robust as it is coarse. NaN when there is nothing to
    compare.
    """

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        r, t = reference[~mask], target[~mask]
        if r.size == 0:
            return np.nan
        return float(np.mean((r > np.median(r)) == (t > np.median(t))))
