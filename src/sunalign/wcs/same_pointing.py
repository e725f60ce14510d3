"""Whether two windows of one observation look at one place, so that one correction holds for both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sunalign.wcs.sky_part import SkyPart

__all__ = ["same_pointing"]

#: Pixels, at the corners, by which two windows that share a pointing may differ.
_TOLERANCE = 0.1


def same_pointing(
    one: SkyPart, lengths: Sequence[float] | np.ndarray, other: SkyPart, others: Sequence[float] | np.ndarray
) -> bool:
    """Whether two windows look at one place, to a tenth of a pixel at the corners.

    The same pixels are there, or the same edges where one is binned, or the same offsets from the reference pixel where
    one is cut out of the other. The two need not share their reference pixel, nor their projection. A window beside the
    other on the detector, such as a dumbbell, is another pointing: what holds for one is not known to hold there.

    Parameters
    ----------
    one, other : `~sunalign.wcs.sky_part.SkyPart`
        Celestial parts of their WCS.
    lengths, others : sequence of `float`, shape (2,)
        Lengths, in pixels, of their axes of longitude and latitude.
    """
    (crpix, theirs), (size, their_size) = (
        np.array([one.crpix[list(one.axes)], other.crpix[list(other.axes)]], float)[:, :, None],
        np.array([lengths, others], float)[:, :, None],
    )
    corners = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    mine = corners * size - 0.5
    candidates = [mine, corners * their_size - 0.5]
    begin = crpix - theirs  # of the other, in pixels of the first
    shared = np.minimum(size, begin + their_size) - np.maximum(0.0, begin)
    if (shared >= np.minimum(size, their_size) / 2).all():
        candidates.append(mine - begin)
    return any(_apart(one, mine, other, pixels) < _TOLERANCE for pixels in candidates)


def _apart(one: SkyPart, mine: np.ndarray, other: SkyPart, theirs: np.ndarray) -> float:
    """Largest distance, in pixels of the first, between celestial pixel coordinates of two WCS; inf off the sky."""
    here, there = (_pixels(part, pixels) for part, pixels in ((one, mine), (other, theirs)))
    difference = one.from_sky(other.to_sky(other.to_plane(there))) - one.to_plane(here)
    apart = one.in_pixels(difference)
    return float(apart.max()) if np.isfinite(apart).all() else np.inf


def _pixels(part: SkyPart, celestial: np.ndarray) -> np.ndarray:
    """Pixel coordinates of all axes, those that are not celestial at their first pixel."""
    pixels = np.zeros((part.rows.shape[1], celestial.shape[1]))
    pixels[list(part.axes)] = celestial
    return pixels
