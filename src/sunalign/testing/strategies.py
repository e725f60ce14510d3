"""Hypothesis strategies that draw what real files hold. hypothesis comes with ``sunalign[testing]``.

Arrays are drawn as a seed and a few features, not number by number: that is fast, and a failing example is told in
words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS

import sunpy.map
from ndcube import NDCube
from sunpy.map import GenericMap

from sunalign.correction import PARAMETERS, Correction
from sunalign.model.search_space import Parameter, SearchSpace
from sunalign.testing.helpers import smooth_image

__all__ = ["corrections", "cubes", "images", "masked_pairs", "search_spaces", "solar_maps"]

_DTYPES = ("<f8", ">f8", "<f4", ">f4", "<i2", ">i2", "<i4", "u1")
_FEATURES = ("smooth", "noise", "constant", "outliers", "huge offset", "negative")


@st.composite
def images(
    draw: st.DrawFn,
    min_side: int = 1,
    max_side: int = 40,
    shape: tuple[int, int] | None = None,
    dtypes: tuple[str, ...] = _DTYPES,
    features: tuple[str, ...] = _FEATURES,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Draw an image and its mask.

    Parameters
    ----------
    draw
        Given by hypothesis.
    min_side, max_side : `int`
        Limits of both sides of the image; one row or one column is among them unless ``min_side`` is above 1.
    shape : `tuple` of `int`, optional
        ``(ny, nx)``, to be had instead of a drawn one.
    dtypes : `tuple` of `str`
        Number formats; by default native and big-endian floats of both precisions, and integers.
    features : `tuple` of `str`
        Among ``"smooth"``, ``"noise"``, ``"constant"``, ``"outliers"``, ``"huge offset"`` and ``"negative"``.

    Returns
    -------
    data : `numpy.ndarray`, shape (ny, nx)
        Floats may have a border of NaN, rows of NaN and single NaN.
    mask : `numpy.ndarray` of `bool`, shape (ny, nx)
        True where a pixel is to be ignored: wherever there is NaN, and in some more places.
    """
    shape = shape or (draw(st.integers(min_side, max_side)), draw(st.integers(min_side, max_side)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    data, form = _values(rng, shape, draw(st.sampled_from(features))), np.dtype(draw(st.sampled_from(dtypes)))
    mask = _mask(draw, rng, shape)
    if form.kind == "f":
        data = data.astype(form)
        data[mask & draw(st.booleans())] = np.nan
        return data, mask
    bits = 8 * form.itemsize
    low, high = (0, 2**bits - 1) if form.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return np.clip(np.rint(data), low, high).astype(form), mask


@st.composite
def masked_pairs(
    draw: st.DrawFn, min_side: int = 1, max_side: int = 30, dtypes: tuple[str, ...] = _DTYPES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Draw two images on one pixel grid and the mask of both, as a metric is given them.

    Parameters
    ----------
    draw
        Given by hypothesis.
    min_side, max_side : `int`
        As in `images`.
    dtypes : `tuple` of `str`
        As in `images`.

    Returns
    -------
    reference, target : `numpy.ndarray`, shape (ny, nx)
        Related in half of the examples.
    mask : `numpy.ndarray` of `bool`, shape (ny, nx)
        True where either has no value.
    """
    reference, mask = draw(images(min_side, max_side, dtypes=dtypes))
    target, other = draw(images(shape=reference.shape, dtypes=dtypes))
    if draw(st.booleans()):
        target = (0.5 * reference.astype(float) + 0.1 * target.astype(float)).astype("f8")
    return reference, target, mask | other


@st.composite
def corrections(
    draw: st.DrawFn,
    parameters: tuple[str, ...] = PARAMETERS,
    max_shift: u.Quantity = 100 * u.arcsec,
    max_scale: float = 0.1,
    max_rotation: u.Quantity = 5 * u.deg,
) -> Correction:
    """
    Draw a `~sunalign.Correction` about a drawn pivot.

    Parameters
    ----------
    draw
        Given by hypothesis.
    parameters : `tuple` of `str`
        Those that may differ from doing nothing.
    max_shift, max_rotation : `~astropy.units.Quantity`
        Largest values.
    max_scale : `float`
        Largest deviation of a scale from 1.
    """
    shift, turn = max_shift.to_value(u.arcsec), max_rotation.to_value(u.deg)
    limits = {"shift_x": shift, "shift_y": shift, "scale_x": max_scale, "scale_y": max_scale, "rotation": turn}
    values = {name: draw(_numbers(-limits[name], limits[name])) if name in parameters else 0.0 for name in PARAMETERS}
    roll = np.radians(draw(_numbers(-180, 180)))
    return Correction.from_parameters(
        shift_x=values["shift_x"] * u.arcsec,
        shift_y=values["shift_y"] * u.arcsec,
        scale_x=1 + values["scale_x"],
        scale_y=1 + values["scale_y"],
        rotation=values["rotation"] * u.deg,
        pivot=[draw(_numbers(-1200, 1200)), draw(_numbers(-1200, 1200))] * u.arcsec,
        axes=np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]),
    )


@st.composite
def search_spaces(draw: st.DrawFn, min_size: int = 1, max_size: int = 5) -> SearchSpace:
    """
    Draw a `~sunalign.model.search_space.SearchSpace` whose start is within its bounds, and sometimes on one.

    Parameters
    ----------
    draw
        Given by hypothesis.
    min_size, max_size : `int`
        Limits of the number of parameters.
    """
    names = draw(st.sets(st.sampled_from(PARAMETERS), min_size=min_size, max_size=max_size))
    return SearchSpace(tuple(_parameter(draw, name) for name in PARAMETERS if name in names))


def _parameter(draw: st.DrawFn, name: str) -> Parameter:
    middle, width = (1.0, 0.5) if name.startswith("scale") else (0.0, 100.0)
    lower, upper = (middle + side * width * draw(_numbers(0.05, 1)) for side in (-1, 1))
    start = lower + (upper - lower) * draw(st.sampled_from((0.0, 1.0)) | _numbers(0, 1))
    step = (upper - lower) * draw(_numbers(0.005, 0.2))
    return Parameter(name, lower, upper, float(np.clip(start, lower, upper)), step)


@st.composite
def solar_maps(
    draw: st.DrawFn,
    min_side: int = 16,
    max_side: int = 48,
    conventions: tuple[str, ...] = ("PC", "CD", "CROTA"),
    max_roll: u.Quantity = 180 * u.deg,
) -> GenericMap:
    """
    Draw a `~sunpy.map.GenericMap` with a gnomonic helioprojective header in one of the three conventions.

    Parameters
    ----------
    draw
        Given by hypothesis.
    min_side, max_side : `int`
        Limits of both sides.
    conventions : `tuple` of `str`
        How rotation and scale are written: ``"PC"`` (with CDELT), ``"CD"`` or ``"CROTA"`` (with CDELT).
    max_roll : `~astropy.units.Quantity`
        Largest rotation either way.

    Returns
    -------
    `~sunpy.map.GenericMap`
        In arcsec or degrees, with pixels that need not be square, CRPIX on or off the array, a mask or none.
    """
    data, mask = draw(images(min_side, max_side, dtypes=("<f8", ">f8", "<f4", "<i2"), features=("smooth", "outliers")))
    header = draw(_headers(data.shape, conventions, max_roll.to_value(u.deg)))
    return sunpy.map.Map(data, header, mask=mask if draw(st.booleans()) else None)


@st.composite
def cubes(draw: st.DrawFn, min_side: int = 16, max_side: int = 32, max_wavelengths: int = 5) -> NDCube:
    """
    Draw a `~ndcube.NDCube` of shape ``(wavelength, y, x)`` with a mask and a unit.

    Parameters
    ----------
    draw
        Given by hypothesis.
    min_side, max_side : `int`
        Limits of the two celestial axes.
    max_wavelengths : `int`
        Largest length of the first axis.
    """
    image, mask = draw(images(min_side, max_side, dtypes=("<f8", ">f4"), features=("smooth",)))
    n = draw(st.integers(1, max_wavelengths))
    header = draw(_headers(image.shape, ("PC", "CD"), 180.0))
    # The celestial axes come first, the spectral one last; CD and PC do not mix.
    linear = "CD3_3" if "cd1_1" in header else "PC3_3"
    spectral = {"CTYPE3": "WAVE", "CUNIT3": "Angstrom", "CRPIX3": 1.0, "CRVAL3": 1025.0, "CDELT3": 0.1}
    cards = (
        {key.upper(): value for key, value in header.items()} | spectral | {linear: 0.1 if linear[0] == "C" else 1.0}
    )
    lines = np.linspace(1, 2, n)[:, None, None]
    return NDCube(
        image * lines.astype(image.dtype.newbyteorder("=")),
        WCS(fits.Header({"WCSAXES": 3, **cards})),
        mask=np.repeat(mask[None], n, axis=0),
        unit=u.DN,
        meta={"instrument": "drawn"},
    )


@st.composite
def _headers(draw: st.DrawFn, shape: tuple[int, int], conventions: tuple[str, ...], max_roll: float) -> dict[str, Any]:
    unit = u.Unit(draw(st.sampled_from(("arcsec", "deg"))))
    sx, sy = (draw(_numbers(0.5, 6)) * u.arcsec.to(unit) for _ in range(2))
    at_centre = [(n + 1) / 2 for n in shape[::-1]]
    crpix = draw(
        st.sampled_from((at_centre, [1.0, 1.0], [0.0, 0.0])) | st.lists(_numbers(-50, 90), min_size=2, max_size=2)
    )
    header = {
        "ctype1": "HPLN-TAN",
        "ctype2": "HPLT-TAN",
        "cunit1": str(unit),
        "cunit2": str(unit),
        "crpix1": crpix[0],
        "crpix2": crpix[1],
        "crval1": draw(_numbers(-900, 900)) * u.arcsec.to(unit),
        "crval2": draw(_numbers(-900, 900)) * u.arcsec.to(unit),
        "date-obs": "2024-10-17T12:00:00.000",
        "mjd-obs": 60600.5,
        "dsun_obs": draw(_numbers(0.29, 1.02)) * 1.495978707e11,
        "hgln_obs": draw(_numbers(-90, 90)),
        "hglt_obs": draw(_numbers(-33, 33)),
        "rsun_ref": 6.957e8,
        "telescop": "drawn",
        "bunit": "DN",
    }
    return header | _linear(
        draw(st.sampled_from(conventions)), sx, sy, draw(st.just(0.0) | _numbers(-max_roll, max_roll))
    )


def _linear(convention: str, sx: float, sy: float, roll: float) -> dict[str, float]:
    cos, sin = float(np.cos(np.radians(roll))), float(np.sin(np.radians(roll)))
    if convention == "CD":
        return {"cd1_1": sx * cos, "cd1_2": -sy * sin, "cd2_1": sx * sin, "cd2_2": sy * cos}
    steps = {"cdelt1": sx, "cdelt2": sy}
    if convention == "CROTA":
        return steps | {"crota2": roll}
    return steps | {"pc1_1": cos, "pc1_2": -sin * sy / sx, "pc2_1": sin * sx / sy, "pc2_2": cos}


def _numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


def _values(rng: np.random.Generator, shape: tuple[int, int], feature: str) -> np.ndarray:
    if feature == "constant":
        return np.full(shape, float(rng.integers(0, 200)))
    data = smooth_image(shape, seed=int(rng.integers(2**32)), smoothness=2.0)
    if feature == "noise":
        return rng.normal(100, 20, shape)
    if feature == "outliers":
        data[rng.random(shape) < 0.02] = 3e4
    return data + {"huge offset": 2e7, "negative": -100.0}.get(feature, 0.0)


def _mask(draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    if draw(st.booleans()):
        edge = draw(st.integers(0, max(min(shape) // 4, 0)))
        mask[:edge], mask[shape[0] - edge :], mask[:, :edge], mask[:, shape[1] - edge :] = True, True, True, True
    if draw(st.booleans()):
        mask[rng.integers(shape[0])] = True
    return mask | (rng.random(shape) < draw(st.sampled_from((0.0, 0.0, 0.05, 0.5))))
