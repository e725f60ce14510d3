"""Correlation of the intensity gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sunalign.abc import Metric
from sunalign.metrics._ncc import NCC

__all__ = ["GradientCorrelation"]


@dataclass(frozen=True, kw_only=True)
class GradientCorrelation(Metric):
    r"""Mean of the correlations of the derivatives along x and along y (Penney et al. 1998, IEEE TMI 17, 586).

    .. math:: \tfrac12 [\mathrm{ncc}(\partial_x r, \partial_x t) + \mathrm{ncc}(\partial_y r, \partial_y t)]

    Derivatives are differences of pixels ``reach`` to either side; where one of the two, or the pixel itself, is
    masked, so is the derivative. Either axis is correlated on its own, so that pixels need not be square. An axis
    along which there is no derivative is left out; NaN when there is none at all.

    In [-1, 1]. Unchanged by a gain (above 0) and a linear background of either image, and hardly by any smooth one:
    stray light, an unrelated corona, a bad flat field. Feels noise more than ``ncc``.

    Parameters
    ----------
    reach : `int` or `tuple` of `int`
        Pixels of the target, (x, y) if two. Half a resolution element is best: less sees noise, more sees background.
    """

    reach: int | tuple[int, int] = 2

    def __post_init__(self) -> None:
        reach = self.reach if isinstance(self.reach, (tuple, list)) else (self.reach,)
        if len(reach) not in (1, 2) or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in reach):
            raise ValueError(f"'reach' is a number of pixels, at least 1, or two of them (x, y); got {self.reach!r}.")

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """See `sunalign.abc.Metric.score`."""
        reach = self.reach if isinstance(self.reach, (tuple, list)) else (self.reach, self.reach)
        scores = []
        for axis, n in zip((1, 0), reach, strict=True):
            masked = _eroded(mask, int(n), axis)
            if not masked.all():
                r, t = (_difference(image, int(n), axis) for image in (reference, target))
                scores.append(NCC().score(r, t, masked))
        return float(np.mean(scores)) if scores else np.nan


def _parts(image: np.ndarray, n: int, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels before, at and after those that have ``n`` neighbours on either side."""
    image = np.moveaxis(image, axis, 0)
    size = max(image.shape[0] - 2 * n, 0)
    before, at, after = (np.moveaxis(image[k * n : k * n + size], 0, axis) for k in range(3))
    return before, at, after


def _difference(image: np.ndarray, n: int, axis: int) -> np.ndarray:
    before, _, after = _parts(image, n, axis)
    # Junk under the mask may be infinite; what it gives is masked.
    with np.errstate(invalid="ignore", over="ignore"):
        return np.subtract(after, before, dtype=np.float64)


def _eroded(mask: np.ndarray, n: int, axis: int) -> np.ndarray:
    before, at, after = _parts(mask, n, axis)
    return before | at | after
