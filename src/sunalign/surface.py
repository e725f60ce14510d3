"""Scores over shifts, their peaks, and how far the highest stands out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["SearchSurface", "peak_ratio", "peak_significance", "peaks_of"]


class SearchSurface(NamedTuple):
    """Scores over shifts: element ``[j, i]`` belongs to ``(shift_x[j, i], shift_y[j, i])`` in arcsec."""

    scores: np.ndarray
    overlap: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray


def peak_ratio(surface: SearchSurface) -> float:
    """Second highest local peak over the highest: near 1 is ambiguous, 0 where there is no second one."""
    peaks = peaks_of(surface, 2)
    if not peaks or peaks[0][0] <= 0:
        return 1.0
    return max(peaks[1][0], 0.0) / peaks[0][0] if len(peaks) > 1 else 0.0


def peak_significance(surface: SearchSurface) -> float:
    """Height of the peak above the rest of the surface, in standard deviations of Fisher's z; NaN without a rest."""
    scores = surface.scores
    finite = np.isfinite(scores)
    if not finite.any():
        return np.nan
    z = np.arctanh(np.clip(np.where(finite, scores, 0.0), -1 + 1e-12, 1 - 1e-12))
    j, i = np.unravel_index(np.argmax(np.where(finite, scores, -np.inf)), scores.shape)
    rest = finite.copy()
    rest[max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2] = False
    if np.count_nonzero(rest) < 3 or np.ptp(z[rest]) == 0:
        return np.nan
    return float((z[j, i] - z[rest].mean()) / z[rest].std())


def peaks_of(surface: SearchSurface, most: int) -> list[tuple[float, float, float]]:
    """(score, shift_x, shift_y) of the highest local peaks, highest first, refined by a parabola."""
    scores = surface.scores
    if not np.isfinite(scores).any():
        return []
    padded = np.pad(scores, 1, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    local = np.isfinite(scores) & (scores >= windows.max(axis=(2, 3)))
    rows, columns = np.nonzero(local)
    order = np.argsort(scores[rows, columns])[::-1][:most]
    return [_refined(surface, int(rows[k]), int(columns[k])) for k in order]


def _refined(surface: SearchSurface, j: int, i: int) -> tuple[float, float, float]:
    scores = surface.scores
    dj, di = _vertex(scores[:, i], j), _vertex(scores[j], i)
    sx, sy = (_between(shift, j, i, dj, di) for shift in (surface.shift_x, surface.shift_y))
    return float(scores[j, i]), sx, sy


def _vertex(line: np.ndarray, k: int) -> float:
    """Offset of the top of the parabola through three neighbours."""
    if not 0 < k < len(line) - 1 or not np.isfinite(line[k - 1 : k + 2]).all():
        return 0.0
    left, top, right = line[k - 1 : k + 2]
    curvature = left - 2 * top + right
    return float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0


def _between(values: np.ndarray, j: int, i: int, dj: float, di: float) -> float:
    nj, ni = j + (1 if dj >= 0 else -1), i + (1 if di >= 0 else -1)
    result = values[j, i]
    if dj and 0 <= nj < values.shape[0]:
        result += abs(dj) * (values[nj, i] - values[j, i])
    if di and 0 <= ni < values.shape[1]:
        result += abs(di) * (values[j, ni] - values[j, i])
    return float(result)
