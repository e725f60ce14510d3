"""A synthetic raster as a Map with a header that says what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import sunpy.map
from sunpy.map import GenericMap

from sunalign.images import Image
from sunalign.images.frames import Frame

__all__ = ["raster_map"]

Served = tuple[str, Frame | None, np.ndarray]

#: Cards of the frames that describe what is shown.
_SHOWN = ("bunit", "wavelnth", "waveunit", "telescop", "instrume", "detector", "obsrvtry", "filter")

#: Cards of the target that say where and when it looked.
_WHERE = ("wcsaxes", "ctype", "cunit", "crpix", "crval", "cdelt", "crota", "pc", "cd", "lonpole", "latpole", "wcsname",
          "timesys", "dateref", "mjdref", "date-obs", "date-beg", "date-avg", "date-end", "date_", "time-", "time_",
          "t_obs", "startobs", "endobs", "mjd-", "telapse", "xposure", "rsun", "dsun", "hgln", "hglt", "crln", "crlt",
          "hci", "hee", "hae", "obs_vr", "car_rot")  # fmt: skip


def raster_map(data: np.ndarray, target: Image, served: Sequence[Served], assumptions: Mapping[str, str]) -> GenericMap:
    """Map of a raster that was sampled at the target's own pixels.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    target : `~sunalign.images.Image`
        Whose grid, times and observer the map gets.
    served : sequence
        Name of a frame, the frame if it is still at hand, and the target columns that it serves.
    assumptions : mapping
        For HISTORY.
    """
    header = _own_cards(target)
    first: Mapping[str, Any] = next((frame.head.meta for _, frame, _ in served if frame is not None), {})
    for key in _SHOWN:
        value = first.get(key, first.get(key.upper()))
        if value is not None:
            header[key] = value
    header["history"] = "\n".join(_provenance(target, served, assumptions))
    return sunpy.map.Map(data, header)


def _own_cards(target: Image) -> dict[str, Any]:
    meta = {str(key).lower(): value for key, value in target.meta.items()}
    whole = target.grid.to_base == (0.0, 1.0, 0.0, 1.0) and isinstance(target.source, GenericMap)
    if not whole:
        # A cube or an array has no header that describes an image.
        bare = Image(np.zeros(target.grid.shape), target.grid, target.meta, None, target.name)
        return dict(bare.to_map().meta)
    return {key: value for key, value in meta.items() if key.startswith(_WHERE)}


def _provenance(target: Image, served: Sequence[Served], assumptions: Mapping[str, str]) -> list[str]:
    lines = [f"Synthetic raster made by sunalign on the pixels and times of {target.name}"]
    lines += [f"{key}: {value}" for key, value in assumptions.items()]
    for name, frame, columns in served:
        when = "" if frame is None else f" of {frame.date.utc.isot}"
        lines.append(f"columns {columns.min()}-{columns.max()} from {name}{when}")
    return [line.encode("ascii", "replace").decode() for line in lines]
