"""The keywords of a header that place an image on the sky, as they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits

from sunalign.exceptions import CorrectionError

__all__ = ["card_of", "has_matrix", "no_celestial", "plain_values", "sky_axes", "unit_of", "wcs_header"]

#: Ways of old to say helioprojective, which sunpy reads as gnomonic too.
_OLD_CTYPES = {"SOLAR-X": "HPLN-TAN", "SOLAR_X": "HPLN-TAN", "SOLARX": "HPLN-TAN",
               "SOLAR-Y": "HPLT-TAN", "SOLAR_Y": "HPLT-TAN", "SOLARY": "HPLT-TAN"}  # fmt: skip

_LONGITUDE = re.compile(r"(..LN|RA--|.LON)-")
_LATITUDE = re.compile(r"(..LT|DEC-|.LAT)-")
_INDEXED = re.compile(r"(CTYPE|CRPIX|CRVAL|CDELT|CUNIT)(\d+)$|(PC|CD)(\d+)_(\d+)$")
_SIP = re.compile(r"([AB]P?)_(ORDER|\d+_\d+)$")
#: What is ever looked at. A broken card elsewhere in a header is none of our business.
_READ = re.compile(rf"{_INDEXED.pattern}|{_SIP.pattern}|PV\d+_\d+$|(LON|LAT)POLE$|WCSAXES$|CROTA\d*$|[XY]CEN$")


def card_of(header: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Value of a card in a FITS header, a sunpy MetaDict or a dictionary of either case.

    Parameters
    ----------
    header : mapping
    key : `str`
        Upper case.
    default : object
        For a card that is not there, or undefined.
    """
    value = header.get(key)
    if value is None:
        value = header.get(key.lower())
    return default if value is None else value


def plain_values(header: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords, upper case, that place an image on the sky; undefined ones are left out."""
    return {
        str(key).upper(): header[key]
        for key in header
        if _READ.match(str(key).upper()) and isinstance(header[key], (str, int, float, np.generic))
    }


def sky_axes(values: dict[str, Any]) -> tuple[int, int] | None:
    """Numbers, from 1, of the longitude and the latitude axis; `None` where there are not exactly one and one.

    Parameters
    ----------
    values : `dict`
        As from `plain_values`.
    """
    ctypes = _ctypes(values)
    lon = [i for i, ctype in ctypes.items() if _LONGITUDE.match(ctype)]
    lat = [i for i, ctype in ctypes.items() if _LATITUDE.match(ctype)]
    return (lon[0], lat[0]) if len(lon) == len(lat) == 1 else None


def _ctypes(values: dict[str, Any]) -> dict[int, str]:
    return {int(key[5:]): _ctype(value) for key, value in values.items() if re.match(r"CTYPE\d+$", key)}


def wcs_header(values: dict[str, Any]) -> fits.Header:
    """Only what places pixels on the sky: other axes keep their part of the linear map and lose their meaning.

    Parameters
    ----------
    values : `dict`
        As from `plain_values`.

    Returns
    -------
    `~astropy.io.fits.Header`

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        If there is no celestial pair of axes.
    """
    ctypes, axes = _ctypes(values), sky_axes(values)
    if axes is None:
        raise CorrectionError(no_celestial(ctypes.values()))
    clean = fits.Header()
    clean["WCSAXES"] = _n_axes(values)
    pc, cd = has_matrix(values, "PC"), has_matrix(values, "CD")
    for key, value in values.items():
        match = _INDEXED.match(key)
        if match is None or match[1] in ("CTYPE", "CUNIT"):
            continue
        if match[1] == "CDELT" and cd and not pc:
            continue  # has no meaning beside CD, and wcslib says so in a warning
        clean[key] = _finite(key, value)
    for axis in axes:
        clean[f"CTYPE{axis}"] = ctypes[axis]
        clean[f"CUNIT{axis}"] = unit_of(values, axis - 1).to_string("fits")
        for key, value in values.items():
            if re.match(rf"PV{axis}_\d+$", key) or (key == f"CROTA{axis}" and not (pc or cd)):
                clean[key] = _finite(key, value)
    for key in ("LONPOLE", "LATPOLE"):
        if key in values:
            clean[key] = _finite(key, values[key])
    if ctypes[axes[0]].endswith("-SIP"):
        clean.update({key: value for key, value in values.items() if _SIP.match(key)})
    return clean


def _finite(key: str, value: Any) -> float:
    """Value of a card as the number it has to be."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise CorrectionError(f"The header has {key} = {value!r}, which is no finite number; mend {key}.")
    return number


def _ctype(value: Any) -> str:
    ctype = str(value).strip().upper()
    return _OLD_CTYPES.get(ctype, ctype)


def _n_axes(values: dict[str, Any]) -> int:
    indices = [int(i) for key in values if (m := _INDEXED.match(key)) for i in (m[2], m[4], m[5]) if i]
    return max([int(values.get("WCSAXES", 0)), *indices])


def has_matrix(values: dict[str, Any], name: str) -> bool:
    """Whether there is any element of "PC" or "CD".

    Parameters
    ----------
    values : `dict`
        As from `plain_values`.
    name : `str`
        ``"PC"`` or ``"CD"``.
    """
    return any(re.match(rf"{name}\d+_\d+$", key) for key in values)


def unit_of(values: dict[str, Any], axis: int) -> u.UnitBase:
    """Unit of a world axis (0-based), degrees where it is not said.

    Parameters
    ----------
    values : `dict`
        As from `plain_values`.
    axis : `int`
        0-based.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        If it is no angle.
    """
    text = str(values.get(f"CUNIT{axis + 1}", "deg")).strip().lower() or "deg"
    try:
        unit = u.Unit(text)
        unit.to(u.deg)
    except (ValueError, TypeError, u.UnitConversionError) as error:
        raise CorrectionError(
            f"CUNIT{axis + 1} of the header is '{text}', which is not an angle; deg, arcsec or rad are understood."
        ) from error
    return unit


def no_celestial(ctypes: Iterable[str]) -> str:
    """Say that a header has no celestial axes.

    Parameters
    ----------
    ctypes : iterable of `str`
        Of all axes.
    """
    return (
        f"The header has no celestial axes to correct (CTYPE: {', '.join(c or 'none' for c in ctypes) or 'none'}); "
        f"one longitude and one latitude axis such as HPLN-TAN and HPLT-TAN are needed."
    )
