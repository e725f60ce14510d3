"""Two celestial axes out of a header or a FITS WCS with any number of axes.

Keywords are read as the correctors read them, so that what is aligned is what is corrected.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from astropy.wcs import WCS, FITSFixedWarning, WcsError
from astropy.wcs.wcsapi import BaseLowLevelWCS

from sunalign.exceptions import CorrectionError, ImageError
from sunalign.geometry.dates import read_dates
from sunalign.wcs.header import plain_values, wcs_header
from sunalign.wcs.plausible import refuse_sit_and_stare, unusable
from sunalign.wcs.sky_part import SkyPart

__all__ = ["celestial_wcs", "flat_wcs", "sky_numbers", "two_axes"]

#: Cards that say from where.
_SEEN = (
    "RSUN_REF", "DSUN_OBS", "HGLN_OBS", "HGLT_OBS", "CRLN_OBS", "CRLT_OBS",
)  # fmt: skip

#: The same, as attributes of a WCS object.
_DATES = ("dateobs", "dateavg", "datebeg", "dateend", "mjdobs", "mjdavg", "mjdbeg", "mjdend", "timesys", "radesys",
          "equinox", "obsgeo")  # fmt: skip
_OBSERVER = ("rsun_ref", "dsun_obs", "crln_obs", "hgln_obs", "hglt_obs")


def celestial_wcs(header: Mapping[str, Any], name: str = "The header") -> WCS:
    """Two-dimensional WCS of the longitude and latitude axes of a header.

    ``WCS(header).celestial`` raises where another axis depends on the celestial pixel axes, as the time of a slit
    raster does (``PC3_1`` in a map, ``PC4_1`` in a cube); those couplings are left out here.

    Parameters
    ----------
    header : mapping
        A `~astropy.io.fits.Header`, a map's ``meta`` or a `dict` with the keywords of a FITS WCS of any number of axes.
    name : `str`
        How to speak of its owner in errors.

    Returns
    -------
    `~astropy.wcs.WCS`
        World axes longitude and latitude; pixel axes in the header's order.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        The header has no celestial axes, or is one of a sit-and-stare observation.
    """
    refuse_sit_and_stare(header, name)
    try:
        cards = wcs_header(plain_values(header))
    except CorrectionError as error:
        # The correctors' words; here nothing is corrected yet.
        raise ImageError(str(error).replace(" to correct", "").replace("The header", name, 1)) from error
    upper = {str(key).upper(): header[key] for key in header}
    for key in _SEEN:
        if isinstance(upper.get(key), (str, int, float, np.number)) and upper[key] != "":
            if isinstance(upper[key], (float, np.floating)) and not np.isfinite(upper[key]):
                raise ImageError(
                    f"{name} has {key} = {upper[key]}, which is no finite number; mend {key} or remove it."
                )
            cards[key] = upper[key]
    # As they are read, and not as they are written: what astropy cannot read it would stop at.
    cards.update(read_dates(header).cards())
    try:
        with warnings.catch_warnings():
            # That MJD-OBS follows from DATE-OBS, or that a unit was spelt the old way, is nothing the user has to mend.
            warnings.simplefilter("ignore", FITSFixedWarning)
            return two_axes(WCS(cards), name)
    except WcsError as error:
        raise ImageError(unusable(cards, name)) from error


def two_axes(wcs: BaseLowLevelWCS, name: str) -> WCS:
    """Two-dimensional celestial WCS, longitude first, of a FITS WCS whose other pixel axes are at their first pixel.

    Parameters
    ----------
    wcs : `~astropy.wcs.wcsapi.BaseLowLevelWCS`
    name : `str`
        How to speak of its owner.
    """
    if not isinstance(wcs, WCS):
        raise ImageError(
            f"{name} has a {type(wcs).__name__}, whose FITS keywords cannot be corrected; give a FITS WCS."
        )
    lng, lat = sky_numbers(wcs, name)
    if lng < 0 or lat < 0:
        raise ImageError(
            f"{name} has no celestial axes (CTYPE: {', '.join(wcs.wcs.ctype)}); "
            f"one longitude and one latitude axis such as HPLN-TAN and HPLT-TAN are needed."
        )
    if wcs.naxis == 2 and (lng, lat) == (0, 1):
        return wcs
    # The data keep their order even where latitude comes first.
    kept = sorted((lng, lat))
    return flat_wcs(wcs, np.eye(wcs.naxis)[:, kept], np.zeros(wcs.naxis), name)


def sky_numbers(wcs: WCS, name: str) -> tuple[int, int]:
    """World axes of longitude and latitude, 0-based; -1 where there is none.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
    name : `str`
        What the error calls its owner.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        Says why, where wcslib refuses the WCS.
    """
    try:
        return wcs.wcs.lng, wcs.wcs.lat
    except WcsError as error:
        raise ImageError(unusable(wcs, name)) from error


def flat_wcs(wcs: WCS, matrix: np.ndarray, offset: np.ndarray, name: str) -> WCS:
    """Celestial WCS of the pixels ``(x, y)`` that are pixels ``matrix @ (x, y) + offset`` of another one.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        With ``n`` axes, two of them celestial.
    matrix, offset : `numpy.ndarray`, shapes (n, 2) and (n,)
        From the new pixels to the old ones, both 0-based.
    name : `str`
        How to speak of its owner.
    """
    part = SkyPart.from_wcs(wcs, name, plausible=False)  # whoever makes an image of it looks at its scales
    if part.distorted is not None:
        return _moved_distorted(wcs, matrix, offset, name)
    rows = part.rows @ matrix
    if abs(np.linalg.det(rows)) < 1e-12 * np.abs(rows).max(initial=0.0) ** 2:
        raise ImageError(f"{name} has two celestial axes that move along one line on the sky; it is no image.")
    flat = new_wcs(part.ctype, part.crval, rows, -np.linalg.solve(rows, part.rows @ (offset - part.crpix)))
    flat.wcs.lonpole, flat.wcs.latpole = part.lonpole, part.latpole
    flat.wcs.set_pv([(axis + 1, m, value) for axis, m, value in part.pv])
    for attribute in _DATES:
        setattr(flat.wcs, attribute, getattr(wcs.wcs, attribute))
    for attribute in _OBSERVER:
        value = getattr(wcs.wcs.aux, attribute)
        if value is not None:
            setattr(flat.wcs.aux, attribute, value)
    flat.wcs.set()
    return flat


def new_wcs(ctype: tuple[str, str], crval: np.ndarray, rows: np.ndarray, crpix: np.ndarray) -> WCS:
    """WCS of two axes from its linear part.

    Parameters
    ----------
    ctype : `tuple` of two `str`
    crval : `numpy.ndarray`, shape (2,)
        World coordinates of the reference pixel, degrees.
    rows : `numpy.ndarray`, shape (2, 2)
        Degrees a pixel: world axes as rows, pixel axes as columns.
    crpix : `numpy.ndarray`, shape (2,)
        Reference pixel, 0-based, x first.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = list(ctype), ["deg", "deg"]
    wcs.wcs.crval, wcs.wcs.crpix = crval, np.asarray(crpix) + 1
    wcs.wcs.cdelt = np.hypot(*rows)
    wcs.wcs.pc = rows / wcs.wcs.cdelt[:, None]
    return wcs


def _moved_distorted(wcs: WCS, matrix: np.ndarray, offset: np.ndarray, name: str) -> WCS:
    whole = np.array_equal(offset, np.round(offset)) and (offset >= 0).all()
    tabulated = any(table is not None for table in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2))
    simple = np.array_equal(matrix, np.eye(2)) and (wcs.wcs.lng, wcs.wcs.lat) == (0, 1)
    if not (simple and whole) or (tabulated and offset.any()):
        raise ImageError(
            f"{name} has a distortion (SIP or tables) besides its projection, and pixels that are not simply a part of "
            f"those it was made for; reproject it to TAN first."
        )
    x0, y0 = (int(value) for value in offset)
    return wcs.slice((slice(y0, None), slice(x0, None))) if offset.any() else wcs
