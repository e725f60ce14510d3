"""How sure an answer is by nothing but a metric's own scores.

For metrics that cannot judge an answer themselves (`sunalign.abc.SupportsJudgement`). Whatever their scores mean, how
much an answer scatters is seen when parts of the target are left out (the delete-a-group jackknife; Shao & Tu 1995, The
Jackknife and Bootstrap), and whether one shift is better than another when parts are asked each by itself.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import optimize

from sunalign.model.objective import Objective
from sunalign.model.problem import Problem
from sunalign.model.search_space import SearchSpace
from sunalign.model.surface import SearchSurface, top_and_rival

__all__ = ["above_most", "highest_near", "middle_of", "parts_of", "score_covariance", "significance_of_peak"]

_GROUPS = 24  # Parts that are left out in turn: they know a standard deviation to 15 %.
_PARTS = 12  # Parts that are scored each by itself: with more, each has few pixels.
_LEAST = 8  # Such parts without which nothing can be said of their scatter.
_STEPS = (0.5, 1.0, 2.0)  # Pixels at the target's edge over which differences are taken, until the score bends down.
_SIDES = (-1, 1)


def parts_of(valid: np.ndarray, block: tuple[int, int], n_parts: int = _GROUPS) -> np.ndarray:
    """Number of the part that every pixel belongs to, shape (ny, nx); -1 where there is none.

    Parameters
    ----------
    valid : `numpy.ndarray` of `bool`, shape (ny, nx)
    block : `tuple` of `int`
        (height, width) of what stays together, in pixels: neighbours are not independent of each other.
    n_parts : `int`
        How many, at most; each has blocks of all over the field.
    """
    rows, columns = (np.arange(size) // side for size, side in zip(valid.shape, block, strict=True))
    number = rows[:, None] * (columns[-1] + 1) + columns
    _, number[valid] = np.unique(number[valid], return_inverse=True)
    n_blocks = int(number[valid].max(initial=-1)) + 1
    order = np.random.default_rng(0).permutation(n_blocks) % min(n_parts, max(n_blocks, 1))
    parts = np.full(valid.shape, -1)
    parts[valid] = order[number[valid]]
    return parts


def significance_of_peak(judge: Objective, surface: SearchSurface, x: np.ndarray, block: tuple[int, int]) -> float:
    """By how many standard errors the highest score exceeds that of every other shift.

    Parts of the target are scored each by itself, so that one bright region, by which the score of the whole may stand
    or fall, is one voice among several.

    Parameters
    ----------
    judge : `~sunalign.model.objective.Objective`
    surface : `~sunalign.model.surface.SearchSurface`
        Its scores over the shifts.
    x : `numpy.ndarray`, shape (p,)
        The other parameters.
    block : `tuple` of `int`
        (height, width), in pixels of the target, of what is left out as a whole.

    Returns
    -------
    `float`
        NaN where the surface is no wider than the peak itself, or with too little to leave out.
    """
    found = top_and_rival(surface)
    if found is None:
        return np.nan
    points = [judge.with_shift(x, surface.shift_x[index], surface.shift_y[index]) for index in found]
    problem = replace(judge.problem, min_overlap=0.0)  # Of a part, anything is little.
    samples = [problem.sample(point) for point in points]
    # Of the same pixels: what one shift covers and the other does not is no sign of either.
    valid = ~problem.target_mask & np.isfinite(samples[0] + samples[1])
    groups = parts_of(valid, block, _PARTS)
    n = int(groups.max(initial=-1)) + 1
    top, rival = (np.array([problem.score_of(v, ~valid | (groups != k)) for k in range(n)]) for v in samples)
    scored = np.isfinite(top) & np.isfinite(rival)
    gain, n = top[scored] - rival[scored], int(np.count_nonzero(scored))
    if n < _LEAST:
        return np.nan
    return float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(n), np.finfo(float).tiny))


def above_most(surface: SearchSurface) -> SearchSurface:
    """Surface with its median as zero: a score may have any zero.

    Parameters
    ----------
    surface : `~sunalign.model.surface.SearchSurface`
    """
    return surface._replace(scores=surface.scores - middle_of(surface))


def middle_of(surface: SearchSurface) -> float:
    """Median of the scores; 0 where there are none.

    Parameters
    ----------
    surface : `~sunalign.model.surface.SearchSurface`
    """
    known = np.isfinite(surface.scores)
    return float(np.median(surface.scores[known])) if known.any() else 0.0


def score_covariance(problem: Problem, space: SearchSpace, x: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Covariance of the free parameters, shape (p, p), in arcsec, degrees and ratios; NaN where it cannot be had.

    The answer without one group of blocks is one step of Newton's away from the answer with all. The curvature and the
    slopes are differences of scores over half a pixel at the target's edge; over more, where a rough score does not
    bend down over that. How far the answer itself stands beside the top, as an optimizer that takes steps of a tenth of
    a pixel leaves it, is part of its error.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    space : `~sunalign.model.search_space.SearchSpace`
    x : `numpy.ndarray`, shape (p,)
    block : `tuple` of `int`
        (height, width), in pixels of the target, of what is left out as a whole.
    """
    p = len(x)
    valid = ~problem.target_mask & np.isfinite(problem.sample(x))
    groups = parts_of(valid, block)
    n = int(groups.max(initial=-1)) + 1
    if n > max(p + 1, _LEAST - 1):
        for pixels in _STEPS:
            curvature, slope, slopes = _bent(problem, x, pixels * space.step, groups)
            if np.isfinite(curvature).all() and np.linalg.eigvalsh(curvature).min() > 1e-9 * np.trace(curvature) > 0:
                moved = np.linalg.solve(curvature, slopes - slopes.mean(axis=1, keepdims=True))
                beside = np.linalg.solve(curvature, slope)
                unit = pixels * space.step
                scatter = (n - 1) / (n - p) * (moved @ moved.T)
                return np.asarray(np.outer(unit, unit) * (scatter + np.outer(beside, beside)))
    return np.full((p, p), np.nan)


def _bent(
    problem: Problem, x: np.ndarray, steps: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minus the second derivatives, (p, p), the slopes, (p,), and those without each group, (p, n), by the steps."""
    p, n = len(x), int(groups.max()) + 1
    top = problem.score(x)
    sides, slopes = np.empty((p, 2)), np.empty((p, n))
    for k, offset in enumerate(np.diag(steps)):
        low, high = (_deleted(problem, problem.sample(x + sign * offset), groups) for sign in _SIDES)
        sides[k] = low[0], high[0]
        slopes[k] = (high[1:] - low[1:]) / 2
    curvature = np.diag(2 * top - sides.sum(axis=1))
    for i, k in combinations(range(p), 2):
        offset = np.zeros(p)
        offset[[i, k]] = steps[[i, k]]
        both = sum(problem.score(x + sign * offset) for sign in _SIDES)
        curvature[i, k] = curvature[k, i] = (sides[i].sum() + sides[k].sum() - both - 2 * top) / 2
    return curvature, np.diff(sides)[:, 0] / 2, slopes


def _deleted(problem: Problem, sampled: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Score with all samples, and then without each group."""
    scores = [problem.score_of(sampled)]
    scores += [problem.score_of(sampled, groups == k) for k in range(int(groups.max(initial=-1)) + 1)]
    return np.array(scores)


def highest_near(problem: Problem, space: SearchSpace, *, n_scores: int = 60) -> np.ndarray:
    """Climb from the start to the top near by, with nothing but scores (Nelder & Mead 1965, Computer Journal 7, 308).

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    space : `~sunalign.model.search_space.SearchSpace`
    n_scores : `int`
        Largest number of images to compare.
    """
    corners = np.vstack([space.start, space.start + np.diag(space.step)])
    found = optimize.minimize(
        lambda x: -problem.score(space.clip(x)),
        space.start,
        method="Nelder-Mead",
        options={
            "initial_simplex": corners,
            "xatol": 0.05 * float(space.step.min()),
            "fatol": np.inf,
            "maxfev": n_scores,
        },
    )
    return space.clip(found.x)
