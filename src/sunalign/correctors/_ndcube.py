"""Corrector of cubes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import astropy.units as u
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseLowLevelWCS, HighLevelWCSWrapper
from astropy.wcs.wcsapi.wrappers import SlicedLowLevelWCS

from ndcube.ndcube import NDCubeBase
from ndcube.wcs.wrappers import CompoundLowLevelWCS, ReorderedLowLevelWCS, ResampledLowLevelWCS

from sunalign.abc import Corrector
from sunalign.correction import Correction
from sunalign.correctors._wcs import check_tolerance, corrected_wcs
from sunalign.exceptions import CorrectionError
from sunalign.geometry.coordinates import angles, direction
from sunalign.wcs.copies import with_wcs
from sunalign.wcs.metadata import add_history, copied, history_entry, update_cards
from sunalign.wcs.refit import refit
from sunalign.wcs.sky_part import SkyPart
from sunalign.wcs.solve import check_residual, is_nothing

__all__ = ["NDCubeCorrector"]


@dataclass(frozen=True, kw_only=True)
class NDCubeCorrector(Corrector):
    """Correct an `~ndcube.NDCube` of any number of dimensions, or any of its subclasses.

    A FITS WCS is refitted as `WCSCorrector` does it; so is the FITS WCS inside a sliced, resampled, reordered or
    compound one. In front of a gWCS an affine transform of the two celestial pixel axes is put. Wavelength, time, data,
    mask, uncertainty, unit, extra and global coordinates stay as they are; FITS keywords in ``meta`` follow.

    Parameters
    ----------
    tolerance : `float`
        Largest error of the written coordinates, in pixels; more is refused.
    """

    tolerance: float = 0.1

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    @classmethod
    def accepts(cls, target: Any) -> bool:
        return isinstance(target, NDCubeBase)

    def apply(self, target: Any, correction: Correction, *, provenance: str | None = None) -> Any:
        if not isinstance(target, NDCubeBase):
            raise CorrectionError(
                f"The 'ndcube' corrector takes an NDCube; got {type(target).__name__}. "
                f"A Map, (data, header) and (data, wcs) are for 'wcs', a path for 'fits'."
            )
        low = corrected_low_level(target.wcs.low_level_wcs, correction, target.data.shape, self.tolerance)
        wcs = low if isinstance(target.wcs, WCS) else _as_high_level(low)
        return with_wcs(target, wcs, _meta(target, correction, history_entry(correction, provenance)))


def corrected_low_level(
    wcs: BaseLowLevelWCS, correction: Correction, shape: Sequence[int], tolerance: float
) -> BaseLowLevelWCS:
    """Copy of a low-level WCS, however wrapped, with a correction written into its core.

    Parameters
    ----------
    wcs : `~astropy.wcs.wcsapi.BaseLowLevelWCS`
    correction : `~sunalign.Correction`
    shape : sequence of `int`
        Array shape of the data it belongs to.
    tolerance : `float`
        Largest residual allowed, in pixels.
    """
    if isinstance(wcs, WCS):
        return corrected_wcs(wcs, correction, shape, tolerance)[0]
    # None of the wrappers says publicly what it wraps; the names below are the same since ndcube 2.0 and astropy 4.0.
    if isinstance(wcs, SlicedLowLevelWCS):
        inner = corrected_low_level(wcs._wcs, correction, _before_slicing(wcs._slices_array, shape), tolerance)
        return SlicedLowLevelWCS(inner, list(wcs._slices_array))
    if isinstance(wcs, ResampledLowLevelWCS):
        lengths = np.ceil(wcs._factor * np.array(shape[::-1]) + wcs._offset).astype(int)
        inner = corrected_low_level(wcs._wcs, correction, tuple(lengths[::-1]), tolerance)
        return ResampledLowLevelWCS(inner, wcs._factor, wcs._offset)
    if isinstance(wcs, ReorderedLowLevelWCS):
        lengths = np.array(shape[::-1])[wcs._pixel_order_inv]
        inner = corrected_low_level(wcs._wcs, correction, tuple(lengths[::-1]), tolerance)
        return ReorderedLowLevelWCS(inner, wcs._pixel_order, wcs._world_order)
    if isinstance(wcs, CompoundLowLevelWCS):
        return _corrected_compound(wcs, correction, shape, tolerance)
    if type(wcs).__module__.split(".")[0] == "gwcs":
        return _corrected_gwcs(wcs, correction, shape, tolerance)
    raise CorrectionError(
        f"A {type(wcs).__name__} cannot be corrected: it has no FITS keywords and is no gWCS. "
        f"Correct the cube it was made from, or give the cube a FITS WCS."
    )


def _before_slicing(slices: Sequence[Any], shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of an array that reaches as far as the one that was sliced from it."""
    kept = iter(shape)
    return tuple((item.start or 0) + next(kept) if isinstance(item, slice) else int(item) + 1 for item in slices)


def _corrected_compound(
    wcs: CompoundLowLevelWCS, correction: Correction, shape: Sequence[int], tolerance: float
) -> CompoundLowLevelWCS:
    lengths, start, parts, found = shape[::-1], 0, [], False
    for part in wcs._wcs:
        inputs = wcs.mapping.mapping[start : start + part.pixel_n_dim]
        start += part.pixel_n_dim
        if _sky_axes(part) is not None:
            found = True
            part = corrected_low_level(part, correction, tuple(lengths[i] for i in inputs)[::-1], tolerance)
        parts.append(part)
    if not found:
        raise CorrectionError(_no_sky(wcs))
    return CompoundLowLevelWCS(*parts, mapping=wcs.mapping.mapping, pixel_atol=wcs.atol)


def _sky_axes(wcs: BaseLowLevelWCS) -> tuple[int, int] | None:
    """World axes of longitude and latitude."""
    types = [str(kind).rsplit(".", 1)[-1] for kind in wcs.world_axis_physical_types]
    lon = [i for i, kind in enumerate(types) if kind in ("lon", "ra")]
    lat = [i for i, kind in enumerate(types) if kind in ("lat", "dec")]
    return (lon[0], lat[0]) if len(lon) == len(lat) == 1 else None


def _no_sky(wcs: BaseLowLevelWCS) -> str:
    return (
        f"The cube has no celestial axes to correct (its world axes are "
        f"{', '.join(str(kind) for kind in wcs.world_axis_physical_types)})."
    )


def _corrected_gwcs(wcs: Any, correction: Correction, shape: Sequence[int], tolerance: float) -> Any:
    """Copy of a gWCS with an affine transform of its celestial pixel axes in front.

    Pixel p is sent to the pixel whose uncorrected coordinates are p's corrected ones.
    """
    if is_nothing(correction):
        return copy.deepcopy(wcs)
    pixel_axes = _free_pixel_axes(wcs)
    points = _grid(wcs.pixel_n_dim, pixel_axes, shape)
    boundless = copy.deepcopy(wcs)
    boundless.bounding_box = None  # pixels may be moved out of it
    moved = _moved(boundless, correction, points)
    before, after = points[list(pixel_axes)], moved[list(pixel_axes)]
    finite = np.isfinite(after).all(axis=0)
    design = np.vstack([before, np.ones(before.shape[1])])[:, finite]
    if finite.sum() < 3:
        raise CorrectionError("The gWCS of the cube cannot be inverted where the correction moves it.")
    affine = np.linalg.lstsq(design.T, after[:, finite].T, rcond=None)[0].T
    check_residual(float(np.hypot(*(affine @ design - after[:, finite])).max()), tolerance)
    return _prepend(wcs, affine, pixel_axes)


def _free_pixel_axes(wcs: Any) -> tuple[int, int]:
    """Pixel axes that move the sky and nothing else."""
    sky = _sky_axes(wcs)
    if sky is None:
        raise CorrectionError(_no_sky(wcs))
    coupled = np.asarray(wcs.axis_correlation_matrix)
    mine = np.flatnonzero(coupled[list(sky)].any(axis=0))
    others = [i for i in range(wcs.world_n_dim) if i not in sky]
    if len(mine) != 2 or coupled[others][:, mine].any():
        raise CorrectionError(
            "The gWCS of the cube ties its celestial axes to others (a raster's time, for instance), so a shift of its "
            "pixels would move those too. Give the cube a FITS WCS, or correct each of its images."
        )
    return int(mine[0]), int(mine[1])


def _grid(n: int, pixel_axes: tuple[int, int], shape: Sequence[int]) -> np.ndarray:
    lengths = shape[::-1]
    along = [np.linspace(-0.5, lengths[axis] - 0.5, 9) for axis in pixel_axes]
    points = np.zeros((n, 81))
    points[list(pixel_axes)] = [axis.ravel() for axis in np.meshgrid(*along)]
    return points


def _moved(wcs: Any, correction: Correction, points: np.ndarray) -> np.ndarray:
    lon, lat = _sky_axes(wcs) or (0, 1)
    to_rad = [u.Unit(wcs.world_axis_units[axis]).to(u.rad) for axis in (lon, lat)]
    world = [np.array(values, float) for values in wcs.pixel_to_world_values(*points)]
    new = angles(correction.sky_matrix @ direction(world[lon] * to_rad[0], world[lat] * to_rad[1]))
    turn = 2 * np.pi * np.round((world[lon] * to_rad[0] - new[0]) / (2 * np.pi))
    world[lon], world[lat] = (new[0] + turn) / to_rad[0], new[1] / to_rad[1]
    try:
        return np.array(wcs.world_to_pixel_values(*world), float)
    except (NotImplementedError, ValueError, TypeError) as error:  # gwcs tries a numerical inverse of two axes only
        raise CorrectionError(
            "The gWCS of the cube has no inverse, which is needed to find where its pixels move. "
            "Give its transform an inverse, or the cube a FITS WCS."
        ) from error


def _prepend(wcs: Any, affine: np.ndarray, pixel_axes: tuple[int, int]) -> Any:
    from astropy.modeling.models import AffineTransformation2D, Identity
    from astropy.modeling.models import Mapping as AxisMapping

    n = wcs.pixel_n_dim
    order = (*pixel_axes, *(i for i in range(n) if i not in pixel_axes))
    first = wcs.pipeline[0]
    # With Quantities the model wants the unit of the pixels on its matrix too, wrong as that looks.
    unit = u.pix if first.transform.uses_quantity else 1
    front = AffineTransformation2D(matrix=affine[:, :2] * unit, translation=affine[:, 2] * unit)
    if n > 2:
        back = tuple(int(i) for i in np.argsort(order))
        front = AxisMapping(order) | (front & Identity(n - 2)) | AxisMapping(back)
    steps = [(step.frame, copy.deepcopy(step.transform)) for step in wcs.pipeline]
    steps[0] = (first.frame, front | steps[0][1])
    new = type(wcs)(steps)
    new.pixel_shape = wcs.pixel_shape
    if wcs.bounding_box is not None:
        # As plain intervals: the box itself knows its axes by the names of the old transform's inputs.
        new.bounding_box = wcs.bounding_box.bounding_box(order="F")
    return new


def _as_high_level(low: BaseLowLevelWCS) -> Any:
    return low if hasattr(low, "pixel_to_world") else HighLevelWCSWrapper(low)


def _meta(target: NDCubeBase, correction: Correction, history: str) -> Any:
    """The cube's meta with HISTORY, and with new WCS keywords if it has those the cube's coordinates came from."""
    if not isinstance(target.meta, MutableMapping):
        return target.meta
    meta = copied(target.meta)
    core = _core(target.wcs.low_level_wcs)
    if core is not None and _says_the_same(target.meta, core):
        update_cards(meta, refit(target.meta, correction, target.data.shape, np.inf)[0])
    add_history(meta, history)
    return meta


def _core(wcs: Any) -> WCS | None:
    while not isinstance(wcs, WCS):
        wcs = getattr(wcs, "_wcs", None)
        if wcs is None or isinstance(wcs, tuple):
            return None
    return wcs


def _says_the_same(meta: Mapping[str, Any], wcs: WCS) -> bool:
    try:
        one, two = SkyPart.from_header(meta), SkyPart.from_wcs(wcs)
    except (CorrectionError, ValueError):
        return False
    return one.rows.shape == two.rows.shape and all(
        np.allclose(getattr(one, name), getattr(two, name), rtol=1e-7, atol=1e-10)
        for name in ("rows", "crpix", "crval")
    )
