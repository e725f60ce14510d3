"""A synthetic raster as a Map with a header that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import sunpy.map
from sunpy.map import GenericMap

from sunalign.images import Image

if TYPE_CHECKING:
    from sunalign.reference_builders._slabs import RasterReference

__all__ = ["raster_map"]

#: Cards of the frames that describe what is shown.
_SHOWN = ("bunit", "wavelnth", "waveunit", "telescop", "instrume", "detector", "obsrvtry", "filter")

#: Cards of the target that say where and when it looked.
_WHERE = ("wcsaxes", "ctype", "cunit", "crpix", "crval", "cdelt", "crota", "pc", "cd", "lonpole", "latpole", "wcsname",
          "timesys", "dateref", "mjdref", "date-obs", "date-beg", "date-avg", "date-end", "date_", "time-", "time_",
          "t_obs", "startobs", "endobs", "mjd-", "telapse", "xposure", "rsun", "dsun", "hgln", "hglt", "crln", "crlt",
          "hci", "hee", "hae", "obs_vr", "car_rot")  # fmt: skip


def raster_map(raster: RasterReference, target: Image, used: Sequence[np.ndarray]) -> GenericMap:
    """Sample a raster at the target's own pixels.

    Parameters
    ----------
    raster : `~sunalign.reference_builders._slabs.RasterReference`
    target : `~sunalign.images.Image`
        Whose grid, times and observer the map gets.
    used : sequence of `numpy.ndarray`
        Target columns that every frame serves.
    """
    ny, nx = target.grid.shape
    data = raster.sample_grid(np.eye(3), (ny, nx), np.arange(nx, dtype=float))
    header = _own_cards(target)
    frames = [slab for slab in raster.slabs if slab is not None]
    first = next((slab.frame.head.meta for slab in frames if slab.frame is not None), {})
    for key in _SHOWN:
        value = first.get(key, first.get(key.upper()))
        if value is not None:
            header[key] = value
    header["history"] = "\n".join(_told(raster, target, used))
    return sunpy.map.Map(data, header)


def _own_cards(target: Image) -> dict[str, Any]:
    meta = {str(key).lower(): value for key, value in target.meta.items()}
    whole = target.grid.to_base == (0.0, 1.0, 0.0, 1.0) and isinstance(target.source, GenericMap)
    if not whole:
        # A cube or an array has no header that describes an image.
        bare = Image(np.zeros(target.grid.shape), target.grid, target.meta, None, target.name)
        return dict(bare.to_map().meta)
    return {key: value for key, value in meta.items() if key.startswith(_WHERE)}


def _told(raster: RasterReference, target: Image, used: Sequence[np.ndarray]) -> list[str]:
    lines = [f"Synthetic raster made by sunalign on the pixels and times of {target.name}"]
    lines += [f"{key}: {value}" for key, value in raster.assumptions.items()]
    for slab, columns in zip(raster.slabs, used, strict=True):
        if slab is not None:
            when = "" if slab.frame is None else f" of {slab.frame.date.utc.isot}"
            lines.append(f"columns {columns.min()}-{columns.max()} from {slab.name}{when}")
    return [line.encode("ascii", "replace").decode() for line in lines]
