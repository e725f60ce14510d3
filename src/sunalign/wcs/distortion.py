"""Distortions that a header or a WCS has besides its linear part and projection: SIP, tables of pixels, of pointing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

import astropy.units as u
from astropy.wcs import WCS

__all__ = ["misread_by_map", "pointing_tables", "without_distortion"]

#: Distortions by lookup table: of pixels (CPDIS, CQDIS), of world coordinates (CWDIS), of the detector.
_TABLES = re.compile(r"(C[PQW]DIS\d+|D2IMDIS\d+)$")


def misread_by_map(header: Mapping[str, Any]) -> bool:
    """Whether a header says more of its coordinates than the ``wcs`` of a Map made with it.

    A Map leaves out SIP polynomials, and takes the second axis to be in the unit of the first.

    Parameters
    ----------
    header : mapping
    """
    values = {str(key).upper(): header[key] for key in header}
    ctypes, units = ([str(values.get(f"{key}{i}", "")).strip().upper() for i in (1, 2)] for key in ("CTYPE", "CUNIT"))
    distorted = {"A_ORDER", "B_ORDER"} <= values.keys() and any(ctype.endswith("-SIP") for ctype in ctypes)
    return distorted or len({_angle(unit) for unit in units} - {None}) == 2


def _angle(text: str) -> u.UnitBase | None:
    try:
        unit = u.Unit(text.lower())
    except ValueError:
        return None
    return unit if unit.is_equivalent(u.deg) else None


def pointing_tables(header: Mapping[str, Any], wcs: WCS | None = None) -> tuple[str, ...]:
    """Cards of a header that name lookup tables of its coordinates which ``wcs`` has not read.

    SPICE has in ``WCSDVARR`` extensions what the pointing of each slit position is off by (``CWDIS1``, ``CWDIS2``).

    Parameters
    ----------
    header : mapping
    wcs : `~astropy.wcs.WCS`, optional
        What is used. Where it holds tables of pixels, they are applied.
    """
    applied = wcs is not None and any(t is not None for t in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2))
    found = {key for key in map(str.upper, map(str, header)) if _TABLES.match(key)}
    return tuple(sorted(key for key in found if key.startswith("CWDIS") or not applied))


def without_distortion(data: np.ndarray, wcs: WCS, to_base: tuple[float, float, float, float]) -> np.ndarray:
    """Image as it is on the pixels of a WCS without its distortion, which a Map cannot have.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    wcs : `~astropy.wcs.WCS`
        With a distortion.
    to_base : `tuple` of `float`
        As in `~sunalign.geometry.coordinates.PixelGrid`: pixels of ``data`` to those of ``wcs``.

    Returns
    -------
    `numpy.ndarray`, shape (ny, nx)
        Linearly interpolated; NaN where there is no valid value.
    """
    x0, bx, y0, by = to_base
    x, y = np.meshgrid(x0 + bx * np.arange(data.shape[1]), y0 + by * np.arange(data.shape[0]))
    # The linear part and the projection of the same WCS lead to the sky, all of it leads back.
    sky = np.array(wcs.wcs_pix2world(x.ravel(), y.ravel(), 0))  # without the distortion, which `all_` includes
    x_on_sky, y_on_sky = (np.reshape(v, x.shape) for v in wcs.all_world2pix(*sky, 0, quiet=True))
    at = np.array([(y_on_sky - y0) / by, (x_on_sky - x0) / bx])
    return np.asarray(map_coordinates(data, at, order=1, cval=np.nan))
