"""One problem at many resolutions, and what both images are smoothed by at each.

Binning makes noise white again, so that every resolution has a width of its own, in its own pixels; see
`sunalign.model.band_limit`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign.geometry.coordinates import apply_homography
from sunalign.images import Image
from sunalign.model.band_limit import BEFORE_BINNING, BandLimit, band_limit
from sunalign.model.smoothing import edge, gaussian_smoothed

if TYPE_CHECKING:
    from sunalign.model.problem import Problem

__all__ = ["at_half_resolution", "at_level", "band_limited", "factors", "in_step", "loses_much"]

_KEPT = 0.9  # Part of a target's pixels that larger ones have to hold.
_SOME = 2048  # Pixels of a target that stand for all.


def factors(problem: Problem, level: float) -> tuple[int, int, int]:
    """How many pixels of the target, along x and y, and of the reference make one of a level.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    level : `float`
        As in `sunalign.model.problem.Problem.at_level`.
    """
    size = np.array(problem.target.grid.pixel_size)
    own = problem.reference_pixel
    pitch = level * (problem.level_one or max(own, float(size.min())))
    # Too few pixels across would leave nothing to correlate.
    most = np.maximum(np.array(problem.target.grid.shape[::-1]) // 8, 1)
    bx, by = (int(n) for n in np.clip(np.rint(pitch / size), 1, most))
    factor = max(1, int(np.rint(np.sqrt(size[0] * bx * size[1] * by) / own)))
    return bx, by, factor


def at_level(problem: Problem, level: float) -> Problem:
    """Problem with larger pixels; see `sunalign.model.problem.Problem.at_level`.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    level : `float`
    """
    bx, by, factor = factors(problem, level)
    if problem.limit is not None and bx == by == 1 and (factor == 1 or problem.level_one is not None):
        return problem
    given = problem.sharp or problem.target
    # What is climbed needs every pixel where it is said to be; what is searched, as many as there are.
    target = _binned(given, by, bx) if level == 1 else given.binned(by, bx)
    coarser = replace(problem, target=target, reference=problem.reference.binned(factor), sharp=None)
    if problem.limit is None:
        return coarser
    return band_limited(coarser, problem.limit.noise / factor**2 if problem.limit.noise else np.inf)


def at_half_resolution(problem: Problem) -> Problem:
    """Problem whose target has pixels twice as large, both images smoothed first; the reference keeps its own pixels.

    What the larger pixels cannot hold would stay in them as noise. And larger pixels of the reference would be too far
    apart to interpolate between: a cubic spline displaces what it is almost too coarse for by thousandths of a pixel.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        At level 1, not yet smoothed.
    """
    bx, by, factor = factors(problem, 2.0)
    level_one = problem.reference_pixel * factor / 2
    size = np.array(problem.target.grid.pixel_size) / problem.reference_pixel
    # Means over the target's larger pixels smooth it once more.
    boxes = float(np.mean((size * [bx, by]) ** 2 - size**2) / 12)
    limit = _limit(problem, widths=BEFORE_BINNING, boxes=boxes)
    if not limit.width:
        # A reference without pixels has nothing to smooth.
        return replace(at_level(replace(problem, level_one=level_one), 2.0), limit=limit)
    target = replace(problem.target, data=_smoothed(problem.target.data, limit.width / size, trusted_alone=True))
    return replace(
        problem,
        target=_complete(target, by, bx),
        reference=problem.reference.smoothed(float(np.sqrt(limit.width**2 + boxes))),
        limit=limit,
        sharp=problem.target.binned(by, bx),
        level_one=level_one,
    )


def loses_much(problem: Problem, coarser: Problem) -> bool:
    """Whether larger pixels have lost much of what a target has, as they do where it has gaps all over.

    Parameters
    ----------
    problem, coarser : `~sunalign.model.problem.Problem`
    """
    larger = np.prod(coarser.target.grid.pixel_size) / np.prod(problem.target.grid.pixel_size)
    return bool(larger * coarser.n_valid < _KEPT * problem.n_valid)


def band_limited(problem: Problem, most_noise: float = np.inf) -> Problem:
    """Problem with both images smoothed as the reference's noise asks for, if it does.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        Not yet smoothed.
    most_noise : `float`
        Variance that the noise of the reference can have here at most, where another level tells; squared units of its
        data.
    """
    limit = _limit(problem, most_noise=most_noise)
    reference = problem.reference.smoothed(limit.width)
    if not limit.width:
        return replace(problem, reference=reference, limit=limit)
    width = limit.width * problem.reference.pixel_size / np.array(problem.target.grid.pixel_size)
    target = replace(problem.target, data=_smoothed(problem.target.data, width))
    return replace(problem, target=target, reference=reference, limit=limit, sharp=problem.target)


def _limit(problem: Problem, **options: Any) -> BandLimit:
    """How both images are to be smoothed, options as of `band_limit`; not at all where the reference has no pixels."""
    arrays = problem.reference.arrays()
    if not len(arrays):
        return BandLimit()
    area = float(np.prod(problem.target.grid.pixel_size) / problem.reference.pixel_size**2)
    start = problem.in_base(problem.target.grid)
    return band_limit(arrays, problem.target.data, problem.n_valid, area, in_step(problem, start), **options)


def in_step(problem: Problem, matrix: np.ndarray) -> float:
    """How much the target's pixels agree, 0 to 1, about where between the reference's pixels they fall.

    On grids that are turned against each other, or of pixels of other sizes, they fall everywhere, and so does the pull
    of the noise.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    matrix : `numpy.ndarray`, shape (3, 3)
        From the target's pixels to those of ``base`` where they are tried.
    """
    ny, nx = problem.target.grid.shape
    draw = np.random.default_rng(0)
    px, py = draw.integers(0, nx, _SOME).astype(float), draw.integers(0, ny, _SOME).astype(float)
    x, y = apply_homography(matrix, px, py)
    columns = apply_homography(problem.in_base(problem.target.grid), px, py)[0]
    found = problem.reference.positions(x, y, columns)
    if found is None:
        return 1.0
    phases = [2 * np.pi * p[np.isfinite(p)] for p in found]
    return max(float(np.hypot(np.cos(p).mean(), np.sin(p).mean())) if p.size else 1.0 for p in phases)


def _binned(image: Image, by: int, bx: int) -> Image:
    """Means over blocks of pixels all of which are there; of an image that is smoothed, where there are few of those.

    The mean of some pixels of a block is that of a place beside its middle, and where gaps are regular it is the same
    side everywhere. Smoothing puts something in the gaps, as smooth as all the rest.
    """
    binned = image.binned(by, bx)
    if not image.mask.any() or by == bx == 1:
        return binned
    complete = _complete(image, by, bx)
    if 2 * np.count_nonzero(~complete.mask) >= np.count_nonzero(~binned.mask):
        return complete
    filled = replace(image, data=gaussian_smoothed(image.data, (by / 2, bx / 2))[0])
    return filled.binned(by, bx).masked(binned.mask)


def _complete(image: Image, by: int, bx: int) -> Image:
    """Means over blocks of pixels all of which are there."""
    binned, missing = image.binned(by, bx), image.mask
    if not missing.any():
        return binned
    ny, nx = binned.data.shape
    lost = missing[: ny * by, : nx * bx].reshape(ny, by, nx, bx).any(axis=(1, 3))
    return binned.masked(np.asarray(lost))


def _smoothed(data: np.ndarray, width: np.ndarray, *, trusted_alone: bool = False) -> np.ndarray:
    """Smooth a target; NaN where too much of what belongs to a pixel is missing."""
    smooth, trusted = gaussian_smoothed(data, (float(width[1]), float(width[0])))
    valid = np.isfinite(data)
    kept = np.zeros(data.shape, bool)
    inside = tuple(slice(edge(w, n), n - edge(w, n)) for w, n in zip(width[::-1], data.shape, strict=True))
    kept[inside] = trusted[inside] & valid[inside]
    # Where hardly anything is far from an edge, what is near one has to do.
    enough = trusted_alone or 2 * np.count_nonzero(kept) > np.count_nonzero(valid)
    return np.where(kept if enough else valid, smooth, np.nan)
