"""The gradient of the normalised cross-correlation alone, for where no second-order model is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sunalign.model.problem import Problem

__all__ = ["ncc_gradient"]

_BLOCK = 16384  # Pixels at a time, so that every copy stays in the cache.


def ncc_gradient(problem: Problem, x: Sequence[float] | np.ndarray) -> np.ndarray:
    """Gradient as `sunalign.metrics.NCC.normal_equations` has it, at less of its cost.

    A parameter displaces the pixels by planes over the target, so that three sums of what is left unexplained times
    each slope of the reference serve them all, and no array of derivatives is filled for any of them.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        Whatever its metric.
    x : sequence of `float`
        The trial.

    Returns
    -------
    `numpy.ndarray`, shape (p,)
        0 where either image is constant.
    """
    x = np.asarray(x, float)
    shape, target = problem.target.grid.shape, problem.target.data
    sampled, *slopes = problem.reference.sample_grid_with_gradient(problem.matrix(x), shape, problem.columns)
    hidden = problem.target_mask | ~np.isfinite(sampled + slopes[0] + slopes[1])
    products, moments = _sums(sampled, target, slopes, hidden)
    (mm, mt), (_, tt) = products
    if min(mm, tt) <= 0:
        return np.zeros(len(x))
    gain = mt / mm
    left = moments[:, 1] - gain * moments[:, 0]
    return np.asarray(gain * np.einsum("ikj,kj->i", problem.displacements(x), left))


def _sums(
    sampled: np.ndarray, target: np.ndarray, slopes: Sequence[np.ndarray], hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Products of both images about their means, (2, 2), and of each slope with each of them and 1, x, y, (2, 2, 3)."""
    ny, nx = hidden.shape
    rows = max(1, _BLOCK // nx)
    images = (sampled, target)
    first = int(np.argmin(hidden))
    # Subtracting a value of the image first keeps every digit where the offset is a million sigmas.
    near = [0.0 if hidden.all() else float(image.flat[first]) for image in images]
    gram, moments = np.zeros((3, 3)), np.zeros((2, 3, 3))
    z, places = np.ones((3, rows * nx)), np.ones((rows * nx, 3))
    places[:, 1] = np.tile(np.arange(nx), rows)
    for start in range(0, ny, rows):
        part = slice(start, start + rows)
        out = hidden[part].ravel()
        block, place = z[:, : out.size], places[: out.size]
        block[2] = 1.0
        for row, image, offset in zip(block, images, near, strict=False):
            np.subtract(image[part].ravel(), offset, out=row)
        block[:, out] = 0.0
        place[:, 2] = start + np.arange(out.size) // nx
        gram += block @ block.T
        for moment, slope in zip(moments, slopes, strict=True):
            along = slope[part].ravel().astype(float)
            along[out] = 0.0
            moment += (block * along) @ place
    mean = gram[:2, 2] / max(gram[2, 2], 1.0)
    return gram[:2, :2] - np.outer(mean, gram[:2, 2]), moments[:, :2] - mean[:, None] * moments[:, 2:]
