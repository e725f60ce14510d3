"""The one place where data are resampled: all frames on the pixels of the first, as one cube."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astropy.wcs import WCS

from ndcube import NDCube
from sunpy.map import GenericMap

from sunalign.exceptions import AlignmentError
from sunalign.images import to_image

if TYPE_CHECKING:
    from sunalign.sequences._result import SequenceResult

__all__ = ["to_cube"]


def to_cube(result: SequenceResult) -> NDCube:
    """Cube (time, y, x) of the frames that were placed, resampled on the pixels of the first of them.

    The linear coordinates of a cube cannot hold a shift for every frame, so that here, and only here, pixels change:
    they are interpolated by `reproject.reproject_interp`, at equal angles on the sky as the corrected headers have
    them. What moves on the Sun goes on moving.

    Parameters
    ----------
    result : `~sunalign.sequences.SequenceResult`

    Returns
    -------
    `~ndcube.NDCube`
        With the extra coordinate ``time`` along its first axis; NaN where a frame shows nothing.
    """
    from reproject import reproject_interp

    placed = [k for k, correction in enumerate(result.corrections) if correction is not None]
    if result.aligned is None or any(_is_path(item) for item in _items(result.aligned)):
        raise AlignmentError("Frames that are paths stay in files; read the corrected ones as maps to make a cube.")
    items = list(_items(result.aligned))
    order = sorted(placed, key=lambda k: float(result.table["date"][k].tai.mjd))
    images = [to_image(items[k]) for k in order]
    first = images[0]
    target = _plain(first.wcs)
    shape = first.data.shape
    layers = [first.data]
    layers += [
        reproject_interp((image.data, _plain(image.wcs)), target, shape, return_footprint=False) for image in images[1:]
    ]
    cube = NDCube(
        np.array(layers),
        wcs=_with_time(first.wcs, result.table["date"][order]),
        meta=dict(first.meta) if isinstance(first.meta, Mapping) else {},
        unit=first.unit,
    )
    cube.extra_coords.add("time", (0,), result.table["date"][order])
    return cube


def _items(aligned: Any) -> Any:
    return getattr(aligned, "maps", None) or getattr(aligned, "data", None) or aligned


def _is_path(item: Any) -> bool:
    return item is None or not isinstance(item, (GenericMap, NDCube, tuple))


def _plain(wcs: WCS) -> WCS:
    """Angles alone: with dates and observers in it, frames a minute apart would be carried along with the Sun."""
    plain = WCS(naxis=2)
    plain.wcs.ctype = [f"{name}{str(ctype)[4:]}" for name, ctype in zip(("RA--", "DEC-"), wcs.wcs.ctype, strict=True)]
    plain.wcs.cunit, plain.wcs.crval, plain.wcs.crpix = ["deg", "deg"], wcs.wcs.crval, wcs.wcs.crpix
    plain.wcs.cdelt, plain.wcs.pc = [1, 1], wcs.pixel_scale_matrix
    plain.wcs.lonpole, plain.wcs.latpole = wcs.wcs.lonpole, wcs.wcs.latpole
    return plain


def _with_time(wcs: WCS, dates: Any) -> WCS:
    """The same sky with a third axis for time, evenly spaced; the extra coordinate has the dates themselves."""
    seconds = (dates - dates[0]).sec
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0
    cube = WCS(naxis=3)
    cube.wcs.ctype = [*wcs.wcs.ctype, "UTC"]
    cube.wcs.cunit = ["deg", "deg", "s"]
    cube.wcs.crval, cube.wcs.crpix = [*wcs.wcs.crval, 0.0], [*wcs.wcs.crpix, 1.0]
    cube.wcs.cdelt = [1, 1, step]
    pc = np.eye(3)
    pc[:2, :2] = wcs.pixel_scale_matrix
    cube.wcs.pc = pc
    cube.wcs.dateref = dates[0].utc.isot
    cube.wcs.mjdref = [float(np.floor(dates[0].utc.mjd)), float(dates[0].utc.mjd % 1)]
    cube.wcs.dateobs = dates[0].utc.isot
    for name in ("rsun_ref", "dsun_obs", "hgln_obs", "hglt_obs", "crln_obs"):
        value = getattr(wcs.wcs.aux, name)
        if value is not None:
            setattr(cube.wcs.aux, name, value)
    cube.wcs.set()
    return cube
