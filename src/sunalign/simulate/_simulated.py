"""An observation whose truth is known, and what all instruments that make one ask."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from astropy.table import QTable
from astropy.time import Time

import sunpy.map
from sunpy.map import GenericMap

from sunalign.simulate._header import Header, Pointing, PointingError
from sunalign.simulate._observer import Observer, time_of
from sunalign.simulate._observer import observer as position
from sunalign.simulate._scene import Scene


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """
    An observation whose truth is known.

    Parameters
    ----------
    target : `~sunpy.map.GenericMap`
        The observation, with the wrong pointing in its header.
    reference : `~sunpy.map.GenericMap` or `None`
        Image whose header is right.
    error : `PointingError`
        The correction that makes the target's header right.
    truth : `~sunpy.map.GenericMap`
        The data of the target, with the right header.
    scene : `Scene`
        The Sun that the target was made from.
    times : `~astropy.time.Time` or `None`
        Mid time of each raster step, in the order of the columns; `None` for images.
    pointing : `~astropy.table.QTable` or `None`
        What is to be added, column by column, to the coordinates of the right header: ``column``, ``step`` in the
        order of time, ``time``, ``shift_x``, ``shift_y``. Zero unless asked for; `None` for images.
    """

    target: GenericMap
    reference: GenericMap | None = None
    error: PointingError
    truth: GenericMap
    scene: Scene
    times: Time | None = None
    pointing: QTable | None = None


def simulated(
    data: np.ndarray,
    header: Callable[[Pointing], Header],
    pointing: Pointing,
    error: PointingError | None,
    scene: Scene,
) -> Simulated:
    """Observation of which the header is wrong and the truth known.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    header : callable
        Makes the header for a pointing.
    pointing : ``Pointing``
        The true one.
    error : `PointingError` or `None`
        Correction that the target's header needs; `None` for none.
    scene : `Scene`
    """
    error = error or PointingError()
    return Simulated(
        target=sunpy.map.Map(data, header(error.undo(pointing))),
        truth=sunpy.map.Map(data.copy(), header(pointing)),
        error=error,
        scene=scene,
    )


def when(scene: Scene, observer: Observer | None, time: Any) -> Time:
    """Time of an observation.

    Parameters
    ----------
    scene : `Scene`
        For its epoch, where nothing else says when.
    observer : `~astropy.coordinates.SkyCoord`, callable or `None`
        For its ``obstime``, if it has one.
    time : {parse_time_types} or `None`
        As told.
    """
    return time_of(observer, time, scene.time)


def who(observer: Observer | None, time: Time) -> Observer:
    """Observer, by default at 1 AU over the meridian that faces Earth.

    Parameters
    ----------
    observer : `~astropy.coordinates.SkyCoord`, callable or `None`
        As told.
    time : `~astropy.time.Time`
        Of the observation.
    """
    return position(time=time) if observer is None else observer
