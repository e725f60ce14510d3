"""Whether a transform does anything over a field of view, and whether one matrix does the same."""

from __future__ import annotations

import numpy as np

from sunalign.geometry.coordinates import PixelGrid
from sunalign.geometry.mapping import DirectionTransform, PixelMapping
from sunalign.geometry.rotation import LinearTransform

__all__ = ["NEGLIGIBLE", "largest_effect", "one_matrix"]

#: Reference pixels; what moves nothing by more is left out.
NEGLIGIBLE = 1e-3


def _net(grid: PixelGrid, n: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates of a net over a grid widened by a part of its size."""
    ny, nx = grid.shape
    reach_x, reach_y = margin * nx, margin * ny
    x, y = np.meshgrid(
        np.linspace(-0.5 - reach_x, nx - 0.5 + reach_x, n), np.linspace(-0.5 - reach_y, ny - 0.5 + reach_y, n)
    )
    return x, y


def largest_effect(transform: DirectionTransform, target: PixelGrid, reference: PixelGrid) -> float:
    """Largest displacement over the target, in pixels of the reference; inf where something gets hidden.

    Parameters
    ----------
    transform : `~sunalign.geometry.mapping.DirectionTransform`
    target, reference : `~sunalign.geometry.coordinates.PixelGrid`
        Looked at over the target and a tenth of its size around it.
    """
    x, y = _net(target, 17, 0.1)
    columns = np.clip(x, -0.5, target.shape[1] - 0.5)
    before = PixelMapping(target, reference)(x, y)
    after = PixelMapping(target, reference, transform)(x, y, columns)
    moved = np.hypot(after[0] - before[0], after[1] - before[1])
    return float(np.where(np.isfinite(moved), moved, np.inf).max())


def one_matrix(transform: DirectionTransform, target: PixelGrid, reference: PixelGrid) -> LinearTransform | None:
    """Matrix that does what a transform does, if there is one.

    Parameters
    ----------
    transform : `~sunalign.geometry.mapping.DirectionTransform`
        Without times of columns: the same for all of the target.
    target, reference : `~sunalign.geometry.coordinates.PixelGrid`
        Held to it over the target and a quarter of its size around it.

    Returns
    -------
    `~sunalign.geometry.rotation.LinearTransform` or `None`
        `None` where it would be off by more than `NEGLIGIBLE`.
    """
    if not (target.exact and reference.exact):
        return None
    x, y = _net(target, 9, 0.25)
    to_x, to_y = PixelMapping(target, reference, transform)(x, y)
    if not (np.isfinite(to_x) & np.isfinite(to_y)).all():
        return None
    # Two rounds of linear least squares for the eight numbers of a homography, the second one weighted so that it
    # minimises distances in pixels; coordinates are scaled to the order of one.
    scale = float(max(*target.shape, *reference.shape))
    px, py, qx, qy = (a.ravel() / scale for a in (x, y, to_x, to_y))
    one, nil, weight = np.ones_like(px), np.zeros_like(px), np.ones_like(px)
    for _ in range(2):
        rows = np.concatenate(
            [
                np.array([px, py, one, nil, nil, nil, -qx * px, -qx * py]).T / weight[:, None],
                np.array([nil, nil, nil, px, py, one, -qy * px, -qy * py]).T / weight[:, None],
            ]
        )
        h = np.linalg.lstsq(rows, np.concatenate([qx / weight, qy / weight]), rcond=None)[0]
        weight = h[6] * px + h[7] * py + 1
    matrix = np.append(h, 1.0).reshape(3, 3)
    shrink = np.diag([1 / scale, 1 / scale, 1.0])
    homography = np.linalg.inv(shrink) @ matrix @ shrink
    linear = LinearTransform(reference.matrix @ homography @ target.inverse)
    x, y = _net(target, 24, 0.25)
    exact = PixelMapping(target, reference, transform)(x, y)
    near = PixelMapping(target, reference, linear)(x, y)
    worst = np.hypot(exact[0] - near[0], exact[1] - near[1])
    return linear if np.isfinite(worst).all() and worst.max() < NEGLIGIBLE else None
