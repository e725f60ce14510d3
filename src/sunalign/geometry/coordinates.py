"""Pixels to directions and back, in closed form.

A direction is a 3-vector in the frame of an observer: first axis to the Sun's centre, second to solar west (+Tx),
third to solar north (+Ty), so that ``(cos Ty cos Tx, cos Ty sin Tx, sin Ty)`` is the helioprojective direction
(Thompson 2006, A&A 449, 791, section 4). A gnomonic (TAN) image maps pixels to directions by a 3x3 matrix acting on
``(x, y, 1)``: every pixel-to-pixel map between TAN images seen by one observer is a homography, which costs a dozen
multiplications a pixel and no trigonometry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from astropy.wcs import WCS

__all__ = ["ARCSEC", "PixelGrid", "angles", "apply_homography", "direction", "nearest_turn", "tangent_basis"]

#: One arcsecond in radians.
ARCSEC = np.pi / 180 / 3600


def direction(tx: np.ndarray | float, ty: np.ndarray | float) -> np.ndarray:
    """Unit vectors of helioprojective angles.

    Parameters
    ----------
    tx, ty : `numpy.ndarray` or `float`
        Longitude and latitude, radians; they broadcast.

    Returns
    -------
    `numpy.ndarray`, shape (3, ...)
        Components to the centre of the Sun, west and north.
    """
    tx, ty = np.broadcast_arrays(np.asarray(tx, float), np.asarray(ty, float))
    return np.array([np.cos(ty) * np.cos(tx), np.cos(ty) * np.sin(tx), np.sin(ty)])


def nearest_turn(angle: np.ndarray | float, period: float = 2 * np.pi) -> np.ndarray:
    """Angle, or array of them, less whole turns: within half a turn of zero.

    Parameters
    ----------
    angle : `float` or `numpy.ndarray`
        In the unit of the period.
    period : `float`
        A whole turn; 2 pi for radians, 360 for degrees.
    """
    return np.asarray((angle + period / 2) % period - period / 2)


def angles(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Helioprojective angles of vectors.

    Parameters
    ----------
    vectors : `numpy.ndarray`, shape (3, ...)
        Of any length but nil, components as in `direction`.

    Returns
    -------
    tx, ty : `numpy.ndarray`
        Radians, longitude in (-pi, pi].
    """
    return np.arctan2(vectors[1], vectors[0]), np.arctan2(vectors[2], np.hypot(vectors[0], vectors[1]))


def tangent_basis(tx: float, ty: float) -> np.ndarray:
    """Rows: the direction of (tx, ty) in radians and the unit vectors of growing Tx and growing Ty there."""
    # Of two numbers: the standard library takes a tenth of NumPy's time.
    cos_x, sin_x, cos_y, sin_y = math.cos(tx), math.sin(tx), math.cos(ty), math.sin(ty)
    return np.array(
        [[cos_y * cos_x, cos_y * sin_x, sin_y], [-sin_x, cos_x, 0.0], [-sin_y * cos_x, -sin_y * sin_x, cos_y]]
    )


def apply_homography(matrix: np.ndarray, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Move pixel coordinates by a matrix acting on ``(x, y, 1)``.

    Parameters
    ----------
    matrix : `numpy.ndarray`, shape (3, 3)
    x, y : `numpy.ndarray` or `float`
        They broadcast.
    """
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    return (
        (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / w,
        (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / w,
    )


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """Pixels of an image on the sky.

    Parameters
    ----------
    wcs : `astropy.wcs.WCS`
        Two celestial axes, longitude first.
    shape : `tuple` of `int`
        ``(ny, nx)``.
    to_base : `tuple` of `float`
        ``(x0, bx, y0, by)``: pixel ``(x, y)`` of this grid is pixel ``(x0 + bx x, y0 + by y)`` of ``wcs``. Cropping and
        binning change this and never the WCS.
    """

    wcs: WCS
    shape: tuple[int, int]
    to_base: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)

    @cached_property
    def _base_matrix(self) -> tuple[np.ndarray, bool]:
        return _direction_matrix(self.wcs, self._base_centre(), self._base_extent())

    @property
    def exact(self) -> bool:
        """Whether the projection is gnomonic, so that `matrix` is exact; else it is the tangent map at the centre."""
        return self._base_matrix[1]

    @cached_property
    def matrix(self) -> np.ndarray:
        """3x3 matrix from ``(x, y, 1)`` to a direction of arbitrary positive length."""
        return self._base_matrix[0] @ self._base_affine

    @cached_property
    def inverse(self) -> np.ndarray:
        """Inverse of `matrix`."""
        return np.linalg.inv(self.matrix)

    @property
    def _base_affine(self) -> np.ndarray:
        x0, bx, y0, by = self.to_base
        return np.array([[bx, 0, x0], [0, by, y0], [0, 0, 1.0]])

    @property
    def centre(self) -> tuple[float, float]:
        """Pixel coordinates of the array's centre."""
        return (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2

    def _base_centre(self) -> tuple[float, float]:
        x0, bx, y0, by = self.to_base
        return x0 + bx * self.centre[0], y0 + by * self.centre[1]

    def _base_extent(self) -> tuple[float, float]:
        return self.to_base[1] * self.shape[1], self.to_base[3] * self.shape[0]

    def to_directions(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Directions of pixel coordinates.

        Parameters
        ----------
        x, y : `numpy.ndarray`
            0-based; they broadcast.

        Returns
        -------
        `numpy.ndarray`, shape (3, ...)
            Of any length but nil, as in `direction`; NaN outside the projection.
        """
        if self.exact:
            m = self.matrix
            return np.array([m[i, 0] * x + m[i, 1] * y + m[i, 2] for i in range(3)])
        x0, bx, y0, by = self.to_base
        lon, lat = _to_sky(self.wcs, x0 + bx * np.asarray(x, float), y0 + by * np.asarray(y, float))
        return direction(np.radians(lon), np.radians(lat))

    def from_directions(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates of directions.

        Parameters
        ----------
        vectors : `numpy.ndarray`, shape (3, ...)
            As in `direction`, of any length.

        Returns
        -------
        x, y : `numpy.ndarray`
            0-based; NaN for directions behind the tangent plane.
        """
        if self.exact:
            m = self.inverse
            px, py, w = (m[i, 0] * vectors[0] + m[i, 1] * vectors[1] + m[i, 2] * vectors[2] for i in range(3))
            w = np.where(w > 0, w, np.nan)
            return px / w, py / w
        lon, lat = angles(vectors)
        x, y = _to_pixels(self.wcs, np.degrees(lon), np.degrees(lat))
        x0, bx, y0, by = self.to_base
        return (x - x0) / bx, (y - y0) / by

    def angles(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Helioprojective angles in radians of pixel coordinates.

        Parameters
        ----------
        x, y : `numpy.ndarray` or `float`
            0-based; they broadcast.
        """
        return angles(self.to_directions(np.asarray(x, float), np.asarray(y, float)))

    def jacobian(self, x: float, y: float) -> np.ndarray:
        """Derivative of the plane tangent at a pixel, by the pixel.

        Parameters
        ----------
        x, y : `float`
            The pixel, 0-based.

        Returns
        -------
        `numpy.ndarray`, shape (2, 2)
            Radians towards (+Tx, +Ty) as rows, by pixels along (x, y) as columns.
        """
        plane = tangent_basis(*(float(a) for a in self.angles(x, y))) @ self.matrix
        return plane[1:, :2] / (plane[0] @ [x, y, 1.0])

    def axes(self, x: float, y: float) -> np.ndarray:
        """Unit vectors on the sky along the pixel axes.

        Parameters
        ----------
        x, y : `float`
            The pixel, 0-based.

        Returns
        -------
        `numpy.ndarray`, shape (2, 2)
            Columns: the axes x and y, in (+Tx, +Ty).
        """
        linear = self.jacobian(x, y)
        return np.asarray(linear / np.hypot(*linear))

    @cached_property
    def pixel_size(self) -> tuple[float, float]:
        """Lengths, in radians, of a step along the pixel axes x and y at the centre."""
        size = np.hypot(*self.jacobian(*self.centre))
        return float(size[0]), float(size[1])

    def crop(self, y: slice, x: slice) -> PixelGrid:
        """Sub-grid.

        Parameters
        ----------
        y, x : slice
            Rows and columns, with explicit non-negative ends.
        """
        x0, bx, y0, by = self.to_base
        shape = (y.stop - y.start, x.stop - x.start)
        return self._cut(shape, (x0 + bx * x.start, bx, y0 + by * y.start, by))

    def binned(self, by: int, bx: int) -> PixelGrid:
        """Grid of blocks of ``by`` x ``bx`` pixels; an incomplete last block is dropped.

        Parameters
        ----------
        by, bx : `int`
            Rows and columns of a block.
        """
        x0, sx, y0, sy = self.to_base
        shape = (self.shape[0] // by, self.shape[1] // bx)
        return self._cut(shape, (x0 + sx * (bx - 1) / 2, sx * bx, y0 + sy * (by - 1) / 2, sy * by))

    def _cut(self, shape: tuple[int, int], to_base: tuple[float, float, float, float]) -> PixelGrid:
        """Grid within this one, which is exact where this one is known to be."""
        grid = PixelGrid(self.wcs, shape, to_base)
        if self.__dict__.get("_base_matrix", (None, False))[1]:
            grid.__dict__["_base_matrix"] = self._base_matrix
        return grid

    def affine_to(self, other: PixelGrid) -> np.ndarray:
        """Matrix that makes pixel coordinates of this grid those of another one.

        Parameters
        ----------
        other : `PixelGrid`
            Of the same WCS, cropped, binned or padded otherwise.

        Returns
        -------
        `numpy.ndarray`, shape (3, 3)
        """
        return np.linalg.inv(other._base_affine) @ self._base_affine

    def padded(self, my: int, mx: int) -> PixelGrid:
        """Grid widened on every side.

        Parameters
        ----------
        my, mx : `int`
            Rows and columns to add on either side.
        """
        x0, sx, y0, sy = self.to_base
        shape = (self.shape[0] + 2 * my, self.shape[1] + 2 * mx)
        return PixelGrid(self.wcs, shape, (x0 - sx * mx, sx, y0 - sy * my, sy))


def _direction_matrix(wcs: WCS, centre: tuple[float, float], extent: tuple[float, float]) -> tuple[np.ndarray, bool]:
    """Pixel-to-direction matrix of a TAN WCS, or of the map tangent at ``centre``; and whether it is exact."""
    if all(ctype[4:] == "-TAN" for ctype in wcs.wcs.ctype) and not wcs.has_distortion:
        matrix = _tan_matrix(wcs)
        # LONPOLE, PVi_j and native-pole subtleties are left to wcslib: where they matter the check fails.
        x = centre[0] + extent[0] * np.array([-0.5, 0.5, 0.5, -0.5, 0.0])
        y = centre[1] + extent[1] * np.array([-0.5, -0.5, 0.5, 0.5, 0.0])
        lon, lat = wcs.wcs_pix2world(x, y, 0)
        mine = matrix @ np.array([x, y, np.ones_like(x)])
        theirs = direction(np.radians(lon), np.radians(lat))
        if np.allclose(mine / np.linalg.norm(mine, axis=0), theirs, rtol=0, atol=1e-11):
            return matrix, True
    return _tangent_matrix(wcs, centre), False


def _to_sky(wcs: WCS, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Longitude and latitude in degrees, distortions (SIP, tables) included."""
    found: list[np.ndarray] = (wcs.all_pix2world if wcs.has_distortion else wcs.wcs_pix2world)(x, y, 0)
    return found


def _to_pixels(wcs: WCS, lon: np.ndarray, lat: np.ndarray) -> list[np.ndarray]:
    """Pixels of longitude and latitude in degrees."""
    plain: list[np.ndarray] = wcs.wcs_world2pix(lon, lat, 0)
    if not wcs.has_distortion:
        return plain
    shape = np.shape(plain[0])
    x, y = (np.array(values, float).ravel() for values in plain)
    on_sky = np.isfinite(x) & np.isfinite(y)
    if on_sky.any():
        # Far finer than the steps of a numerical derivative; where the polynomials turn back, it ends all the same.
        sky = (np.broadcast_to(values, shape).ravel()[on_sky] for values in (lon, lat))
        x[on_sky], y[on_sky] = wcs.all_world2pix(*sky, 0, tolerance=1e-9, maxiter=30, quiet=True)
    return [x.reshape(shape), y.reshape(shape)]


def _tan_matrix(wcs: WCS) -> np.ndarray:
    linear = np.radians(wcs.pixel_scale_matrix)
    crpix = wcs.wcs.crpix - 1
    plane = np.array([[0, 0, 1.0], [*linear[0], -linear[0] @ crpix], [*linear[1], -linear[1] @ crpix]])
    return tangent_basis(*np.radians(wcs.wcs.crval)).T @ plane


def _tangent_matrix(wcs: WCS, centre: tuple[float, float]) -> np.ndarray:
    cx, cy = centre
    around = cx + np.array([0, 0.5, -0.5, 0, 0]), cy + np.array([0, 0, 0, 0.5, -0.5])
    lon, lat = np.radians(_to_sky(wcs, *around))
    basis = tangent_basis(lon[0], lat[0])
    u = basis @ direction(lon, lat)
    linear = np.array([u[1:, 1] - u[1:, 2], u[1:, 3] - u[1:, 4]]).T
    offset = -linear @ [cx, cy]
    return basis.T @ np.array([[0, 0, 1.0], [*linear[0], offset[0]], [*linear[1], offset[1]]])
