"""Write a correction into the keywords of a WCS.

Pixels go to a plane by a linear map (CRPIX and PC+CDELT, CD or CROTA), the plane to the sky by a projection (CTYPE,
CRVAL, LONPOLE). A correction moves the sky, so the sky coordinates that every pixel should have are known exactly. They
are reached by a new CRVAL, the corrected coordinate of the reference pixel, and a 2x2 matrix acting on the plane. The
matrix multiplies the two celestial *rows* of the linear map, whatever pixel axes they depend on; the rows of wavelength
and time are never touched. For a correction without scale in a zenithal projection this is exact. What is left over
elsewhere is measured through wcslib, with the keywords as they are written, and reported in pixels.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS, WcsError

from sunalign.coordinates import angles, direction
from sunalign.correction import Correction
from sunalign.exceptions import CorrectionError

__all__ = [
    "SkyPart",
    "Solution",
    "add_history",
    "check_residual",
    "copied",
    "history_entry",
    "is_nothing",
    "keywords",
    "plain_values",
    "refit",
    "sample_pixels",
    "solve",
]

#: A change that moves no pixel by more than this (in pixels) is rounding, and the old keyword stays as it is.
_NEGLIGIBLE = 1e-8

#: Ways of old to say helioprojective, which sunpy reads as gnomonic too.
_OLD_CTYPES = {"SOLAR-X": "HPLN-TAN", "SOLAR_X": "HPLN-TAN", "SOLARX": "HPLN-TAN",
               "SOLAR-Y": "HPLT-TAN", "SOLAR_Y": "HPLT-TAN", "SOLARY": "HPLT-TAN"}  # fmt: skip

_LONGITUDE = re.compile(r"(..LN|RA--|.LON)-")
_LATITUDE = re.compile(r"(..LT|DEC-|.LAT)-")
_INDEXED = re.compile(r"(CTYPE|CRPIX|CRVAL|CDELT|CUNIT)(\d+)$|(PC|CD)(\d+)_(\d+)$")
_SIP = re.compile(r"([AB]P?)_(ORDER|\d+_\d+)$")
#: What is ever looked at. A broken card elsewhere in a header is none of our business.
_READ = re.compile(rf"{_INDEXED.pattern}|{_SIP.pattern}|PV\d+_\d+$|(LON|LAT)POLE$|WCSAXES$|CROTA\d*$|[XY]CEN$")


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

    @classmethod
    def from_wcs(cls, wcs: WCS) -> SkyPart:
        """Take it from a WCS with any number of axes."""
        own = wcs.deepcopy()
        own.wcs.set()  # to degrees
        axes = (own.wcs.lng, own.wcs.lat)
        if min(axes) < 0:
            raise CorrectionError(_no_celestial(own.wcs.ctype))
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
        # A LONPOLE that only repeats the default goes with it: that of a cylindrical projection is 0 to the north of the
        # equator and 180 to the south, where the other is not even allowed.
        return part if part.pole == own.wcs.lonpole else replace(part, lonpole=own.wcs.lonpole)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> SkyPart:
        """Take it from the keywords of a header with any number of axes; nothing else in the header matters."""
        return cls.from_wcs(WCS(_wcs_header(plain_values(header))))

    @property
    def zenithal(self) -> bool:
        """Whether the plane's origin is the native pole."""
        return bool(self._projection.wcs.theta0 == 90)

    @property
    def pole(self) -> float:
        """LONPOLE, given or by default."""
        return float(self._projection.wcs.lonpole)

    def to_plane(self, pixels: np.ndarray) -> np.ndarray:
        """Plane coordinates, shape (2, k), of 0-based pixel coordinates of shape (n, k)."""
        if self.distorted is not None:
            pixels = np.array(self.distorted.pix2foc(*pixels, 0))
        return self.rows @ (pixels - self.crpix[:, None])

    def to_sky(self, plane: np.ndarray) -> np.ndarray:
        """Directions, shape (3, k), of plane coordinates."""
        lon, lat = self._projection.wcs_pix2world(*plane, 1)
        return direction(np.radians(lon), np.radians(lat))

    def from_sky(self, directions: np.ndarray) -> np.ndarray:
        """Plane coordinates, shape (2, k), of directions."""
        lon, lat = angles(directions)
        return np.array(self._projection.wcs_world2pix(np.degrees(lon), np.degrees(lat), 1))

    def in_pixels(self, difference: np.ndarray) -> np.ndarray:
        """Lengths, in pixels, of small differences in the plane."""
        return np.hypot.reduce(np.linalg.pinv(self.rows) @ difference, axis=0)

    @cached_property
    def _projection(self) -> WCS:
        # A WCS whose pixel coordinates (from 1, CRPIX = 0) are the plane's.
        plane = WCS(naxis=2)
        plane.wcs.ctype = list(self.ctype)
        plane.wcs.cunit = ["deg", "deg"]
        plane.wcs.crval = self.crval
        plane.wcs.lonpole, plane.wcs.latpole = self.lonpole, self.latpole
        plane.wcs.set_pv([(axis + 1, m, value) for axis, m, value in self.pv])
        plane.wcs.set()
        return plane


@dataclass(frozen=True, eq=False)
class Solution:
    """New reference coordinate and rows of a `SkyPart`, and the matrix that acts on its plane."""

    part: SkyPart
    linear: np.ndarray
    pixels: np.ndarray
    wanted: np.ndarray

    def residual(self, written: SkyPart) -> float:
        """Largest distance, in pixels, of a WCS's coordinates from those wanted."""
        difference = written.from_sky(self.wanted) - written.to_plane(self.pixels)
        finite = np.isfinite(difference).all(axis=0)
        return float(written.in_pixels(difference[:, finite]).max()) if finite.any() else np.inf


def refit(
    header: Mapping[str, Any],
    correction: Correction,
    shape: Sequence[int],
    tolerance: float = 0.1,
) -> tuple[dict[str, float], float]:
    """Keywords of a header that a correction changes.

    Parameters
    ----------
    header : mapping
        A `~astropy.io.fits.Header`, a map's ``meta`` or a `dict` with the keywords of a FITS WCS of any number of axes.
    correction : `~sunalign.Correction`
        What to write.
    shape : sequence of `int`
        Array shape of the data, slowest axis first: ``(ny, nx)``, or more. Axes of the WCS that the data lack are at
        their first pixel.
    tolerance : `float`
        Largest error allowed, in pixels.

    Returns
    -------
    cards : `dict`
        Keyword (upper case) to new value, in the header's own convention and units. CRPIX is never among them.
    residual : `float`
        Largest difference, in pixels, between what was asked for and what the keywords say.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        The header has no celestial axes, or the residual exceeds ``tolerance``.
    """
    values = plain_values(header)
    part = SkyPart.from_header(values)
    if is_nothing(correction):
        return {}, 0.0
    solution = solve(part, correction, sample_pixels(part, shape))
    cards = keywords(values, part, solution, units=_units(values, part.axes))
    residual = solution.residual(SkyPart.from_header(values | cards))
    check_residual(residual, tolerance, crota=_convention(values, _crota_key(part)) == "crota")
    return cards, residual


def is_nothing(correction: Correction) -> bool:
    """Whether a correction moves nothing at all."""
    return bool((correction.shift.value == 0).all() and (correction.matrix == np.eye(2)).all())


def sample_pixels(part: SkyPart, shape: Sequence[int], count: int = 9) -> np.ndarray:
    """Pixel coordinates, shape (n, k), on a grid over the axes the sky depends on; edges included."""
    n = part.rows.shape[1]
    lengths = [*reversed(shape)][:n] + [1] * (n - len(shape))
    used = np.asarray(part.rows.any(axis=0))
    along = [
        np.linspace(-0.5, lengths[j] - 0.5, count if j in part.axes else 3) if used[j] else np.zeros(1)
        for j in range(n)
    ]
    return np.array(list(itertools.product(*along))).T


def solve(part: SkyPart, correction: Correction, pixels: np.ndarray) -> Solution:
    """Fit a correction at some pixels of shape (n, k).

    CRVAL is the corrected coordinate of the reference pixel. Only where that is not good enough, because the reference
    pixel is far away or the projection is not zenithal, is it fitted as well.
    """
    plane = part.to_plane(pixels)
    wanted = correction.sky_matrix @ part.to_sky(plane)
    finite = np.isfinite(wanted).all(axis=0)
    if not finite.any():
        raise CorrectionError("None of the image's pixels is on the sky; check CRPIX, CRVAL and CDELT of its header.")
    pixels, plane, wanted = pixels[:, finite], plane[:, finite], wanted[:, finite]
    moved = np.degrees(angles(correction.sky_matrix @ direction(*np.radians(part.crval))))
    try:
        solution = _solution(part, _near(moved, part.crval), plane, pixels, wanted)
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
    if part.in_pixels((linear - np.eye(2)) @ plane).max() < _NEGLIGIBLE:
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


def keywords(
    values: dict[str, Any],
    part: SkyPart,
    solution: Solution,
    *,
    units: tuple[u.UnitBase, u.UnitBase],
    crota_key: str | None = None,
) -> dict[str, float]:
    """Keywords that say a solution, in the convention of a header.

    Parameters
    ----------
    values : mapping
        The header, upper-case keys.
    part : `SkyPart`
        What it said.
    solution : `Solution`
        What it shall say.
    units : `tuple` of unit
        Those of the longitude and latitude axes.
    crota_key : `str`, optional
        Keyword that is the rotation where there is neither PC nor CD; that of the latitude axis by default, and none
        if it is empty.

    Returns
    -------
    `dict`
        Upper-case keyword to value; only what differs from ``values``.
    """
    per_unit = np.array([unit.to(u.deg) for unit in units])
    crota_key = _crota_key(part) if crota_key is None else crota_key
    least = _NEGLIGIBLE * float(np.abs(part.rows).max())
    new: dict[str, float] = {
        f"CRVAL{axis + 1}": solution.part.crval[k] / per_unit[k]
        for k, axis in enumerate(part.axes)
        if abs(solution.part.crval[k] - part.crval[k]) > least
    }
    if not np.array_equal(solution.linear, np.eye(2)):
        old, rows = (p.rows / per_unit[:, None] for p in (part, solution.part))
        write = {"pc": _pc_cards, "cd": _cd_cards, "crota": _cdelt_cards}[_convention(values, crota_key)]
        reach = max(float(np.abs(solution.pixels - part.crpix[:, None]).max()), 1.0)
        new |= write(values, part, old, rows, _NEGLIGIBLE / reach)
        new |= _roll_cards(values, part, solution.part, crota_key)
    new |= _centre_cards(values, part, solution, units)
    new |= _pole_cards(values, part, solution)
    return {key: float(value) for key, value in new.items() if values.get(key) != float(value)}


def _convention(values: dict[str, Any], crota_key: str) -> str:
    if _has_matrix(values, "PC"):
        return "pc"
    if _has_matrix(values, "CD"):
        return "cd"
    # Without any of them a rotation, once needed, is written as PC.
    return "crota" if crota_key in values else "pc"


def _has_matrix(values: dict[str, Any], name: str) -> bool:
    return any(re.match(rf"{name}\d+_\d+$", key) for key in values)


def _crota_key(part: SkyPart) -> str:
    return f"CROTA{part.axes[1] + 1}"


def _cdelts(values: dict[str, Any], part: SkyPart, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """CDELT of both rows, multiplied by what happened to the length of the pixel axis of the same number."""
    lengths, news = (np.hypot(*rows[:, list(part.axes)]) for rows in (old, new))
    ratio = np.divide(news, lengths, out=np.ones(2), where=lengths > 0)
    return np.array([float(values.get(f"CDELT{axis + 1}", 1.0)) for axis in part.axes]) * ratio


def _cdelt_cards(
    values: dict[str, Any], part: SkyPart, old: np.ndarray, new: np.ndarray, least: float
) -> dict[str, float]:
    cdelt = _cdelts(values, part, old, new)
    cards = {f"CDELT{axis + 1}": cdelt[k] for k, axis in enumerate(part.axes)}
    return {key: value for key, value in cards.items() if abs(value / float(values.get(key, 1.0)) - 1) > least}


def _pc_cards(
    values: dict[str, Any], part: SkyPart, old: np.ndarray, new: np.ndarray, least: float
) -> dict[str, float]:
    cards = _cdelt_cards(values, part, old, new, least)
    cdelt = np.array([float((values | cards).get(f"CDELT{axis + 1}", 1.0)) for axis in part.axes])
    pc = np.divide(new, cdelt[:, None], out=np.zeros_like(new), where=cdelt[:, None] != 0)
    default = np.array([np.arange(new.shape[1]) == axis for axis in part.axes], float)
    turned = _matrix_cards("PC", values, part, pc, default, least)
    if turned and not _has_matrix(values, "PC"):
        # Four keywords where there were none: a lone PC1_2 is right but reads as a mistake.
        block = {f"PC{i + 1}_{j + 1}": pc[k, j] for k, i in enumerate(part.axes) for j in part.axes}
        turned = block | turned
    return cards | turned


def _cd_cards(
    values: dict[str, Any], part: SkyPart, old: np.ndarray, new: np.ndarray, least: float
) -> dict[str, float]:
    cards = _matrix_cards("CD", values, part, new, np.zeros_like(new), least * float(np.abs(new).max()))
    # CDELT beside CD has no meaning in the standard; where it is there, people read it.
    beside = _cdelt_cards(values, part, old, new, least)
    return cards | {key: value for key, value in beside.items() if key in values}


def _matrix_cards(
    name: str, values: dict[str, Any], part: SkyPart, matrix: np.ndarray, default: np.ndarray, least: float
) -> dict[str, float]:
    return {
        key: matrix[k, j]
        for k, axis in enumerate(part.axes)
        for j in range(matrix.shape[1])
        if abs(matrix[k, j] - float(values.get(key := f"{name}{axis + 1}_{j + 1}", default[k, j]))) > least
    }


def _roll_cards(values: dict[str, Any], old: SkyPart, new: SkyPart, crota_key: str) -> dict[str, float]:
    """Every CROTA there is, turned with the pixel axes, whether it defines the rotation or only repeats it."""
    before, after = (part.rows[:, list(part.axes)] for part in (old, new))
    cross = before[0] * after[1] - before[1] * after[0]
    turn = float(np.degrees(np.arctan2(cross, (before * after).sum(axis=0)).mean()))
    signs = np.sign([float(values.get(f"CDELT{axis + 1}", 1.0)) for axis in old.axes])
    roll = float(np.degrees(np.arctan2(signs[0] * before[1, 0], signs[0] * before[0, 0])))
    cards = {}
    for key in ("CROTA", "CROTA1", "CROTA2", crota_key):
        if key in values:
            value = float(values[key])
            # Some pipelines count the repeated angle the other way round.
            opposite = key != crota_key and abs(value + roll) < abs(value - roll)
            cards[key] = value - turn if opposite else value + turn
    return cards


def _centre_cards(
    values: dict[str, Any], part: SkyPart, solution: Solution, units: tuple[u.UnitBase, u.UnitBase]
) -> dict[str, float]:
    """XCEN and YCEN, where present, moved with the centre of the field."""
    if not {"XCEN", "YCEN"} <= values.keys():
        return {}
    centre = solution.pixels.mean(axis=1, keepdims=True)
    old, new = (np.degrees(np.ravel(angles(p.to_sky(p.to_plane(centre))))) for p in (part, solution.part))
    written = np.array([float(values["XCEN"]), float(values["YCEN"])])
    # The keywords are in arcsec by habit, or in the units of the axes: whichever agrees with the old coordinates.
    choices = [np.array([u.deg.to(unit) for unit in pair]) for pair in (units, (u.arcsec, u.arcsec))]
    factor = min(choices, key=lambda f: float(np.abs(written - old * f).max() / f.max()))
    moved = written + (_near(new, old) - old) * factor
    return {"XCEN": moved[0], "YCEN": moved[1]}


def _pole_cards(values: dict[str, Any], part: SkyPart, solution: Solution) -> dict[str, float]:
    cards: dict[str, float] = {}
    if "LONPOLE" in values and solution.part.pole != part.pole:
        cards["LONPOLE"] = solution.part.pole
    # In a zenithal projection LATPOLE has no say and repeats CRVAL2, as wcslib and SPICE write it.
    repeats = "LATPOLE" in values and abs(float(values["LATPOLE"]) - part.crval[1]) < 1e-9
    if repeats and part.zenithal:
        cards["LATPOLE"] = solution.part.crval[1]
    return cards


def check_residual(residual: float, tolerance: float, *, crota: bool = False) -> None:
    """Raise `~sunalign.exceptions.CorrectionError` where what is left over, in pixels, exceeds the tolerance."""
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


def plain_values(header: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords, upper case, that place an image on the sky; undefined ones are left out."""
    return {
        str(key).upper(): header[key]
        for key in header
        if _READ.match(str(key).upper()) and isinstance(header[key], (str, int, float, np.generic))
    }


def _wcs_header(values: dict[str, Any]) -> fits.Header:
    """Only what places pixels on the sky: other axes keep their part of the linear map and lose their meaning."""
    ctypes = {int(key[5:]): _ctype(value) for key, value in values.items() if re.match(r"CTYPE\d+$", key)}
    lon = [i for i, ctype in ctypes.items() if _LONGITUDE.match(ctype)]
    lat = [i for i, ctype in ctypes.items() if _LATITUDE.match(ctype)]
    if len(lon) != 1 or len(lat) != 1:
        raise CorrectionError(_no_celestial(ctypes.values()))
    clean = fits.Header()
    clean["WCSAXES"] = _n_axes(values)
    modern = _has_matrix(values, "PC") or _has_matrix(values, "CD")
    for key, value in values.items():
        match = _INDEXED.match(key)
        if match is None or match[1] in ("CTYPE", "CUNIT"):
            continue
        if match[1] == "CDELT" and not _has_matrix(values, "PC") and _has_matrix(values, "CD"):
            continue  # has no meaning beside CD, and wcslib says so in a warning
        clean[key] = float(value)
    for axis in (lon[0], lat[0]):
        clean[f"CTYPE{axis}"] = ctypes[axis]
        clean[f"CUNIT{axis}"] = _unit(values, axis).to_string("fits")
        for key, value in values.items():
            if re.match(rf"PV{axis}_\d+$", key) or (key == f"CROTA{axis}" and not modern):
                clean[key] = float(value)
    for key in ("LONPOLE", "LATPOLE"):
        if key in values:
            clean[key] = float(values[key])
    if ctypes[lon[0]].endswith("-SIP"):
        clean.update({key: value for key, value in values.items() if _SIP.match(key)})
    return clean


def _ctype(value: Any) -> str:
    ctype = str(value).strip().upper()
    return _OLD_CTYPES.get(ctype, ctype)


def _n_axes(values: dict[str, Any]) -> int:
    indices = [int(i) for key in values if (m := _INDEXED.match(key)) for i in (m[2], m[4], m[5]) if i]
    return max([int(values.get("WCSAXES", 0)), *indices])


def _unit(values: dict[str, Any], axis: int) -> u.UnitBase:
    text = str(values.get(f"CUNIT{axis}", "deg")).strip().lower() or "deg"
    try:
        unit = u.Unit(text)
        unit.to(u.deg)
    except (ValueError, TypeError, u.UnitConversionError) as error:
        raise CorrectionError(
            f"CUNIT{axis} of the header is '{text}', which is not an angle; deg, arcsec or rad are understood."
        ) from error
    return unit


def _units(values: dict[str, Any], axes: tuple[int, int]) -> tuple[u.UnitBase, u.UnitBase]:
    return _unit(values, axes[0] + 1), _unit(values, axes[1] + 1)


def _no_celestial(ctypes: Iterable[str]) -> str:
    return (
        f"The header has no celestial axes to correct (CTYPE: {', '.join(c or 'none' for c in ctypes) or 'none'}); "
        f"one longitude and one latitude axis such as HPLN-TAN and HPLT-TAN are needed."
    )


def _near(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Longitude and latitude in degrees, the longitude on the branch of the old one."""
    return np.array([old[0] + (new[0] - old[0] + 180) % 360 - 180, new[1]])


def history_entry(correction: Correction, provenance: str | Iterable[str] | None = None) -> str:
    """What HISTORY says about a correction: version, what moved and by how much, pivot, and any further lines."""
    pivot = ", ".join(f"{value:.3f}" for value in correction.pivot.to_value(u.arcsec))
    lines = [f"sunalign {_version()}: {correction.describe()}", f"sunalign pivot ({pivot}) arcsec"]
    if provenance is not None:
        lines += provenance.splitlines() if isinstance(provenance, str) else list(provenance)
    return "\n".join(_ascii(line) for line in lines)


def copied(meta: Any) -> Any:
    """Shallow copy of a mapping, of its own type and with what it remembers (a map's original meta)."""
    # `copy` of a dict's subclass may return a plain dict; copy.copy of a map's meta forgets the original.
    own = meta.copy() if hasattr(meta, "copy") else None
    return own if type(own) is type(meta) else copy.copy(meta)


def add_history(meta: MutableMapping[str, Any], text: str) -> None:
    """Append to the HISTORY of a FITS header, a map's ``meta`` or a `dict`, in place.

    Parameters
    ----------
    meta : mutable mapping
        A `~astropy.io.fits.Header` gains one card or more for every line; anything else keeps one string, whose
        lines become cards when a map is saved.
    text : `str`
        Characters that FITS does not allow are spelt out or replaced by ``?``.
    """
    lines = [part for line in text.splitlines() for part in textwrap.wrap(_ascii(line), 72) or [""]]
    if isinstance(meta, fits.Header):
        for line in lines:
            meta.add_history(line)
        return
    upper = bool(meta) and all(str(key) == str(key).upper() for key in meta)
    key = next((key for key in meta if str(key).lower() == "history"), "HISTORY" if upper else "history")
    old = str(meta.get(key) or "").rstrip("\n")
    meta[key] = "\n".join([old, *lines] if old else lines)


def _ascii(line: str) -> str:
    for sign, words in {"±": "+/-", "×": "x", "−": "-", "″": " arcsec", "°": " deg", "µ": "u", "μ": "u"}.items():
        line = line.replace(sign, words)
    return "".join(c if " " <= c <= "~" else "?" for c in line)


def _version() -> str:
    try:
        return importlib.metadata.version("sunalign")
    except importlib.metadata.PackageNotFoundError:  # a checkout that was never installed
        return "(development)"
