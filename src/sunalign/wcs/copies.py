"""Copies of maps and cubes that share their data and have coordinates of their own."""

from __future__ import annotations

import copy
from typing import Any

from ndcube.ndcube import NDCubeBase

__all__ = ["own_uncertainty", "with_wcs"]


def own_uncertainty(new: Any) -> None:
    """Give a copy its own uncertainty object, over the same array: it knows its parent only weakly.

    Parameters
    ----------
    new : `~astropy.nddata.NDData`
        The copy, which is changed.
    """
    if new.uncertainty is not None:
        new.uncertainty = type(new.uncertainty)(new.uncertainty.array, unit=new.uncertainty.unit, copy=False)


def with_wcs(target: NDCubeBase, wcs: Any, meta: Any) -> NDCubeBase:
    """Copy of a cube that shares its data and mask and has other coordinates.

    Parameters
    ----------
    target : `~ndcube.NDCube`
    wcs : WCS
        Of as many axes.
    meta : object
        Taken as it is.
    """
    new = copy.copy(target)
    # NDData lets `wcs` be set once only; the parts that refer back to their cube need their own copies.
    new._wcs = None
    new.wcs = wcs
    new.meta = meta
    for name in ("_extra_coords", "_global_coords"):
        linked = target.__dict__.get(f"_{name}")
        if linked is not None:
            new.__dict__.pop(f"_{name}")
            setattr(new, name, copy.copy(linked))
    if getattr(new, "_plotter", None) is not None:
        new.plotter = type(new._plotter)
    own_uncertainty(new)
    return new
