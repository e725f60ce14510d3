"""Wavelengths of a cube: its axis, the lines its metadata list, and the part that belongs to an interval."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

import astropy.units as u
from astropy.constants import c as speed_of_light
from astropy.wcs.wcsapi import BaseLowLevelWCS

from ndcube.ndcube import NDCubeBase

from sunalign.exceptions import ImageError

__all__ = ["interval", "lines", "selected"]

#: Width of a line over its wavelength: 150 km/s either way.
_LINE_WIDTH = 1e-3


def lines(cube: NDCubeBase) -> dict[str, u.Quantity]:
    """Lines that the metadata of a cube list.

    Parameters
    ----------
    cube : `~ndcube.NDCube`
        Of SPICE (from the name of its window, such as ``O III 703 / Mg IX 706 - Peak``), EIS (``wininfo`` of eispac) or
        IRIS (TDESC, TWMIN and TWMAX); others list none.

    Returns
    -------
    `dict`
        Name to its wavelength, or to the (lower, upper) of its window.
    """
    meta = cube.meta if isinstance(cube.meta, Mapping) else {}
    found: dict[str, u.Quantity] = {}
    name = str(meta.get("EXTNAME") or meta.get("extname") or "")
    for ion, number in re.findall(r"([A-Z][a-z]?(?: [IVX]+|[ -][A-Z]?[a-z]+)) (\d{3,4}(?:\.\d+)?)", name):
        found[f"{ion} {number}"] = float(number) * u.AA
    windows = meta.get("wininfo")
    for window in windows if isinstance(windows, Iterable) and not isinstance(windows, (str, Mapping)) else ():
        found[str(window["line_id"])] = [float(window["wvl_min"]), float(window["wvl_max"])] * u.AA
    for i in range(1, 100):
        if f"TDESC{i}" not in meta or f"TWMIN{i}" not in meta or f"TWMAX{i}" not in meta:
            break
        found[str(meta[f"TDESC{i}"])] = [float(meta[f"TWMIN{i}"]), float(meta[f"TWMAX{i}"])] * u.AA
    return found


def interval(
    cube: NDCubeBase, wavelength: u.Quantity | None, width: u.Quantity | None, line: str | None
) -> u.Quantity | None:
    """Wavelengths that were asked for.

    Parameters
    ----------
    cube : `~ndcube.NDCube`
        For the names of its lines.
    wavelength : `~astropy.units.Quantity` or `None`
        Two of them, or the middle one, which ``width`` goes with.
    width : `~astropy.units.Quantity` or `None`
        Of the whole interval.
    line : `str` or `None`
        Instead of a wavelength, a line that the cube's metadata list.

    Returns
    -------
    `~astropy.units.Quantity` or `None`
        Two wavelengths in any order; `None` for all.
    """
    if line is not None:
        if wavelength is not None:
            raise TypeError("'wavelength' and 'line' say the same thing twice; give one of them.")
        wavelength = _line(cube, line)
    if wavelength is None:
        if width is not None:
            raise TypeError("'width' is that of an interval about 'wavelength' or 'line'; give one of them too.")
        return None
    if not isinstance(wavelength, u.Quantity) or not wavelength.unit.is_equivalent(u.nm, u.spectral()):
        raise TypeError(f"'wavelength' is a Quantity such as (70.55, 70.66) * u.nm; got {wavelength!r}.")
    if wavelength.shape == (2,):
        if width is not None and line is None:
            raise TypeError("'wavelength' is an interval already; leave out 'width', or give the middle alone.")
        if width is None:
            return wavelength
        wavelength = wavelength.mean()
    if wavelength.shape != ():
        raise TypeError(f"'wavelength' is one value or (lower, upper); got {wavelength.size} values.")
    middle = wavelength.to(u.nm, u.spectral())
    return middle + _full_width(middle, width) * [-0.5, 0.5]


def _full_width(middle: u.Quantity, width: u.Quantity | None) -> u.Quantity:
    if width is None:
        return middle * _LINE_WIDTH
    if isinstance(width, u.Quantity) and width.shape == () and width > 0:
        if width.unit.is_equivalent(u.km / u.s):
            return (middle * (width / speed_of_light)).to(u.nm)
        if width.unit.is_equivalent(u.nm):
            return width.to(u.nm)
    raise TypeError(f"'width' is a wavelength or a velocity larger than 0, such as 0.1 * u.nm; got {width!r}.")


def _line(cube: NDCubeBase, line: str) -> u.Quantity:
    listed = lines(cube)
    wanted = _plain(line)
    found = [key for key in listed if _plain(key) == wanted]
    found = found or [key for key in listed if _plain(key).startswith(wanted)]
    if len(found) == 1:
        return listed[found[0]]
    known = ", ".join(f"'{key}'" for key in listed) or "none"
    if found:
        raise ImageError(f"'{line}' may be any of {', '.join(found)}; give more of the name.")
    raise ImageError(
        f"The metadata of the cube list no line '{line}' (listed: {known}); give its wavelength instead, such as "
        f"wavelength=70.6 * u.nm."
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def selected(cube: NDCubeBase, chosen: u.Quantity | None, name: str) -> tuple[tuple[slice, ...], np.ndarray | None]:
    """Part of a cube inside an interval of wavelengths.

    Parameters
    ----------
    cube : `~ndcube.NDCube`
    chosen : `~astropy.units.Quantity` or `None`
        Two wavelengths in any order, or energies or frequencies; `None` for all.
    name : `str`
        How to speak of the cube in messages.

    Returns
    -------
    `tuple` of slice
        One for each axis of the data.
    `numpy.ndarray` of `bool`, or `None`
        Which pixels of that part are inside, where not all are.
    """
    everything = (slice(None),) * cube.data.ndim
    if chosen is None:
        return everything, None
    values = _wavelengths(cube, name)
    lower, upper = np.sort(chosen.to(u.nm, u.spectral()).value)
    inside = (values >= lower) & (values <= upper)
    if not inside.any():
        raise ImageError(
            f"{name} has wavelengths from {np.nanmin(values):.6g} to {np.nanmax(values):.6g} nm, none of them between "
            f"{lower:.6g} and {upper:.6g} nm; choose an interval inside."
        )
    axes = [axis for axis, length in enumerate(inside.shape) if length > 1]
    if len(axes) != 1:
        # Wavelength changes along the slit too.
        return everything, inside
    used = np.flatnonzero(inside)
    part = list(everything)
    part[axes[0]] = slice(int(used[0]), int(used[-1]) + 1)
    return tuple(part), None


def _wavelengths(cube: NDCubeBase, name: str) -> np.ndarray:
    """Wavelength in nm, of a shape that can be broadcast to the cube's."""
    for wcs in (cube.wcs, cube.combined_wcs):
        low = wcs.low_level_wcs
        world = next((i for i in range(low.world_n_dim) if _is_spectral(low, i)), None)
        if world is None:
            continue
        depends = np.asarray(low.axis_correlation_matrix)[world]
        lengths = [size if on else 1 for size, on in zip(reversed(cube.data.shape), depends, strict=True)]
        pixels = np.meshgrid(*(np.arange(length, dtype=float) for length in lengths), indexing="ij")
        values = low.pixel_to_world_values(*pixels)
        spectral = np.asarray(values[world] if low.world_n_dim > 1 else values, float)
        return np.asarray((spectral * u.Unit(low.world_axis_units[world])).to_value(u.nm, u.spectral())).T
    kinds = ", ".join(str(kind) for kind in cube.wcs.low_level_wcs.world_axis_physical_types)
    raise ImageError(f"{name} has no wavelength axis (its world axes are {kinds}); leave out 'wavelength' and 'line'.")


def _is_spectral(wcs: BaseLowLevelWCS, world: int) -> bool:
    kind, called = wcs.world_axis_physical_types[world], str(wcs.world_axis_names[world]).lower()
    if str(kind) in ("em.wl", "em.energy", "em.freq", "em.wavenumber"):
        return True
    # Extra coordinates have the name their author gave them.
    return called.startswith("wave") and u.Unit(wcs.world_axis_units[world]).is_equivalent(u.nm, u.spectral())
