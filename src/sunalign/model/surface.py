"""Scores over shifts, their peaks, and how far the highest stands out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = [
    "SearchSurface",
    "allowing_for_edges",
    "fisher_significance",
    "peak_ratio",
    "peak_significance",
    "peaks_of",
    "pixels_at_peak",
    "top_and_rival",
    "wider_than_a_peak",
]


_PEAK = 3.0  # Radius, in pixels, of what belongs to one peak.
_OTHERS = 5  # Shifts beyond that radius without which nothing can be said of the peak.
_NEAR_ONE = 1 - 1e-9


class SearchSurface(NamedTuple):
    """Scores over shifts: element ``[j, i]`` belongs to ``(shift_x[j, i], shift_y[j, i])`` in arcsec.

    Parameters
    ----------
    scores : `numpy.ndarray`, shape (n_y, n_x)
        -inf where there was too little overlap.
    overlap : `numpy.ndarray`, shape (n_y, n_x)
        How many pixels were compared.
    shift_x, shift_y : `numpy.ndarray`, shape (n_y, n_x)
        Arcsec.
    """

    scores: np.ndarray
    overlap: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray


def peak_ratio(surface: SearchSurface) -> float:
    """Second highest local peak over the highest: near 1 is ambiguous, 0 where there is no second one.

    Parameters
    ----------
    surface : `SearchSurface`
    """
    peaks = peaks_of(surface, 2)
    if not peaks or peaks[0][0] <= 0:
        return 1.0
    return max(peaks[1][0], 0.0) / peaks[0][0] if len(peaks) > 1 else 0.0


def peak_significance(
    surface: SearchSurface, n_pixels: int, significance: Callable[[float, float, int], float] | None = None
) -> float:
    """How far the highest peak stands above every other shift, in standard errors.

    Parameters
    ----------
    surface : `SearchSurface`
    n_pixels : `int`
        Number of pixels that were compared.
    significance : callable, optional
        As `sunalign.abc.SupportsJudgement.significance`; by default the scores are correlations.

    Returns
    -------
    `float`
        NaN where the surface is no wider than the peak itself.
    """
    found = top_and_rival(surface)
    if found is None:
        return np.nan
    significance = significance or fisher_significance
    top, rival = (float(surface.scores[index]) for index in found)
    return significance(top, rival, n_pixels)


def top_and_rival(surface: SearchSurface) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Indices of the highest score and of the highest that does not belong to its peak.

    Parameters
    ----------
    surface : `SearchSurface`

    Returns
    -------
    two pairs of `int`, or `None`
        Row and column; `None` where the surface is no wider than the peak itself.
    """
    scores = np.where(np.isfinite(surface.scores), surface.scores, -np.inf)
    if not np.isfinite(scores).any():
        return None
    j, i = (int(n) for n in np.unravel_index(np.argmax(scores), scores.shape))
    rows, columns = np.ogrid[: scores.shape[0], : scores.shape[1]]
    others = np.where(np.hypot(rows - j, columns - i) > _PEAK, scores, -np.inf)
    if np.count_nonzero(np.isfinite(others)) < _OTHERS:
        return None
    other_j, other_i = (int(n) for n in np.unravel_index(np.argmax(others), scores.shape))
    return (j, i), (other_j, other_i)


def fisher_significance(score: float, other: float, n_pixels: int) -> float:
    """By how many standard errors of Fisher's z a correlation exceeds another; NaN of fewer than four pixels.

    Parameters
    ----------
    score, other : `float`
        Correlations, -1 to 1.
    n_pixels : `int`
        That either was made of.
    """
    if n_pixels < 4:
        return np.nan
    top, runner_up = np.arctanh(np.clip([score, other], -_NEAR_ONE, _NEAR_ONE))
    return float((top - runner_up) * np.sqrt((n_pixels - 3) / 2))


def wider_than_a_peak(surface: SearchSurface, least_pixels: float) -> bool:
    """Whether the bounds leave other shifts than those that belong to a peak in their middle.

    Parameters
    ----------
    surface : `SearchSurface`
    least_pixels : `float`
        Number of pixels below which a shift within the bounds has no score.
    """
    within = np.isfinite(surface.scores) | (surface.overlap < least_pixels)
    indices = np.argwhere(within)
    if not len(indices):
        return False
    # Not about the middle of the array, which is no shift at all and may lie outside the bounds.
    return int(np.count_nonzero(np.linalg.norm(indices - indices.mean(axis=0), axis=1) > _PEAK)) >= _OTHERS


def pixels_at_peak(surface: SearchSurface) -> int:
    """Number of pixels that were correlated at the highest peak; 0 where no shift left enough overlap.

    Parameters
    ----------
    surface : `SearchSurface`
    """
    scores = np.where(np.isfinite(surface.scores), surface.scores, -np.inf)
    return int(surface.overlap.flat[np.argmax(scores)]) if np.isfinite(scores).any() else 0


def allowing_for_edges(min_overlap: float, n_pixels: int) -> float:
    """Least overlap of a surface, as a fraction, so that no shift is missed that has enough of it in finer pixels.

    Coarse pixels are lost along the edge of what the reference covers: half of one by its centre, half by a shift of
    whole pixels, on either side. Where many pixels overlap that is next to nothing.

    Parameters
    ----------
    min_overlap : `float`
        Fraction asked for.
    n_pixels : `int`
        Valid pixels of the target, coarse ones.
    """
    wanted = min_overlap * n_pixels
    return float(max(wanted - 4 * np.sqrt(wanted), wanted / 2) / max(n_pixels, 1))


def peaks_of(surface: SearchSurface, most: int) -> list[tuple[float, float, float]]:
    """The highest local peaks, refined by a parabola.

    Parameters
    ----------
    surface : `SearchSurface`
    most : `int`
        How many at the most.

    Returns
    -------
    `list` of `tuple`
        Score, shift_x and shift_y in arcsec; highest first.
    """
    scores = surface.scores
    if not np.isfinite(scores).any():
        return []
    padded = np.pad(scores, 1, constant_values=-np.inf)
    along = np.maximum(np.maximum(padded[:, :-2], padded[:, 2:]), padded[:, 1:-1])
    local = np.isfinite(scores) & (scores >= np.maximum(np.maximum(along[:-2], along[2:]), along[1:-1]))
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
