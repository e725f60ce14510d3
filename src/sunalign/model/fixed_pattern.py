"""Whether two images of one detector agree by what stays with the detector rather than by the Sun.

Dust, hot pixels, vignetting and the like sit on the same pixels of both images, so that an answer which puts pixels on
pixels is what they ask for, wherever the Sun has gone meanwhile. Such a pattern correlates with itself alike at every
shift and at the opposite one, and so does a scene that did not move. What is left of the target is then noise. Where
a scene has moved, it is among what is left, and correlates with the reference moved one way and not the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from sunalign.model.beside_pattern import beside_pattern
from sunalign.model.masked_correlation import masked_ncc_surface
from sunalign.model.problem import Problem
from sunalign.model.reference import ImageReference
from sunalign.model.search_space import shift_covariance
from sunalign.model.smoothing import gaussian_smoothed

__all__ = ["Detector", "fixed_pattern", "moved_scene", "other_sizes", "pull_of_defects"]

_STRAIGHT = 1.0  # Pixel by which a grid may be turned or stretched against the other, from end to end of the field.
_LARGEST = 362  # Pixels along each side of the part that is looked at.
_LEAST = 256  # Pixels below which no correlation is believed.
_SIGMAS = 5.0  # One chance in a million at each of some thousand shifts.
_LEFT = 0.02  # Least part of the target's variance that has to be left over: less may be another intensity scaling.
_SMOOTH = 0.3  # Least correlation of what is left with itself a pixel away: noise has none, a scene has much.
_COVERED = 0.5  # Part of the common pixels that two opposite shifts have to leave.
_ON_PIXELS = 1.5  # Pixels from the detector's own within which a pattern holds an answer.
_PART = 192  # Pixels along each side that are asked for structure of middle size:
_NARROW = 1.5  # wider than a Gaussian of this standard deviation in pixels,
_REACHED = 3  # Pixels that the narrow Gaussian reaches.
_WIDE = 15  # and narrower than two means over so many.
_NEAR = 3  # Pixels within which its error says how far one answer may be from the other, and not the scores.
_SAME = 60.0  # Pixels of that which say the same.
_ALIKE = 0.5  # Correlation of it at the answer beyond which no other place is looked for.
_SLOPES = 0.02  # Pixels to which slopes say where structure of middle size is, in images without noise.
_BLOCK = 24  # Pixels over which what that leaves is taken to be correlated.


class Detector(NamedTuple):
    """Signs that two images agree by what stays with their detector; all 0 where no detector can have made both.

    Parameters
    ----------
    moved_scene : `float`
        Share of what the reference leaves unexplained that is a scene which moved, 0 to 1: about 1/2 and more where
        the answer is what a pattern asks for; 0 where what is left is noise, does not correlate with the reference
        moved anywhere, or does so in opposite directions alike.
    other_sizes : `float`
        Pixels between the answer and the shift that structure of a few pixels' size alone asks for; 0 where that may
        be chance.
    beside_pattern : `float`
        Pixels between the answer and where the scene is once a pattern is fitted beside it; 0 where that may be chance.
    """

    moved_scene: float = 0.0
    other_sizes: float = 0.0
    beside_pattern: float = 0.0


def fixed_pattern(problem: Problem, x: np.ndarray, reach: float) -> Detector:
    """Whether an answer is what a pattern of the detector asks for.

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
    `Detector`
        All 0 where the pixels of the two images differ in size or are turned.

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
    lag, stretched = _pixels_apart(problem, x), False
    if lag is None:
        # The scene between the pixels that a pattern holds may well look stretched.
        x, stretched = _unstretched(problem, x), True
        lag = _pixels_apart(problem, x)
    if lag is None:
        return Detector()
    pixel = _pixel(problem, x)
    whole = np.rint(lag)
    reference, target = _centre_of(_sample_aside(problem, x, lag - whole), problem.target.data)
    n = int(np.ceil(reach / pixel))
    share, (row, column) = _moved(reference, target, n)
    if np.abs(whole).max() > _ON_PIXELS >= np.abs(whole + np.array([column, row])).max():
        # The answer is off the detector's pixels, and what is left over is on them: it is the pattern, not the scene.
        share = 0.0
    if stretched:
        return Detector(share)
    aside = lag - whole
    return Detector(share, other_sizes(reference, target, aside, n), beside_pattern(reference, target, aside, -whole))


def pull_of_defects(problem: Problem, x: np.ndarray, pixels: float, claimed: np.ndarray) -> np.ndarray:
    """Covariance, in arcsec², of what defects of a detector may still pull the shifts of an answer by.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        As it is compared.
    x : `numpy.ndarray`, shape (p,)
        The answer.
    pixels : `float`
        How far from it the scene may be; see `Detector.other_sizes` and `Detector.beside_pattern`.
    claimed : `numpy.ndarray`, shape (p, p)
        Covariance of the answer as it is known otherwise, of which the errors of its shifts are a part of that already.

    Returns
    -------
    `numpy.ndarray`, shape (p, p)
    """
    nothing = np.zeros((len(x), len(x)))
    if not pixels > _SLOPES:
        return nothing
    fine = problem.whole if problem.whole is not None else problem
    known = [
        variance for name, variance in zip(problem.names, np.diag(claimed), strict=True) if name.startswith("shift")
    ]
    more = (pixels * _pixel(fine, x)) ** 2 - np.nan_to_num(np.mean(known)) if known else 0.0
    return shift_covariance(problem.names, float(np.sqrt(more))) if more > 0 else nothing


def _pixel(problem: Problem, x: np.ndarray) -> float:
    """Side of a pixel of the target on the sky, in arcsec."""
    return float(np.sqrt(np.abs(np.linalg.det(problem.pixel_on_sky(x)))))


def _pixels_apart(problem: Problem, x: np.ndarray) -> np.ndarray | None:
    """Column and row of the reference's array less those of the target's; `None` if they are turned or stretched.

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
    if not seen.any() or np.ptp(offsets[:, seen], axis=1).max() >= _STRAIGHT:
        return None
    # Both were cut to what is needed.
    (x0, _, y0, _), (x1, _, y1, _) = problem.target.grid.to_base, problem.reference.mapping.reference.to_base
    return offsets[:, seen].mean(axis=1) + np.array([x1 - x0, y1 - y0])


def _unstretched(problem: Problem, x: np.ndarray) -> np.ndarray:
    """Shift of an answer, and scales and rotation as the headers have them."""
    as_given = [
        value if name.startswith("shift") else float(name.startswith("scale"))
        for name, value in zip(problem.names, x, strict=True)
    ]
    return np.array(as_given)


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
    """As `Detector.moved_scene`, of two arrays on one grid that have the same pixels; ``reach`` in pixels."""
    return _moved(reference, target, reach)[0]


def _moved(reference: np.ndarray, target: np.ndarray, reach: int) -> tuple[float, tuple[int, int]]:
    """Share of a scene that moved, and the rows and columns by which it is off."""
    nowhere = 0.0, (0, 0)
    left = _unexplained(reference, target)
    # Only pixels that both have, or opposite shifts would compare different parts of the Sun.
    n = np.count_nonzero(np.isfinite(left))
    my, mx = (min(reach, size // 4) for size in left.shape)
    if n < _LEAST or max(my, mx) < 2 or not np.nanstd(left) > 1e-6 * np.nanstd(target):
        return nowhere
    near, _ = _correlation(left, left, (1, 1))
    beside = np.mean([near[0, 1], near[1, 0], near[1, 2], near[2, 1]])
    if not (beside > _SMOOTH and beside * np.nanvar(left) > _LEFT * np.nanvar(target)):
        return nowhere
    reference = np.where(np.isfinite(left), reference, np.nan)
    cross, covered = _correlation(reference, left, (my, mx))
    own, _ = _correlation(reference, reference, (2 * my, 2 * mx))
    noise, _ = _correlation(left, left, (my, mx))
    one_way = np.where(covered >= _COVERED * n, cross - cross[::-1, ::-1], 0.0)
    # R(p + l) - R(p - l) has twice the variance of R less the correlation of R with itself at 2 l.
    spread = np.sqrt(2 * np.maximum(1 - own[::2, ::2], 0.05))
    top = np.argmax(one_way / spread)
    error = np.sqrt(max(np.sum(noise * own[my : 3 * my + 1, mx : 3 * mx + 1]), 1.0) / n)
    if (one_way / spread).flat[top] < _SIGMAS * error:
        return nowhere
    row, column = (int(k) for k in np.unravel_index(top, one_way.shape))
    share = one_way.flat[top] * np.nanstd(reference) / (np.nanstd(left) * beside)
    return float(np.clip(share, 0, 1)), (row - my, column - mx)


def other_sizes(reference: np.ndarray, target: np.ndarray, aside: np.ndarray, reach: int) -> float:
    """As `Detector.other_sizes`, of two arrays that have the same pixels.

    Parameters
    ----------
    reference, target : `numpy.ndarray`, shape (ny, nx)
    aside : `numpy.ndarray`, shape (2,)
        Column and row by which the answer is beside these pixels.
    reach : `int`
        Pixels that the scene may be from it.
    """
    part = tuple(slice(max((size - _PART) // 2, 0), (size + _PART) // 2) for size in target.shape)
    reference, target = _of_middle_size(reference[part], aside), _of_middle_size(target[part])
    missing = np.isnan(reference) | np.isnan(target)
    n, (my, mx) = int(np.count_nonzero(~missing)), (min(reach, size // 4) for size in target.shape)
    if n < _LEAST or min(my, mx) < 1:
        return 0.0
    reference, target = (np.where(missing, np.nan, image) for image in (reference, target))
    known = ~missing
    here = float(np.corrcoef(reference[known], target[known])[0, 1]) if np.ptp(target[known]) else 0.0
    row, column = (0, 0) if here > _ALIKE else _far_top(reference, target, (my, mx), here, n)
    if row == column == 0 and here < _SIGMAS * np.sqrt(_SAME / n):
        return 0.0
    between, covariance = _between_pixels(_moved_by(reference, row, column), target)
    if np.abs(between).max() > 0.5:
        # Slopes say how far it is over a fraction of a pixel only.
        more = np.clip(np.rint(between), -_NEAR, _NEAR).astype(int)
        row, column = row + int(more[1]), column + int(more[0])
        between, covariance = _between_pixels(_moved_by(reference, row, column), target)
    apart = np.array([column, row]) + between
    distance = float(np.hypot(*apart))
    sigma = np.sqrt(max(apart @ covariance @ apart, 0.0)) / distance if distance else 0.0
    return distance if distance > _SIGMAS * sigma else 0.0


def _far_top(
    reference: np.ndarray, target: np.ndarray, margin: tuple[int, int], here: float, n: int
) -> tuple[int, int]:
    """Row and column where two images correlate best, if that is more than chance and, far away, more than ``here``."""
    my, mx = margin
    scores, covered = _correlation(reference, target, margin)
    top = np.unravel_index(np.argmax(np.where(covered >= _COVERED * n, scores, -1.0)), scores.shape)
    row, column = int(top[0]) - my, int(top[1]) - mx
    far = max(abs(row), abs(column)) > _NEAR
    # By Fisher's z of as many pixels as are independent.
    height, other = np.arctanh(np.clip([scores[top], max(here, 0.0) if far else 0.0], -0.999, 0.999))
    return (row, column) if height - other > _SIGMAS * np.sqrt((1 + far) * _SAME / n) else (0, 0)


def _of_middle_size(image: np.ndarray, aside: np.ndarray | None = None) -> np.ndarray:
    """Structure of a few pixels: neither lone pixels and small clusters of them, nor what is as wide as vignetting.

    At ``p + aside`` (column and row), for slopes tell the right distance of images that differ in sharpness only where
    it is small.
    """
    valid = np.isfinite(image)
    if not valid.any():
        return image
    filled = image if valid.all() else np.where(valid, image, np.median(image[valid]))
    filled = _median_of_five(_median_of_five(filled, 0), 1)
    narrow = gaussian_smoothed(filled, _NARROW)[0]
    wide = ndimage.uniform_filter(ndimage.uniform_filter(filled, _WIDE), _WIDE)
    middle = narrow - wide
    if aside is not None:
        middle = ndimage.shift(middle, -aside[::-1], order=3, cval=np.nan)
    return np.where(valid & ~_beside_gaps(~valid), middle, np.nan)


def _beside_gaps(missing: np.ndarray) -> np.ndarray:
    """Pixels that what stands in for missing ones reaches to; medians see to lone ones, and to two in a row."""
    gaps = ndimage.binary_opening(missing, np.ones((3, 3)))
    return ndimage.binary_dilation(gaps, np.ones((3, 3)), iterations=_REACHED) if gaps.any() else gaps


def _median_of_five(image: np.ndarray, axis: int) -> np.ndarray:
    """Median of a pixel and two neighbours on either side, at a tenth of the cost of `scipy.ndimage.median_filter`."""
    padded = np.pad(image, [(2, 2) if k == axis else (0, 0) for k in range(2)], mode="edge")
    size = image.shape[axis]
    a, b, c, d, e = (np.take(padded, range(k, k + size), axis) for k in range(5))
    a, b, d, e = np.minimum(a, b), np.maximum(a, b), np.minimum(d, e), np.maximum(d, e)
    # The lowest of four lows and the highest of four highs are not the median of five; that of the other three is.
    low, high = np.maximum(a, d), np.minimum(b, e)
    return np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), c))


def _moved_by(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """Image at ``p + (row, column)``; NaN where that is outside."""
    out = np.full(image.shape, np.nan)
    here, there = (
        tuple(slice(max(0, sign * k), n + min(0, sign * k)) for k, n in zip((row, column), image.shape, strict=True))
        for sign in (-1, 1)
    )
    out[here] = image[there]
    return out


def _between_pixels(reference: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row by which the target is beside the reference, less than a pixel, and their covariance."""
    rows, columns = np.gradient(reference)
    known = np.isfinite(target + reference + rows + columns)
    if np.count_nonzero(known) < _LEAST:
        return np.zeros(2), np.full((2, 2), np.inf)
    images = np.where(known, [np.ones(target.shape), reference, columns, rows], 0.0)
    wanted = np.where(known, target, 0.0)
    found = np.linalg.lstsq(np.einsum("iyx,jyx->ij", images, images), np.einsum("iyx,yx->i", images, wanted))[0]
    left = wanted - np.tensordot(found, images, 1)
    slopes = images[2:]
    shares = np.array([_in_blocks(slope * left) for slope in slopes])
    gain = found[1] if found[1] > 0 else np.nan
    inverse = np.linalg.pinv(np.einsum("iyx,jyx->ij", slopes, slopes)) / gain
    return found[2:] / gain, inverse @ (shares @ shares.T) @ inverse.T


def _in_blocks(values: np.ndarray) -> np.ndarray:
    ny, nx = values.shape
    return np.add.reduceat(np.add.reduceat(values, np.arange(0, ny, _BLOCK)), np.arange(0, nx, _BLOCK), 1).ravel()


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
