"""Whether two halves of a target ask for the same shift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sunalign.geometry.coordinates import ARCSEC
from sunalign.model.gauss_newton import Climb, climb
from sunalign.model.objective import Objective
from sunalign.model.own_scores import highest_near, score_covariance
from sunalign.model.problem import Problem
from sunalign.model.search_space import SearchSpace

__all__ = ["compared_pixel", "split_half"]

_PATCH = (4, 4)  # Pixels that are left out together to see what a half's own error is.
_LEAST = 16  # Valid pixels of a half that can be climbed on.


def compared_pixel(problem: Problem) -> float:
    """Size, in arcsec, of the larger of the target's and the reference's pixels as they are compared.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    """
    target = float(np.sqrt(np.prod(problem.target.grid.pixel_size)))
    return max(problem.reference_pixel, target) / ARCSEC


def split_half(judge: Objective, x: np.ndarray) -> float:
    """Distance between the shifts of two interleaved halves, the other parameters held.

    Parameters
    ----------
    judge : `~sunalign.model.objective.Objective`
        At the level where the halves are to be compared.
    x : `numpy.ndarray`, shape (p,)
        The answer.

    Returns
    -------
    `float`
        In units of the pixel and of the distance's standard error together, of which no more than a pixel is allowed
        for: halves that say nothing agree about nothing. NaN where a half has too few pixels.
    """
    names = tuple(name for name in judge.space.names if name.startswith("shift"))
    held = judge.problem.parameters(x)
    space = SearchSpace(tuple(replace(p, start=held[p.name]) for p in judge.space if p.name in names))
    problem = replace(judge.problem, names=names, fixed={**judge.problem.fixed, **held})
    ny, nx = problem.target.grid.shape
    checker = (np.arange(ny)[:, None] * 4 // ny + np.arange(nx) * 4 // nx) % 2 == 0
    halves = [replace(problem, target=problem.target.masked(ignored)) for ignored in (checker, ~checker)]
    if min(half.n_valid for half in halves) < _LEAST:
        return np.nan
    found = _tops_by_equations(halves, space) if judge.has_normal_equations else _tops_by_scores(halves, space)
    tops = [top for top in found if top is not None]
    if len(tops) < len(halves):
        return np.nan
    pixel, variance = compared_pixel(problem), sum(top.variance for top in tops)
    return float(np.linalg.norm(tops[0].x - tops[1].x) / np.hypot(pixel, min(np.sqrt(variance), pixel)))


class _Top(NamedTuple):
    """Where a half ended, and the variance, in square arcsec, of that."""

    x: np.ndarray
    variance: float


def _tops_by_equations(halves: Sequence[Problem], space: SearchSpace) -> Iterator[_Top | None]:
    # What is sampled at the start is the same for all of them.
    sampled, slopes, _ = halves[0].with_slopes(space.start)
    known = np.isfinite(sampled + slopes[0] + slopes[1])
    for half in halves:
        first = half.equations(space.start, sampled, slopes, half.target_mask | ~known)
        top = climb(Objective(half, space), space.start, tolerance=0.05, max_iter=10, first=first)
        yield None if top.equations.n_pixels < _LEAST else _Top(top.x, _variance(half, top))


def _tops_by_scores(halves: Sequence[Problem], space: SearchSpace) -> Iterator[_Top | None]:
    return (_top_by_scores(half, space) for half in halves)


def _top_by_scores(half: Problem, space: SearchSpace) -> _Top | None:
    x = highest_near(half, space)
    if not np.isfinite(half.score(x)):
        return None
    variance = np.trace(score_covariance(half, space, x, _PATCH))
    return _Top(x, float(variance) if np.isfinite(variance) else np.inf)


def _variance(problem: Problem, top: Climb) -> float:
    """Variance, in square arcsec, of a shift if all that is left unexplained is white noise."""
    n, score = top.equations.n_pixels, top.equations.score
    values = problem.target.data[~problem.target_mask]
    noise = values.var() * n * (1 - score**2) / max(n - len(top.x) - 2, 1)
    try:
        return max(float(noise * np.trace(np.linalg.inv(top.equations.hessian))), 0.0)
    except np.linalg.LinAlgError:
        return np.inf
