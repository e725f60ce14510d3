"""What a point-spread function that two images do not share leaves of their difference."""

from __future__ import annotations

import numpy as np

__all__ = ["as_sharp"]


def as_sharp(reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Target less what a slightly sharper or smoother reference would show more of than the reference does.

    A point-spread function that only one image has, and structure that its pixels are too large for, make the two
    differ by second derivatives of the image. Over the whole field these pull no parameter but for what happens at its
    edges and at all pixels alike; in a part of it they pull to and fro, and look like structure of one image alone.

    Parameters
    ----------
    reference, target : `numpy.ndarray`, shape (ny, nx)
    mask : `numpy.ndarray` of `bool`, shape (ny, nx)
        True for pixels to be ignored.

    Returns
    -------
    `numpy.ndarray`, shape (ny, nx)
        ``target - a d2r/dx2 - b d2r/dy2``, with a and b from the best fit of these, the reference and a constant.
    """
    second = [_second_difference(reference, axis) for axis in (1, 0)]
    valid = ~mask
    n = np.count_nonzero(valid)
    columns = [np.where(valid, image, 0.0) for image in (reference, target, *second)]
    columns = [np.where(valid, column - column.sum() / max(n, 1), 0.0).ravel() for column in columns]
    gram = np.array([[float(np.dot(a, b)) for b in columns] for a in columns])
    known, wanted = [0, 2, 3], 1
    size = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    scaled = gram / np.outer(size, size)
    found = np.linalg.lstsq(scaled[np.ix_(known, known)], scaled[known, wanted], rcond=1e-9)[0]
    found *= size[wanted] / size[known]
    return np.asarray(target - found[1] * second[0] - found[2] * second[1])


def _second_difference(image: np.ndarray, axis: int) -> np.ndarray:
    """Along an axis; 0 where a neighbour is missing."""
    along = np.moveaxis(image, axis, 0)
    out = np.zeros(along.shape)
    if len(along) > 2:
        inner = along[2:] - 2.0 * along[1:-1] + along[:-2]
        out[1:-1] = np.where(np.isfinite(inner), inner, 0.0)
    return np.moveaxis(out, 0, axis)
