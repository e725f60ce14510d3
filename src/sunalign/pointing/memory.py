"""The pointing of the columns in what is kept in memory: as lookups where a WCS can hold them."""

from __future__ import annotations

from typing import Any

import numpy as np

from astropy.table import QTable
from astropy.wcs import WCS, DistortionLookupTable

from ndcube.ndcube import NDCubeBase

from sunalign.files.pointing_write import pixel_lookup
from sunalign.wcs.copies import with_wcs
from sunalign.wcs.sky_part import SkyPart

__all__ = ["held", "with_lookup"]


def with_lookup(wcs: WCS, table: QTable, shape: tuple[int, ...]) -> WCS:
    """Copy of a two-dimensional WCS that also adds the pointing of each column.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Corrected, of two axes, the raster's first.
    table : `~astropy.table.QTable`
        What is to be added to its coordinates, as in ``result.pointing``.
    shape : `tuple` of `int`
        ``(ny, nx)`` of the image.

    Returns
    -------
    `~astropy.wcs.WCS`
        With the lookups in ``cpdis1`` and ``cpdis2``, which all of astropy's transformations apply.
    """
    new = wcs.deepcopy()
    pixels = pixel_lookup(SkyPart.from_wcs(wcs), shape, table)
    ends = (1.0, float(shape[0] - 1))
    new.cpdis1, new.cpdis2 = (
        DistortionLookupTable(np.ascontiguousarray(values, np.float32), (1.0, 1.0), (1.0, 1.0), ends)
        for values in pixels
    )
    return new


def held(aligned: Any, table: QTable) -> tuple[Any, str]:
    """Corrected target with the pointing of its columns, where it can hold one, and where that is, in words.

    Parameters
    ----------
    aligned : object
        Corrected target: a map, a cube, or a pair of data and WCS.
    table : `~astropy.table.QTable`
        As ``result.pointing``.

    Returns
    -------
    object, `str`
    """
    if (
        isinstance(aligned, tuple)
        and isinstance(aligned[1], WCS)
        and _can_hold(aligned[1], np.shape(aligned[0]), table)
    ):
        return (aligned[0], with_lookup(aligned[1], table, np.shape(aligned[0]))), "in the lookups of the WCS"
    if isinstance(aligned, NDCubeBase):
        if isinstance(aligned.wcs, WCS) and _can_hold(aligned.wcs, aligned.data.shape, table):
            wcs = with_lookup(aligned.wcs, table, aligned.data.shape)
            return with_wcs(aligned, wcs, aligned.meta), "in the lookups of the cube's WCS"
        return aligned, "in result.pointing: the WCS of this cube cannot hold it"
    return aligned, f"in result.pointing: a {type(aligned).__name__} cannot hold it"


def _can_hold(wcs: WCS, shape: tuple[int, ...], table: QTable) -> bool:
    plain = wcs.naxis == 2 and not wcs.has_distortion and (wcs.wcs.lng, wcs.wcs.lat) == (0, 1)
    return plain and len(shape) == 2 and shape == (shape[0], len(table)) and min(shape) > 1
