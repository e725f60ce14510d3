"""Fit a correction into a new reference coordinate and a 2x2 matrix acting on the plane of a projection."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from astropy.wcs import WcsError

from sunalign.correction import Correction
from sunalign.exceptions import CorrectionError
from sunalign.geometry.coordinates import angles, direction, nearest_turn
from sunalign.wcs.sky_part import SkyPart

__all__ = ["NEGLIGIBLE", "Solution", "check_residual", "is_nothing", "near", "sample_pixels", "solve"]

#: A change that moves no pixel by more than this (in pixels) is rounding, and the old keyword stays as it is.
NEGLIGIBLE = 1e-8


@dataclass(frozen=True, eq=False)
class Solution:
    """New reference coordinate and rows of a `SkyPart`, and the matrix that acts on its plane.

    Parameters
    ----------
    part : `~sunalign.wcs.sky_part.SkyPart`
        With the new reference coordinate and rows.
    linear : `numpy.ndarray`, shape (2, 2)
        Matrix by which the old rows were multiplied from the left.
    pixels : `numpy.ndarray`, shape (n, k)
        Where it was fitted, 0-based, x first.
    wanted : `numpy.ndarray`, shape (3, k)
        Corrected directions of these pixels.
    """

    part: SkyPart
    linear: np.ndarray
    pixels: np.ndarray
    wanted: np.ndarray

    def residual(self, written: SkyPart) -> float:
        """Largest distance, in pixels, of a WCS's coordinates from those wanted.

        Parameters
        ----------
        written : `~sunalign.wcs.sky_part.SkyPart`
            Read back from the keywords that were written.
        """
        difference = written.from_sky(self.wanted) - written.to_plane(self.pixels)
        finite = np.isfinite(difference).all(axis=0)
        return float(written.in_pixels(difference[:, finite]).max()) if finite.any() else np.inf


def is_nothing(correction: Correction) -> bool:
    """Whether a correction moves nothing at all.

    Parameters
    ----------
    correction : `~sunalign.Correction`
    """
    return bool((correction.shift.value == 0).all() and (correction.matrix == np.eye(2)).all())


def sample_pixels(part: SkyPart, shape: Sequence[int], count: int = 9) -> np.ndarray:
    """Pixels on a grid over the axes that the sky depends on, edges included.

    Parameters
    ----------
    part : `~sunalign.wcs.sky_part.SkyPart`
    shape : sequence of `int`
        Of the array: last axis first in pixel coordinates.
    count : `int`
        How many along either of the image's axes.

    Returns
    -------
    `numpy.ndarray`, shape (n, k)
        0-based coordinates, x first.
    """
    n = part.rows.shape[1]
    lengths = [*reversed(shape)][:n] + [1] * (n - len(shape))
    used = np.asarray(part.rows.any(axis=0))
    along = [
        np.linspace(-0.5, lengths[j] - 0.5, count if j in part.axes else 3) if used[j] else np.zeros(1)
        for j in range(n)
    ]
    return np.array(list(itertools.product(*along))).T


def solve(part: SkyPart, correction: Correction, pixels: np.ndarray) -> Solution:
    """Fit a correction at some pixels.

    Parameters
    ----------
    part : `~sunalign.wcs.sky_part.SkyPart`
        Before the correction.
    correction : `~sunalign.Correction`
    pixels : `numpy.ndarray`, shape (n, k)
        0-based, x first.
    """
    plane = part.to_plane(pixels)
    wanted = correction.sky_matrix @ part.to_sky(plane)
    finite = np.isfinite(wanted).all(axis=0)
    if not finite.any():
        raise CorrectionError("None of the image's pixels is on the sky; check CRPIX, CRVAL and CDELT of its header.")
    pixels, plane, wanted = pixels[:, finite], plane[:, finite], wanted[:, finite]
    moved = np.degrees(angles(correction.sky_matrix @ direction(*np.radians(part.crval))))
    try:
        solution = _solution(part, near(moved, part.crval), plane, pixels, wanted)
    except WcsError as error:
        raise CorrectionError(
            f"The correction moves CRVAL to ({moved[0]:g}, {moved[1]:g}) deg, where the header's projection "
            f"{part.ctype[0][5:]} and LONPOLE are not defined together; reproject to TAN first."
        ) from error
    # Where that cannot be improved, or a trial leaves the projection, the residual says how good it is.
    with contextlib.suppress(WcsError, CorrectionError):
        for _ in range(5):
            residual = solution.residual(solution.part)
            if residual < 1e-7:
                break
            better = _refined(part, solution, plane)
            if not better.residual(better.part) < 0.9 * residual:
                break
            solution = better
    return solution


def _solution(part: SkyPart, crval: np.ndarray, plane: np.ndarray, pixels: np.ndarray, wanted: np.ndarray) -> Solution:
    new = replace(part, crval=crval)
    target = new.from_sky(wanted)
    finite = np.isfinite(target).all(axis=0)
    if not finite.any():
        raise CorrectionError("The correction moves the image out of its projection; check the shift and the pivot.")
    linear = np.linalg.lstsq(plane[:, finite].T, target[:, finite].T, rcond=None)[0].T
    linear = np.round(linear, 12)  # what is below is the rounding of wcslib's sines at small angles
    if part.in_pixels((linear - np.eye(2)) @ plane).max() < NEGLIGIBLE:
        linear = np.eye(2)
    return Solution(replace(new, rows=linear @ part.rows), linear, pixels, wanted)


def _refined(part: SkyPart, start: Solution, plane: np.ndarray) -> Solution:
    """One Gauss-Newton step in CRVAL, the matrix projected out."""
    step = float(np.abs(part.rows).max())

    def left(offset: np.ndarray) -> np.ndarray:
        trial = _solution(part, start.part.crval + offset, plane, start.pixels, start.wanted)
        return (trial.part.from_sky(start.wanted) - trial.linear @ plane).ravel()

    slopes = np.array([(left(h) - left(-h)) / (2 * step) for h in step * np.eye(2)]).T
    offset = -np.linalg.lstsq(slopes, left(np.zeros(2)), rcond=None)[0]
    return _solution(part, start.part.crval + offset, plane, start.pixels, start.wanted)


def check_residual(residual: float, tolerance: float, *, crota: bool = False) -> None:
    """Refuse a correction that a header cannot hold.

    Parameters
    ----------
    residual, tolerance : `float`
        What is left over, and what may be, in pixels.
    crota : `bool`
        Whether the header's linear part is CDELT and CROTA, for the words of the error.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        If more is left over.
    """
    if residual <= tolerance:
        return
    why = (
        "CDELT and CROTA cannot express a shear; convert the header to PCi_j first"
        if crota
        else "the projection cannot express it there; correct a smaller field, or reproject to TAN first"
    )
    raise CorrectionError(
        f"The correction leaves {residual:.3g} pixels when it is written into the header, more than the tolerance of "
        f"{tolerance:g}: {why}, or raise 'tolerance'."
    )


def near(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Longitude and latitude in degrees, the longitude on the branch of the old one.

    Parameters
    ----------
    new, old : `numpy.ndarray`, shape (2,)
        Longitude and latitude, degrees.
    """
    return np.array([old[0] + nearest_turn(new[0] - old[0], 360), new[1]])
