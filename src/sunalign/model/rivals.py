"""Other peaks of a correlation surface, as high as they are between its points.

The points of a surface are as far apart as the coarse pixels it was made of. Where a scene repeats itself within a few
of them, the points miss the tops, each by another part of a pixel: one of several equal peaks then looks the highest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.interpolate import make_interp_spline

from sunalign.model.objective import Objective
from sunalign.model.surface import SearchSurface, pixels_at_peak

__all__ = ["Rival", "equal_peaks", "rivals_of"]

_FINER = 4  # Points of the finer surface for each of the surface's own.
_SUSPECT = 0.7  # Part of the highest peak from which on another is looked at closely.
_MOST = 3  # Peaks that are,
_TRIED = 50  # of so many local ones.
_APART = 1.5  # Points of the surface that two peaks are apart, at least.
_DIP = 0.1  # Of its height by which the surface lies lower between a peak and the highest, at least.
_EQUAL = 0.01  # Part of a peak's height by which interpolation in a pattern of few pixels may lower it.
_STEPS = (0.4, 0.15)  # Points of the surface over which a top is looked for, in turn.


class Rival(NamedTuple):
    """A peak of a surface.

    Parameters
    ----------
    score : `float`
        Between the points.
    shift_x, shift_y : `float`
        Arcsec.
    """

    score: float
    shift_x: float
    shift_y: float


def rivals_of(surface: SearchSurface, zero: float = 0.0) -> list[Rival]:
    """The highest peak, and those that come near it with lower scores in between; empty where there are none.

    Parameters
    ----------
    surface : `~sunalign.model.surface.SearchSurface`
    zero : `float`
        Score of images that have nothing in common.
    """
    known = np.isfinite(surface.scores)
    if min(surface.scores.shape) < 4 or not known.any():
        return []
    fine = _finer(surface.scores, known) - zero
    near = ndimage.maximum_filter(fine, 2 * round(_APART * _FINER / 2) + 1)
    rows, columns = np.nonzero(np.isfinite(fine) & (fine == near))
    order = np.argsort(fine[rows, columns])[::-1]
    peaks = [(int(rows[k]), int(columns[k])) for k in order]
    if not peaks:
        # So few shifts have a score that there is nothing between their points.
        return []
    top = peaks[0]
    least = max(_SUSPECT * fine[top], 0.0)
    high = [peak for peak in peaks[1 : 1 + _TRIED] if fine[peak] > least and _dips(fine, top, peak)]
    return [_at(surface, fine + zero, peak) for peak in [top, *high[:_MOST]]] if high else []


def equal_peaks(
    judge: Objective,
    surface: SearchSurface,
    x: np.ndarray,
    significance: Callable[[float, float, int], float],
    zero: float = 0.0,
) -> float:
    """How far the highest peak stands above the others when each is scored where it is highest.

    Parameters
    ----------
    judge : `~sunalign.model.objective.Objective`
        That made the surface.
    surface : `~sunalign.model.surface.SearchSurface`
    x : `numpy.ndarray`, shape (p,)
        The answer.
    significance : callable
        As `sunalign.abc.SupportsJudgement.significance`.
    zero : `float`
        Score of images that have nothing in common.

    Returns
    -------
    `float`
        Standard errors; NaN where no other peak comes near.
    """
    peaks = [_highest_near(judge, surface, x, peak) for peak in rivals_of(surface, zero)]
    if not peaks:
        return np.nan
    (top, *_), *others = peaks
    rival = max(score for score, *_ in others)
    return significance(top, min(top, rival + _EQUAL * (top - zero)), pixels_at_peak(surface))


def _finer(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Scores between the points too; -inf about those that have none."""
    filled = scores
    if not known.all():
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        filled = scores[tuple(nearest)]
    for axis, size in enumerate(scores.shape):
        points = np.linspace(0, size - 1, _FINER * (size - 1) + 1)
        filled = make_interp_spline(np.arange(size), filled, k=5 if size > 5 else 3, axis=axis)(points)
    unknown = np.repeat(np.repeat(~known, _FINER, axis=0), _FINER, axis=1)
    lost = ndimage.binary_dilation(unknown, iterations=_FINER)[_FINER // 2 :, _FINER // 2 :]
    return np.where(lost[: filled.shape[0], : filled.shape[1]], -np.inf, filled)


def _dips(fine: np.ndarray, top: tuple[int, int], peak: tuple[int, int]) -> bool:
    """Whether the straight way from one peak to another leads through lower scores, as far as they are known."""
    n = int(max(abs(a - b) for a, b in zip(top, peak, strict=True)))
    way = [np.rint(np.linspace(a, b, n + 1)).astype(int) for a, b in zip(top, peak, strict=True)]
    return bool(fine[tuple(way)].min() < (1 - _DIP) * fine[peak])


def _at(surface: SearchSurface, fine: np.ndarray, peak: tuple[int, int]) -> Rival:
    where = [[index / _FINER] for index in peak]
    sx, sy = (float(ndimage.map_coordinates(s, where, order=1)[0]) for s in (surface.shift_x, surface.shift_y))
    return Rival(float(fine[peak]), sx, sy)


def _highest_near(judge: Objective, surface: SearchSurface, x: np.ndarray, peak: Rival) -> Rival:
    """A peak where it is highest, by the top of the parabola through scores about it."""
    pitch = np.array([_pitch(surface.shift_x, 1), _pitch(surface.shift_y, 0)])
    best = peak._replace(score=judge.problem.score(judge.with_shift(x, peak.shift_x, peak.shift_y)))
    for step in _STEPS:
        moved = np.array([best.shift_x, best.shift_y])
        for axis in (0, 1):
            offset = step * pitch * (np.arange(2) == axis)
            sides = [judge.problem.score(judge.with_shift(x, *(best[1:] + sign * offset))) for sign in (-1, 1)]
            bend = 2 * best.score - sum(sides)
            if bend > 0:
                moved = moved + offset * np.clip((sides[1] - sides[0]) / (2 * bend), -1.5, 1.5)
        there = Rival(judge.problem.score(judge.with_shift(x, *moved)), *(float(value) for value in moved))
        best = max(best, there)
    return best


def _pitch(shift: np.ndarray, axis: int) -> float:
    return float(np.median(np.abs(np.diff(shift, axis=axis))))
