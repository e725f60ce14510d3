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

__all__ = ["fixed_pattern", "moved_scene"]

_STRAIGHT = 1.0  # Pixel by which a grid may be turned or stretched against the other, from end to end of the field.
_LARGEST = 362  # Pixels along each side of the part that is looked at.
_LEAST = 256  # Pixels below which no correlation is believed.
_SIGMAS = 5.0  # One chance in a million at each of some thousand shifts.
_LEFT = 0.02  # Least part of the target's variance that has to be left over: less may be another intensity scaling.
_SMOOTH = 0.3  # Least correlation of what is left with itself a pixel away: noise has none, a scene has much.
_COVERED = 0.5  # Part of the common pixels that two opposite shifts have to leave.


def fixed_pattern(problem: Problem, x: np.ndarray, reach: float) -> float:
    """Share of what the reference leaves unexplained that is a scene which moved.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        As it is compared.
    x : `numpy.ndarray`
        The answer.
    reach : `float`
        How far, in arcsec, the scene may be from it.

    Returns
    -------
    `float`
        0 to 1: about 1/2 and more where the answer is what a pattern asks for; 0 where what is left is noise, does not
        correlate with the reference moved anywhere, or does so in opposite directions alike, and where the pixels of
        the two images differ in size or are turned, so that no detector can have made both.

    Notes
    -----
    With a pattern P and a scene S that moved by L, the target less the reference is ``S(p - L) - S(p)``. Its covariance
    with the reference moved by L, less that with the reference moved by -L, is ``C(0) - C(2 L)``, with C that of the
    scene; its own variance is ``2 C(0) - 2 C(L)``. The pattern drops out of both.
    """
    if problem.whole is not None and isinstance(problem.reference, ImageReference):
        problem = problem.whole
    # What stays on its pixels is sharp; smoothing would take it for the scene.
    problem = problem.without_band_limit()
    aside = _off_whole_pixels(problem, x)
    if aside is None:
        return 0.0
    pixel = float(np.sqrt(np.abs(np.linalg.det(problem.pixel_on_sky(x)))))
    reference, target = _centre_of(_sample_aside(problem, x, aside), problem.target.data)
    return moved_scene(reference, target, int(np.ceil(reach / pixel)))


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
    return offsets.mean(axis=1) if np.ptp(offsets, axis=1).max() < _STRAIGHT else None


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


def moved_scene(reference: np.ndarray, target: np.ndarray, reach: int) -> float:
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
    beside = np.mean([noise[my, mx - 1], noise[my, mx + 1], noise[my - 1, mx], noise[my + 1, mx]])
    if not (beside > _SMOOTH and beside * np.nanvar(left) > _LEFT * np.nanvar(target)):
        return 0.0
    one_way = np.where(covered >= _COVERED * n, cross - cross[::-1, ::-1], 0.0)
    # R(p + l) - R(p - l) has twice the variance of R less the correlation of R with itself at 2 l.
    spread = np.sqrt(2 * np.maximum(1 - own[::2, ::2], 0.05))
    top = np.argmax(one_way / spread)
    error = np.sqrt(max(np.sum(noise * own[my : 3 * my + 1, mx : 3 * mx + 1]), 1.0) / n)
    if (one_way / spread).flat[top] < _SIGMAS * error:
        return 0.0
    return float(np.clip(one_way.flat[top] * np.nanstd(reference) / (np.nanstd(left) * beside), 0, 1))


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
