"""Whether two images of one detector agree by what stays with the detector rather than by the Sun.

Dust, hot pixels, vignetting and the like sit on the same pixels of both images, so that an answer which puts pixels on
pixels is what they ask for, wherever the Sun has gone meanwhile. Such a pattern correlates with itself alike at every
shift and at the opposite one, and so does a scene that did not move. What is left of the target is then noise. Where
a scene has moved, it is among what is left, and correlates with the reference moved one way and not the other.
"""

from __future__ import annotations

import numpy as np

from sunalign.model.masked_correlation import masked_ncc_surface
from sunalign.model.problem import Problem
from sunalign.model.reference import ImageReference

__all__ = ["fixed_pattern"]

_NEAR = 0.35  # Pixels from whole ones: what a moving scene, or noise, may make of a pattern's place.
_LARGEST = 362  # Pixels along each side of the part that is looked at.
_LEAST = 256  # Pixels below which no correlation is believed.
_SIGMAS = 5.0  # One chance in a million at each of some thousand shifts.
_COVERED = 0.5  # Part of the common pixels that two opposite shifts have to leave.


def fixed_pattern(problem: Problem, x: np.ndarray, reach: float) -> float:
    """Correlation between what the reference leaves unexplained and the reference moved elsewhere.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        At the target's own resolution.
    x : `numpy.ndarray`
        The answer.
    reach : `float`
        How far, in arcsec, the scene may be from it.

    Returns
    -------
    `float`
        The largest over all shifts, less five of its standard errors; 0 if nothing is left over that moved, or if the
        answer does not put the pixels of one image on pixels of the same size of the other, so that no detector can
        have made it.
    """
    aside = _off_whole_pixels(problem, x)
    if aside is None:
        return 0.0
    pixel = float(np.sqrt(np.abs(np.linalg.det(problem.pixel_on_sky(x)))))
    reference, target = _centre_of(_sample_aside(problem, x, aside), problem.target.data)
    return _moved_scene(reference, target, int(np.ceil(reach / pixel)))


def _off_whole_pixels(problem: Problem, x: np.ndarray) -> np.ndarray | None:
    """How far (x, y) the target's pixels fall beside whole pixels of one image; `None` if they are turned or stretched.

    What both images do alike cancels: rotation of the Sun between them is not asked for.
    """
    if not isinstance(problem.reference, ImageReference):
        return None
    ny, nx = problem.target.grid.shape
    px, py = np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5))
    matrix = problem.matrix(x)
    w = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2]
    tried = [(matrix[k, 0] * px + matrix[k, 1] * py + matrix[k, 2]) / w for k in range(2)]
    column, row = problem.reference.mapping(*tried)
    offsets = np.array([column - px, row - py])
    seen = np.isfinite(offsets).all(axis=0)
    if not seen.any():
        return None
    offsets = offsets[:, seen] - np.rint(offsets[:, seen].mean(axis=1, keepdims=True))
    return offsets.mean(axis=1) if np.abs(offsets).max() < _NEAR else None


def _sample_aside(problem: Problem, x: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """Pixels of the reference as they are: interpolation would smooth its noise."""
    back = np.eye(3)
    back[:2, 2] = -aside
    matrix, (ny, nx) = problem.matrix(x) @ back, problem.target.grid.shape
    return problem.reference.sample_grid(matrix, (ny, nx), matrix[0, 2] + matrix[0, 0] * np.arange(nx)).astype(float)


def _centre_of(reference: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Part of both images around the middle of the pixels that both have; NaN where one has none."""
    missing = ~np.isfinite(reference) | ~np.isfinite(target)
    part = []
    for size, valid in zip(missing.shape, (~missing.all(axis=1), ~missing.all(axis=0)), strict=True):
        middle = int(np.median(np.flatnonzero(valid))) if valid.any() else size // 2
        start = int(np.clip(middle - _LARGEST // 2, 0, max(size - _LARGEST, 0)))
        part.append(slice(start, start + _LARGEST))
    r, t = (np.where(missing, np.nan, image)[tuple(part)] for image in (reference, target))
    return r, t


def _moved_scene(reference: np.ndarray, target: np.ndarray, reach: int) -> float:
    """As `fixed_pattern`, of two arrays on one grid that have the same pixels; ``reach`` in pixels."""
    left = _unexplained(reference, target)
    # Only pixels that both have, or opposite shifts would compare different parts of the Sun.
    n = np.count_nonzero(np.isfinite(left))
    my, mx = (min(reach, size // 4) for size in left.shape)
    if n < _LEAST or max(my, mx) < 2 or not np.nanstd(left) > 1e-6 * np.nanstd(target):
        return 0.0
    reference = np.where(np.isfinite(left), reference, np.nan)
    cross, covered = _correlation(reference, left, (my, mx))
    own, _ = _correlation(reference, reference, (2 * my, 2 * mx))
    noise, _ = _correlation(left, left, (my, mx))
    # R(p + l) - R(p - l) has twice the variance of R less the correlation of R with itself at 2 l.
    spread = np.sqrt(2 * np.maximum(1 - own[::2, ::2], 0.05))
    moved = np.where(covered >= _COVERED * n, (cross - cross[::-1, ::-1]) / spread, 0.0)
    error = np.sqrt(max(np.sum(noise * own[my : 3 * my + 1, mx : 3 * mx + 1]), 1.0) / n)
    return float(max(np.abs(moved).max() - _SIGMAS * error, 0.0))


def _unexplained(reference: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Target less the reference with a gain, an offset and a fraction of a pixel's shift, each the best."""
    slopes = np.gradient(reference) if min(reference.shape) > 1 else []
    known = np.isfinite(target + sum(slopes, start=reference))
    left = np.full(target.shape, np.nan)
    if np.count_nonzero(known) >= _LEAST:
        design = np.stack([np.ones(int(known.sum())), *(image[known] for image in (reference, *slopes))], axis=1)
        left[known] = target[known] - design @ np.linalg.lstsq(design, target[known], rcond=None)[0]
    return left


def _correlation(a: np.ndarray, b: np.ndarray, margin: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Correlation at every shift up to ``margin``, and the number of pixels, of two images with NaN alike."""
    mask, (my, mx) = ~np.isfinite(b), margin
    around = ((my, my), (mx, mx))
    wide = np.pad(np.where(mask, 0.0, a), around)
    outside = np.pad(mask, around, constant_values=True)
    surface = masked_ncc_surface(wide, np.where(mask, 0.0, b), outside, mask, margin)
    return surface.scores, surface.overlap
