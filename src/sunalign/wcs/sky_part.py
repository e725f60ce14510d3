"""The part of a WCS that a correction changes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from astropy.wcs import WCS, FITSFixedWarning, WcsError

from sunalign.exceptions import CorrectionError
from sunalign.geometry.coordinates import angles, direction
from sunalign.wcs.header import no_celestial, plain_values, wcs_header
from sunalign.wcs.plausible import impossible_scales, standing_still, unusable

__all__ = ["SkyPart"]


@dataclass(frozen=True, eq=False)
class SkyPart:
    """The celestial part of a WCS: ``n`` pixel axes to a plane, and the plane to the sky. Angles in degrees.

    Parameters
    ----------
    axes : `tuple` of `int`
        World axes, 0-based, of longitude and latitude.
    rows : `numpy.ndarray`, shape (2, n)
        Degrees of (longitude, latitude) in the plane per pixel.
    crpix : `numpy.ndarray`, shape (n,)
        0-based.
    crval : `numpy.ndarray`, shape (2,)
    ctype : `tuple` of `str`
    lonpole, latpole : `float`
        LONPOLE is NaN where the default of the FITS standard holds, which depends on CRVAL. LATPOLE is 90 by default.
    pv : `tuple`
        ``(0 or 1, m, value)`` of the projection parameters.
    distorted : `~astropy.wcs.WCS`, optional
        Where pixels are moved (SIP, lookup tables) before the linear map.
    """

    axes: tuple[int, int]
    rows: np.ndarray
    crpix: np.ndarray
    crval: np.ndarray
    ctype: tuple[str, str]
    lonpole: float = np.nan
    latpole: float = 90.0
    pv: tuple[tuple[int, int, float], ...] = ()
    distorted: WCS | None = None
    _made: dict[Any, WCS] = field(default_factory=dict, repr=False)

    @classmethod
    def from_wcs(cls, wcs: WCS, name: str = "The WCS", *, plausible: bool = True) -> SkyPart:
        """Take it from a WCS with any number of axes.

        Parameters
        ----------
        wcs : `~astropy.wcs.WCS`
            Copied.
        name : `str`
            How errors speak of its owner.
        plausible : `bool`
            Whether scales that no image of the Sun has are refused.
        """
        try:
            own = wcs.deepcopy()
            own.wcs.set()  # to degrees
        except WcsError as error:
            raise CorrectionError(unusable(wcs, name)) from error
        axes = (own.wcs.lng, own.wcs.lat)
        if min(axes) < 0:
            raise CorrectionError(no_celestial(own.wcs.ctype))
        part = cls(
            axes=axes,
            rows=own.pixel_scale_matrix[list(axes)],
            crpix=own.wcs.crpix - 1,
            crval=own.wcs.crval[list(axes)],
            ctype=(own.wcs.ctype[axes[0]][:8], own.wcs.ctype[axes[1]][:8]),
            latpole=own.wcs.latpole,
            pv=tuple((axes.index(i - 1), m, value) for i, m, value in own.wcs.get_pv() if i - 1 in axes),
            distorted=own if own.naxis == 2 and own.has_distortion else None,
        )
        if plausible and (impossible := impossible_scales(part.rows, own, axes, name)) is not None:
            raise CorrectionError(impossible)
        # A LONPOLE that only repeats the default goes with it: that of a cylindrical projection is 0 north of the
        # equator and 180 south of it, where the other is not even allowed.
        return part if part.pole == own.wcs.lonpole else replace(part, lonpole=own.wcs.lonpole)

    @classmethod
    def from_header(cls, header: Mapping[str, Any], name: str = "The header") -> SkyPart:
        """Take it from the keywords of a header with any number of axes; nothing else in the header matters.

        Parameters
        ----------
        header : mapping
        name : `str`
            How errors speak of it.
        """
        values = plain_values(header)
        cards, still = wcs_header(values), standing_still(values, name)
        if still is not None:
            raise CorrectionError(still)
        try:
            with warnings.catch_warnings():
                # What wcslib mends or cannot mend comes out below.
                warnings.simplefilter("ignore", FITSFixedWarning)
                wcs = WCS(cards)
        except WcsError as error:
            raise CorrectionError(unusable(values, name)) from error
        return cls.from_wcs(wcs, name)

    @property
    def zenithal(self) -> bool:
        """Whether the plane's origin is the native pole."""
        return bool(self._projection.wcs.theta0 == 90)

    @property
    def pole(self) -> float:
        """LONPOLE, given or by default."""
        return float(self._projection.wcs.lonpole)

    def to_plane(self, pixels: np.ndarray) -> np.ndarray:
        """Coordinates in the plane of the projection, before it is put on the sky.

        Parameters
        ----------
        pixels : `numpy.ndarray`, shape (n, k)
            0-based, x first.

        Returns
        -------
        `numpy.ndarray`, shape (2, k)
            Degrees.
        """
        if self.distorted is not None:
            pixels = np.array(self.distorted.pix2foc(*pixels, 0))
        return self.rows @ (pixels - self.crpix[:, None])

    def to_sky(self, plane: np.ndarray) -> np.ndarray:
        """Directions of plane coordinates.

        Parameters
        ----------
        plane : `numpy.ndarray`, shape (2, k)
            Degrees.

        Returns
        -------
        `numpy.ndarray`, shape (3, k)
            Unit vectors, as from `~sunalign.geometry.coordinates.direction`.
        """
        lon, lat = self._projection.wcs_pix2world(*plane, 1)
        return direction(np.radians(lon), np.radians(lat))

    def from_sky(self, directions: np.ndarray) -> np.ndarray:
        """Plane coordinates of directions.

        Parameters
        ----------
        directions : `numpy.ndarray`, shape (3, k)
            Of any length.

        Returns
        -------
        `numpy.ndarray`, shape (2, k)
            Degrees.
        """
        lon, lat = angles(directions)
        return np.array(self._projection.wcs_world2pix(np.degrees(lon), np.degrees(lat), 1))

    def in_pixels(self, difference: np.ndarray) -> np.ndarray:
        """Lengths, in pixels, of small differences in the plane.

        Parameters
        ----------
        difference : `numpy.ndarray`, shape (2, ...)
            Degrees.
        """
        return np.hypot.reduce(np.linalg.pinv(self.rows) @ difference, axis=0)

    @property
    def _projection(self) -> WCS:
        # Kept by all that are made of one another by `replace`, most of which differ in their rows alone.
        key = (self.ctype, *map(float, self.crval), repr(self.lonpole), self.latpole, self.pv)
        if key not in self._made:
            self._made[key] = self._make_projection()
        return self._made[key]

    def _make_projection(self) -> WCS:
        # A WCS whose pixel coordinates (from 1, CRPIX = 0) are the plane's.
        plane = WCS(naxis=2)
        plane.wcs.ctype = list(self.ctype)
        plane.wcs.cunit = ["deg", "deg"]
        plane.wcs.crval = self.crval
        plane.wcs.lonpole, plane.wcs.latpole = self.lonpole, self.latpole
        plane.wcs.set_pv([(axis + 1, m, value) for axis, m, value in self.pv])
        plane.wcs.set()
        return plane
