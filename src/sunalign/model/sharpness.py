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
    n = max(np.count_nonzero(valid), 1)
    # About a value of each image, so that the sums keep their digits.
    first = int(np.argmax(valid))
    near = [image - image.flat[first] if valid.flat[first] else image for image in (reference, target)]
    columns = [np.where(valid, image, 0.0).ravel() for image in (*near, *second)]
    sums = np.array([column.sum() for column in columns])
    gram = np.array([[float(np.dot(a, b)) for b in columns] for a in columns]) - np.outer(sums, sums) / n
    size = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    gram /= np.outer(size, size)
    known, wanted = [0, 2, 3], 1
    found = np.linalg.lstsq(gram[np.ix_(known, known)], gram[known, wanted], rcond=1e-9)[0] * size[wanted] / size[known]
    return np.asarray(target - found[1] * second[0] - found[2] * second[1])


def _second_difference(image: np.ndarray, axis: int) -> np.ndarray:
    """Along an axis; 0 where a neighbour is missing."""
    out = np.zeros(image.shape)
    before, middle, after = (
        (slice(None),) * axis + (slice(start, max(image.shape[axis] - 2, 0) + start),) for start in range(3)
    )
    inner = out[middle]
    np.add(image[before], image[after], out=inner)
    inner -= 2.0 * image[middle]
    inner[~np.isfinite(inner)] = 0.0
    return out
