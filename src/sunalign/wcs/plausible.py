"""Whether coordinates can be those of an image of the Sun, asked before anything is computed or allocated from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import astropy.units as u
from astropy.wcs import WCS

from sunalign.exceptions import AlignmentError, ImageError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid
from sunalign.wcs.header import card_of

__all__ = [
    "check_field",
    "check_surface",
    "impossible_scales",
    "number_of",
    "pixel_grid",
    "refuse_sit_and_stare",
    "standing_still",
    "unusable",
]

#: Plate scales, in arcsec, between which images of the Sun lie: the finest telescope has 0.01, a synoptic map a degree
#: or a few, a heliospheric imager 0.02 degrees over a field of 100.
_FINEST, _COARSEST = 0.005, 10 * 3600.0
_COARSEST_SEEN, _WIDEST_SEEN = 3600.0, 120 * 3600.0

#: What stands for 0, in arcsec.
_NOTHING = 1e-5

#: Length over width of a pixel beyond which one of the two scales is wrong; a wide slit has 60.
_LONGEST = 500.0

#: Pixels of a correlation surface, padding included, that are still computed, and the bytes each of them takes: two
#: images, six transforms and their products.
_LARGEST, _BYTES = 10**8, 60

#: Pixels of the reference that the target spans at least, in the longer direction.
_SHORTEST = 4.0

#: Longitudes on the Sun or about it: helioprojective, Carrington and Stonyhurst.
_SOLAR = ("HPLN", "CRLN", "HGLN")

_LATITUDE = re.compile(r"..LT-|DEC-|.LAT-|SOLAR[-_]?Y", re.IGNORECASE)
_SKY = re.compile(r"..(LN|LT)-|(RA|DEC)-|.(LON|LAT)-|SOLAR[-_]?[XY]", re.IGNORECASE)


def standing_still(header: Mapping[str, Any], name: str) -> str | None:
    """Say so where CDELT is 0 along a celestial axis of a header, so that all pixels along it are at one place.

    Parameters
    ----------
    header : mapping
        Of either case.
    name : `str`
        How to speak of its owner, at the beginning of a sentence.
    """
    values = {str(key).upper(): header[key] for key in header if re.match(r"(CTYPE|CDELT|PC|CD)\d", str(key).upper())}
    if any(key.startswith("CD") and key[2:3].isdigit() for key in values):
        if not any(key.startswith("PC") for key in values):
            return None  # CDELT has no meaning beside CD
    for i in range(1, 10):
        ctype, cdelt = str(values.get(f"CTYPE{i}", "")).strip(), number_of(values.get(f"CDELT{i}", 1.0))
        if _SKY.match(ctype) and not (np.isfinite(cdelt) and cdelt != 0):
            return _still(f"CDELT{i}", cdelt, ctype, name)
    return None


def refuse_sit_and_stare(header: Mapping[str, Any], name: str) -> None:
    """Raise an `~sunalign.exceptions.ImageError` for an image of one slit position, exposed again and again.

    Parameters
    ----------
    header : mapping
    name : `str`
        What the error calls the image.
    """
    still = standing_still(header, name)
    if still is not None:
        raise ImageError(still)
    if str(card_of(header, "STUDYTYP", "")).lower().startswith("sit"):
        raise ImageError(
            f"{name} is a sit-and-stare observation: its columns are one slit position at many times, so there is no "
            f"image to align; align a raster of the same pointing instead."
        )


def unusable(wcs: WCS | Mapping[str, Any], name: str) -> str:
    """Say why wcslib refuses the celestial axes of a WCS or a header.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS` or mapping
        Which may not have been set.
    name : `str`
        How to speak of its owner, at the beginning of a sentence.
    """
    cards = _cards(wcs) if isinstance(wcs, WCS) else {str(key).upper(): wcs[key] for key in wcs}
    return (
        standing_still(cards, name)
        or _no_latitude(cards, name)
        or f"{name} has celestial axes that cannot be used: their matrix is singular, or their projection undefined "
        f"there. Check CDELT, PC or CD, CRVAL and LONPOLE."
    )


def _cards(wcs: WCS) -> dict[str, Any]:
    # By the attributes: `lng`, `lat` and `to_header` would raise.
    cards: dict[str, Any] = {}
    for i in range(wcs.naxis):
        cards[f"CTYPE{i + 1}"], cards[f"CUNIT{i + 1}"] = str(wcs.wcs.ctype[i]), str(wcs.wcs.cunit[i])
        cards[f"CRVAL{i + 1}"] = float(wcs.wcs.crval[i])
        if wcs.wcs.has_cd():
            cards[f"CD{i + 1}_{i + 1}"] = float(wcs.wcs.cd[i, i])
        else:
            cards[f"CDELT{i + 1}"] = float(wcs.wcs.cdelt[i])
    return cards


def _no_latitude(cards: Mapping[str, Any], name: str) -> str | None:
    for i in range(1, 10):
        if not _LATITUDE.match(str(cards.get(f"CTYPE{i}", "")).strip()):
            continue
        unit = str(cards.get(f"CUNIT{i}", "") or "deg").strip().lower() or "deg"
        value = number_of(cards.get(f"CRVAL{i}", 0.0))
        try:
            degrees = (value * u.Unit(unit)).to_value(u.deg)
        except (ValueError, TypeError, u.UnitConversionError):
            return None
        if abs(degrees) > 90:
            return (
                f"{name} has CRVAL{i} = {value:.6g} {unit}, which is no latitude. Check CUNIT{i}: the numbers look "
                f"like arcsec under another unit; without CUNIT{i} they are degrees."
            )
    return None


def number_of(value: Any) -> float:
    """A card's value as a number, NaN where it is none.

    Parameters
    ----------
    value : object
        As a header has it.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _still(card: str, value: float, ctype: str, name: str) -> str:
    if not np.isfinite(value):
        return f"{name} has no number in {card}, the pixel size along {ctype}; mend {card}."
    if _LATITUDE.match(ctype):
        return (
            f"{name} has {card} = 0: all pixels along that axis lie at one latitude, so there is no image to align or "
            f"correct; mend {card}."
        )
    return (
        f"{name} has {card} = 0, as a sit-and-stare observation has, or by a fault of its header: all pixels along "
        f"that axis lie at one place on the sky, so there is no image to align or correct. Use a raster of the same "
        f"pointing, or mend {card}."
    )


def pixel_grid(wcs: WCS, shape: Sequence[int], name: str) -> PixelGrid:
    """Pixels of an image whose plate scales are those of an image of the Sun.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes, longitude first.
    shape : sequence of `int`
        ``(ny, nx)``.
    name : `str`
        How to speak of the image, at the beginning of a sentence.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        A pixel is finer or coarser than any instrument's, or thousands of times longer than wide.
    """
    _check_sky(wcs, name)
    # The singular values and not the lengths of the columns: where the axes are rolled and one scale is wrong, both
    # columns have the right one in them.
    scales = np.linalg.svd(wcs.pixel_scale_matrix, compute_uv=False) * 3600
    size = np.hypot(*wcs.pixel_scale_matrix.T) * 3600
    from_observer = str(wcs.wcs.ctype[0]).startswith("HP")
    coarsest, widest = (_COARSEST_SEEN, _WIDEST_SEEN) if from_observer else (_COARSEST, 400 * 3600.0)
    good = _FINEST <= scales[1] and scales[0] <= min(coarsest, _LONGEST * scales[1])
    if _on_one_line(scales, size):
        raise ImageError(_one_line(wcs, name))
    if not (good and (size * shape[::-1]).max() <= widest):
        raise ImageError(
            f"{name} has pixels of {_pair(size)} ({_scale_cards(wcs, (0, 1))}), and so a field of "
            f"{_pair(size * shape[::-1])}, which is no image of the Sun. {_unit_advice(size, (0, 1))}"
        )
    return PixelGrid(wcs, (int(shape[0]), int(shape[1])))


def _check_sky(wcs: WCS, name: str) -> None:
    """Refuse coordinates that are not numbers, and those that are not of the Sun."""
    for card, values in (("CRVAL", wcs.wcs.crval), ("CRPIX", wcs.wcs.crpix)):
        for i in np.flatnonzero(~np.isfinite(values)):
            raise ImageError(f"{name} has {card}{i + 1} = {values[i]}, which is no finite number; mend {card}{i + 1}.")
    if not str(wcs.wcs.ctype[0]).startswith(_SOLAR):
        ctypes = " and ".join(f"CTYPE{i + 1} = {wcs.wcs.ctype[i]}" for i in range(2))
        raise ImageError(
            f"{name} has {ctypes}, which are no coordinates on the Sun. Give it helioprojective ones (HPLN-TAN and "
            f"HPLT-TAN); reproject it, or mend CTYPE if its numbers are those already."
        )


def _on_one_line(scales: np.ndarray, size: np.ndarray) -> bool:
    """Whether pixel axes that both have an extent lead in one direction; ``size`` is that of each of them."""
    return bool(scales[1] < 1e-6 * scales[0] and (size > 1e-3 * size.max()).sum() > 1)


def _one_line(wcs: WCS | None, name: str) -> str:
    matrix = "CD" if wcs is not None and wcs.wcs.has_cd() else "PC"
    return (
        f"{name} has a singular {matrix} matrix: both pixel axes lead along one line on the sky, so it is no image. "
        f"Mend {matrix}1_1, {matrix}1_2, {matrix}2_1 and {matrix}2_2."
    )


def impossible_scales(rows: np.ndarray, wcs: WCS | None, axes: tuple[int, int], name: str) -> str | None:
    """Say so where the larger plate scale of some coordinates is none of an image of the Sun.

    The smaller one may be next to nothing: some readers write 1e-10 for the 0 of a sit-and-stare observation, which has
    no image but a pointing. It may not be merely small.

    Parameters
    ----------
    rows : `numpy.ndarray`, shape (2, n)
        Degrees of longitude and latitude a pixel along each of the ``n`` pixel axes.
    wcs : `~astropy.wcs.WCS`, optional
        By whose cards they are named; CDELT by default.
    axes : `tuple` of `int`
        World axes, 0-based, of longitude and latitude.
    name : `str`
        How to speak of its owner, at the beginning of a sentence.
    """
    rows = rows * 3600
    scales = np.linalg.svd(rows, compute_uv=False)
    if _on_one_line(scales, np.hypot(*rows)):
        return _one_line(wcs, name)
    if _FINEST <= scales[0] <= _COARSEST and not _NOTHING < scales[1] < _FINEST:
        return None
    size = np.sqrt((rows**2).sum(axis=1))
    return (
        f"{name} has pixels of {_pair(size)} ({_scale_cards(wcs, axes)}), which no image of the Sun has. "
        f"{_unit_advice(size, axes)}"
    )


def _scale_cards(wcs: WCS | None, axes: tuple[int, int]) -> str:
    kind = "CD" if wcs is not None and wcs.wcs.has_cd() else "CDELT"
    return " and ".join(f"{kind}{i + 1}" + (f"_{i + 1}" if kind == "CD" else "") for i in axes)


def _pair(arcsec: np.ndarray) -> str:
    unit, factor = ("arcsec", 1.0) if arcsec.max() < 7200 else ("deg", 3600.0)
    return f"{arcsec[0] / factor:.3g} x {arcsec[1] / factor:.3g} {unit}"


def _unit_advice(size: np.ndarray, numbers: tuple[int, int]) -> str:
    wrong = (size < _FINEST) | (size > _COARSEST_SEEN)
    if not wrong.any():
        wrong = (size == size.max()) if size.max() > 600 else (size == size.min())
    axes = " and ".join(f"CUNIT{numbers[i] + 1}" for i in np.flatnonzero(wrong))
    if (size[wrong] * 3600 < 3600).all() and (size[wrong] * 3600 > 10 * _FINEST).all():
        return f"Check {axes}: the numbers look like degrees under another unit."
    if (size[wrong] > 600).all():
        return f"Check {axes}: the numbers look like arcsec under deg, which is also the unit where {axes} is missing."
    return f"Check CDELT and {axes}."


def check_field(target: PixelGrid, name: str, pixel: float) -> None:
    """Refuse a target that is as small as a few pixels of its reference.

    Parameters
    ----------
    target : `~sunalign.geometry.coordinates.PixelGrid`
    name : `str`
        How to speak of the target.
    pixel : `float`
        Size of the reference's pixels, in radians; NaN or infinite where it has none.
    """
    size = np.array(target.pixel_size) / ARCSEC
    field = size * target.shape[::-1]
    if np.isfinite(pixel) and field.max() < _SHORTEST * pixel / ARCSEC:
        raise AlignmentError(
            f"All of {name}, {_pair(field)} in pixels of {_pair(size)} (CDELT1 and CDELT2), is only "
            f"{field.max() * ARCSEC / pixel:.2g} pixels of the reference long, so there is nothing to align. "
            f"Check CDELT and CUNIT of both headers."
        )


def check_surface(shape: tuple[int, int], grid: PixelGrid, reach: tuple[float, float]) -> None:
    """Refuse a correlation surface that would not fit into memory, before it is made.

    Parameters
    ----------
    shape : `tuple` of `int`
        Of the reference on the target's grid, margins included.
    grid : `~sunalign.geometry.coordinates.PixelGrid`
        The target's pixels, as they are searched.
    reach : `tuple` of `float`
        Largest shift along the pixel axes x and y, in radians.
    """
    pixels = int(shape[0]) * int(shape[1])
    if pixels <= _LARGEST:
        return
    size = np.array(grid.pixel_size) / ARCSEC
    raise AlignmentError(
        f"Shifts of up to {_pair(np.array(reach) / ARCSEC)} in pixels of {_pair(size)} (CDELT1 and CDELT2) ask for a "
        f"surface of {shape[1]} x {shape[0]} pixels, some {_gigabytes(pixels)}. Lower max_shift or choose the "
        f"optimizer 'coarse-to-fine'; if those are not the target's pixels, check CDELT and CUNIT of its header."
    )


def _gigabytes(pixels: int) -> str:
    return f"{(pixels * _BYTES * u.byte).to_value(u.Gbyte):.0f} GB"
