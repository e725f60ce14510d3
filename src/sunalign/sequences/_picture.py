"""Frames laid on one part of the scene, for the eye and for a number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy import ndimage

from sunalign.sequences._spectra import Box
from sunalign.sequences._stack import Stack

__all__ = ["difference_rms", "on_box", "picture_box"]


_MOST = 64  # Frames whose differences are taken.


def picture_box(stack: Stack) -> Box:
    """The part of the scene that the middle frame shows.

    Parameters
    ----------
    stack : `Stack`
    """
    k = stack.usable
    place, size = stack.positions()[k], stack.shapes()[k]
    middle = np.median(place + size / 2, axis=0)
    nx, ny = (int(v) for v in np.median(size, axis=0))
    return Box(int(np.rint(middle[0] - nx / 2)), int(np.rint(middle[1] - ny / 2)), nx, ny)


def on_box(stack: Stack, number: int, theta: np.ndarray, box: Box) -> np.ndarray:
    """One frame sampled on a box of the scene; NaN where it has no valid pixel.

    Parameters
    ----------
    stack : `Stack`
    number : `int`
        Of the frame.
    theta : `numpy.ndarray`, shape (2,)
        Where it is moved to, pixels along (x, y).
    box : `Box`
        On the scene.
    """
    image = stack.images[number]
    assert image is not None
    x, y = np.array([box.x, box.y]) - image.origin - theta
    values = image.data if image.valid is None else np.where(image.valid, image.data, 0)
    rows, columns = np.arange(box.ny) + y, np.arange(box.nx) + x
    at = np.meshgrid(rows, columns, indexing="ij")
    sampled = ndimage.map_coordinates(values, at, order=3, mode="nearest")
    inside = ((rows >= 0) & (rows <= values.shape[0] - 1))[:, None] & (columns >= 0) & (columns <= values.shape[1] - 1)
    if image.valid is not None:
        share = ndimage.map_coordinates(image.valid.astype(np.float32), at, order=1, mode="nearest")
        inside = inside & (share > 0.99)
    return np.where(inside, sampled, np.nan)


def difference_rms(stack: Stack, theta: np.ndarray) -> float:
    """Root mean square difference of neighbours that were placed, in standard deviations of a frame.

    Parameters
    ----------
    stack : `Stack`
    theta : `numpy.ndarray`, shape (n, 2)
        Where the frames are; NaN for those that could not be placed.
    """
    box = picture_box(stack)
    kept = [k for k in stack.usable if np.isfinite(theta[k]).all()]
    # A run from the middle says it as well.
    first = max(0, (len(kept) - _MOST) // 2)
    kept = kept[first : first + _MOST]
    squares = [np.nanmean((b - a) ** 2) for a, b in pairwise(_laid(stack, kept, theta, box)) if _meet(a, b)]
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")


def _laid(stack: Stack, kept: list[int], theta: np.ndarray, box: Box) -> Iterator[np.ndarray]:
    return (on_box(stack, k, theta[k], box) for k in kept)


def _meet(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.isfinite(a + b).sum() > 16)
