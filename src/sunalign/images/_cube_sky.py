"""Where the pixels of a cube are on the sky: its WCS, however wrapped, as a two-dimensional FITS WCS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

import astropy.units as u
from astropy.coordinates import BaseCoordinateFrame, SkyCoord
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseLowLevelWCS
from astropy.wcs.wcsapi.wrappers import SlicedLowLevelWCS

from ndcube.ndcube import NDCubeBase
from ndcube.wcs.wrappers import CompoundLowLevelWCS, ReorderedLowLevelWCS, ResampledLowLevelWCS
from sunpy.coordinates import HeliographicStonyhurst, Helioprojective, get_body_heliographic_stonyhurst

from sunalign.exceptions import ImageError
from sunalign.geometry.coordinates import nearest_turn
from sunalign.wcs.celestial import flat_wcs, new_wcs, sky_numbers

__all__ = ["CubeSky", "cube_sky", "sky_worlds", "unwrapped", "window_name"]

#: Largest error, in pixels, of the FITS WCS that stands for another kind of WCS.
_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class CubeSky:
    """The image plane of a cube.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude and latitude of the cube's pixels ``(x, y)``.
    y_axis, x_axis : `int`
        Array axes.
    core : `~astropy.wcs.WCS`, optional
        The FITS WCS with all its axes inside the cube's, where there is one.
    matrix, offset : `numpy.ndarray`, shapes (n, m) and (n,)
        Pixels of the ``m`` axes of the cube to those of the ``n`` axes of ``core``.
    """

    wcs: WCS
    y_axis: int
    x_axis: int
    core: WCS | None = None
    matrix: np.ndarray | None = None
    offset: np.ndarray | None = None


def cube_sky(cube: NDCubeBase, name: str = "The cube") -> CubeSky:
    """Find the two array axes of a cube that move over the sky, and where they are.

    Parameters
    ----------
    cube : `~ndcube.NDCube`
    name : `str`
        How to speak of it.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        The cube has no two such axes, or coordinates that no FITS WCS says.
    """
    wcs, shape = cube.wcs.low_level_wcs, cube.data.shape
    core, matrix, offset = unwrapped(wcs)
    if not isinstance(core, WCS):
        return _fitted(wcs, shape, name)
    if min(sky_numbers(core, name)) < 0:
        raise ImageError(_no_sky(wcs, name))
    x, y = _pixel_axes(core, matrix, shape, name)
    whole = np.array_equal(matrix, np.eye(2)) and not offset.any() and (core.wcs.lng, core.wcs.lat) == (0, 1)
    flat = core if whole else flat_wcs(core, matrix[:, [x, y]], offset, name)
    return CubeSky(flat, len(shape) - 1 - y, len(shape) - 1 - x, core, matrix, offset)


def sky_worlds(wcs: BaseLowLevelWCS) -> tuple[int, int] | None:
    """World axes of longitude and latitude; `None` where there are not exactly one and one.

    Parameters
    ----------
    wcs : `~astropy.wcs.wcsapi.BaseLowLevelWCS`

    Returns
    -------
    `tuple` of two `int`, or `None`
        World axes, 0-based: longitude first.
    """
    kinds = [str(kind).rpartition(".")[2] for kind in wcs.world_axis_physical_types]
    lon = [i for i, kind in enumerate(kinds) if kind in ("lon", "ra")]
    lat = [i for i, kind in enumerate(kinds) if kind in ("lat", "dec")]
    return (lon[0], lat[0]) if len(lon) == len(lat) == 1 else None


def unwrapped(wcs: BaseLowLevelWCS) -> tuple[BaseLowLevelWCS, np.ndarray, np.ndarray]:
    """What a WCS wraps, and how its own pixels lead there.

    Parameters
    ----------
    wcs : `~astropy.wcs.wcsapi.BaseLowLevelWCS`
        Sliced, resampled, reordered or compound, in any depth.

    Returns
    -------
    core : `~astropy.wcs.wcsapi.BaseLowLevelWCS`
    matrix, offset : `numpy.ndarray`, shapes (n_core, n) and (n_core,)
        ``matrix @ pixel + offset`` is the pixel of the core, both 0-based and x first.
    """
    # None of the wrappers says publicly what it wraps; the names below are the same since ndcube 2.0 and astropy 4.0.
    if isinstance(wcs, SlicedLowLevelWCS):
        items = wcs._slices_pixel
        inner, step = wcs._wcs, np.eye(len(items))[:, wcs._pixel_keep]
        start = np.array([(item.start or 0) if isinstance(item, slice) else item for item in items], float)
    elif isinstance(wcs, ResampledLowLevelWCS):
        # Pixel edges, at -0.5, are what `offset` counts from.
        inner, step = wcs._wcs, np.diag(np.asarray(wcs._factor, float))
        start = 0.5 * np.asarray(wcs._factor, float) - 0.5 + wcs._offset
    elif isinstance(wcs, ReorderedLowLevelWCS):
        inner, step = wcs._wcs, np.eye(wcs.pixel_n_dim)[list(wcs._pixel_order_inv)]
        start = np.zeros(len(step))
    elif isinstance(wcs, CompoundLowLevelWCS):
        inner, step = _part_with_sky(wcs)
        start = np.zeros(len(step))
    else:
        return wcs, np.eye(wcs.pixel_n_dim), np.zeros(wcs.pixel_n_dim)
    core, matrix, offset = unwrapped(inner)
    return core, matrix @ step, matrix @ start + offset


def _part_with_sky(wcs: CompoundLowLevelWCS) -> tuple[BaseLowLevelWCS, np.ndarray]:
    first = 0
    for part in wcs._wcs:
        inputs = wcs.mapping.mapping[first : first + part.pixel_n_dim]
        first += part.pixel_n_dim
        if sky_worlds(part) is not None:
            return part, np.eye(wcs.pixel_n_dim)[list(inputs)]
    return wcs._wcs[0], np.eye(wcs.pixel_n_dim)[: wcs._wcs[0].pixel_n_dim]


def _no_sky(wcs: BaseLowLevelWCS, name: str) -> str:
    kinds = ", ".join(str(kind) for kind in wcs.world_axis_physical_types)
    return f"{name} has no celestial axes (its world axes are {kinds}); one longitude and one latitude are needed."


def _pixel_axes(core: WCS, matrix: np.ndarray, shape: Sequence[int], name: str) -> tuple[int, int]:
    """Pixel axes of a cube that go with longitude and latitude as FITS numbers them."""
    found = [np.flatnonzero(matrix[axis]) for axis in (core.wcs.lng, core.wcs.lat)]
    if any(len(pixels) != 1 for pixels in found) or found[0][0] == found[1][0]:
        raise ImageError(
            f"{name} was cut down to one celestial pixel axis, so it is a line on the sky and no image; "
            f"keep both, as in cube[..., 3:4]."
        )
    x, y = int(found[0][0]), int(found[1][0])
    rows = core.pixel_scale_matrix[[core.wcs.lng, core.wcs.lat]] @ matrix
    _refuse_others(np.flatnonzero(np.abs(rows).max(axis=0) > 0), (x, y), shape, name)
    return x, y


def _refuse_others(used: np.ndarray, axes: tuple[int, int], shape: Sequence[int], name: str) -> None:
    others = [axis for axis in used.tolist() if axis not in axes and shape[::-1][axis] > 1]
    if others:
        raise ImageError(
            f"The pointing of {name} changes along its array axis {len(shape) - 1 - others[0]} too; "
            f"take one of the {shape[::-1][others[0]]} images along it at a time."
        )


# Coordinates that are not FITS keywords


def _fitted(wcs: BaseLowLevelWCS, shape: Sequence[int], name: str) -> CubeSky:
    """Gnomonic FITS WCS that says the same as another kind of WCS."""
    worlds = sky_worlds(wcs)
    if worlds is None:
        raise ImageError(_no_sky(wcs, name))
    frame = _frame(wcs, worlds, name)
    lengths = shape[::-1]
    used = np.flatnonzero(np.asarray(wcs.axis_correlation_matrix)[list(worlds)].any(axis=0))
    axes = sorted(used.tolist(), key=lambda axis: lengths[axis] == 1)[:2]
    if len(axes) < 2:
        raise ImageError(f"The sky coordinates of {name} depend on one pixel axis only, so it is no image.")
    _refuse_others(used, (axes[0], axes[1]), shape, name)
    flat = _tan_fit(wcs, worlds, sorted(axes), lengths, name)
    x, y = sorted(axes)
    if abs(flat.pixel_scale_matrix[0, 0]) < abs(flat.pixel_scale_matrix[0, 1]):
        # Without FITS numbers to go by, x is the axis along which longitude changes most.
        flat, (x, y) = _tan_fit(wcs, worlds, (y, x), lengths, name), (y, x)
    _describe(flat, frame)
    return CubeSky(flat, len(shape) - 1 - y, len(shape) - 1 - x)


def _frame(wcs: BaseLowLevelWCS, worlds: tuple[int, int], name: str) -> BaseCoordinateFrame:
    key = wcs.world_axis_object_components[worlds[0]][0]
    frame = wcs.world_axis_object_classes[key][2].get("frame")
    if not isinstance(frame, Helioprojective):
        raise ImageError(
            f"{name} has celestial axes in {type(frame).__name__}, and a {type(wcs).__name__} is read in "
            f"Helioprojective only; give it a FITS WCS."
        )
    return frame


def _tan_fit(
    wcs: BaseLowLevelWCS, worlds: tuple[int, int], axes: Sequence[int], lengths: Sequence[int], name: str
) -> WCS:
    """Fit reference coordinate and linear part at a grid of pixels."""
    along = [np.linspace(0, lengths[axis] - 1, 9) if lengths[axis] > 1 else np.array([-0.4, 0.4]) for axis in axes]
    pixels = np.array([axis.ravel() for axis in np.meshgrid(*along)])
    points = np.zeros((wcs.pixel_n_dim, pixels.shape[1]))
    points[list(axes)] = pixels
    values = wcs.pixel_to_world_values(*points)
    lon, lat = (np.asarray(values[i], float) * u.Unit(wcs.world_axis_units[i]).to(u.deg) for i in worlds)
    finite = np.isfinite(lon) & np.isfinite(lat)
    if finite.sum() < 4:
        raise ImageError(f"The {type(wcs).__name__} of {name} gives no sky coordinates inside the image.")
    lon, lat, pixels = nearest_turn(lon[finite], 360), lat[finite], pixels[:, finite]
    design = np.vstack([pixels, np.ones(pixels.shape[1])])

    def left(crval: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        plane = np.array(_plane(crval).wcs_world2pix(lon, lat, 0))
        fitted = np.linalg.lstsq(design.T, plane.T, rcond=None)[0].T
        return fitted, np.linalg.pinv(fitted[:, :2]) @ (plane - fitted @ design)

    crval = np.array([lon.mean(), lat.mean()])
    if np.abs(left(crval)[1]).max() > _TOLERANCE / 10:
        # The plane touches the sphere elsewhere.
        within = (crval - 5, crval + 5)
        crval = least_squares(lambda c: left(c)[1].ravel(), crval, bounds=within, diff_step=1e-4).x
    fitted, residual = left(crval)
    worst = float(np.hypot(*residual).max())
    if not worst <= _TOLERANCE:
        raise ImageError(
            f"The {type(wcs).__name__} of {name} differs from a gnomonic (TAN) projection by {worst:.3g} pixels, so it "
            f"cannot be aligned as it is; reproject it to a FITS WCS first."
        )
    rows = fitted[:, :2]
    return new_wcs(("HPLN-TAN", "HPLT-TAN"), crval, rows, -np.linalg.solve(rows, fitted[:, 2]))


def _plane(crval: np.ndarray) -> WCS:
    return new_wcs(("HPLN-TAN", "HPLT-TAN"), crval, np.eye(2), np.zeros(2))


def _describe(wcs: WCS, frame: Any) -> None:
    """Write date, observer and solar radius of a frame into a WCS."""
    if frame.obstime is not None:
        wcs.wcs.dateobs = wcs.wcs.dateavg = frame.obstime.utc.isot
    wcs.wcs.aux.rsun_ref = frame.rsun.to_value(u.m)
    observer = frame.observer
    if isinstance(observer, str):
        observer = get_body_heliographic_stonyhurst(observer, frame.obstime) if frame.obstime is not None else None
    if observer is not None:
        position = SkyCoord(observer).transform_to(HeliographicStonyhurst(obstime=frame.obstime))
        wcs.wcs.aux.hgln_obs, wcs.wcs.aux.hglt_obs = position.lon.to_value(u.deg), position.lat.to_value(u.deg)
        wcs.wcs.aux.dsun_obs = position.radius.to_value(u.m)
    wcs.wcs.set()


def window_name(cube: NDCubeBase) -> str:
    """EXTNAME of a cube, empty where it has none.

    Parameters
    ----------
    cube : `~ndcube.NDCube`
    """
    meta = cube.meta if isinstance(cube.meta, Mapping) else {}
    return str(meta.get("EXTNAME") or meta.get("extname") or "").strip()
