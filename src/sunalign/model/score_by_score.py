"""Scores of all shifts, one after the other, for metrics that have no faster way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sunalign.abc import ShiftSurface

__all__ = ["surface_of_scores"]

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def surface_of_scores(
    score: Score,
    reference: np.ndarray,
    target: np.ndarray,
    reference_mask: np.ndarray,
    target_mask: np.ndarray,
    margin: tuple[int, int],
    min_overlap: float,
) -> ShiftSurface:
    """Score every integer shift one by one; see `sunalign.abc.SupportsShiftSurface.shift_surface`.

    Parameters
    ----------
    score : callable
        As `sunalign.abc.Metric.score`.
    reference, target, reference_mask, target_mask, margin, min_overlap
        As there.
    """
    (ny, nx), (my, mx) = target.shape, margin
    least = max(min_overlap * np.count_nonzero(~target_mask), 2)
    scores, overlap = np.full((2 * my + 1, 2 * mx + 1), -np.inf), np.zeros((2 * my + 1, 2 * mx + 1), int)
    for j, i in np.ndindex(scores.shape):
        window = slice(j, j + ny), slice(i, i + nx)
        mask = target_mask | reference_mask[window]
        overlap[j, i] = np.count_nonzero(~mask)
        if overlap[j, i] >= least:
            value = score(reference[window], target, mask)
            scores[j, i] = value if np.isfinite(value) else -np.inf
    return ShiftSurface(scores, overlap, np.arange(-mx, mx + 1), np.arange(-my, my + 1))
