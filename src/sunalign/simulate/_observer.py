"""Where an observer is, and when."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunpy.coordinates import HeliocentricInertial, HeliographicStonyhurst
from sunpy.time import parse_time

from sunalign.simulate._grid import Array

Observer: TypeAlias = SkyCoord | Callable[[Time], SkyCoord]


def observer(
    dsun: u.Quantity = 1 * u.AU,
    hgln: u.Quantity = 0 * u.deg,
    hglt: u.Quantity = 0 * u.deg,
    time: Any = "2024-10-17T00:00:00",
) -> SkyCoord:
    """
    An observer's position.

    Parameters
    ----------
    dsun : `~astropy.units.Quantity`
        Distance from the centre of the Sun.
    hgln, hglt : `~astropy.units.Quantity`
        Stonyhurst heliographic longitude and latitude.
    time : {parse_time_types}
        When the observer is there.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`
        Position in `~sunpy.coordinates.HeliographicStonyhurst`.
    """
    return SkyCoord(hgln, hglt, dsun, frame=HeliographicStonyhurst(obstime=parse_time(time)))


@dataclass(frozen=True, kw_only=True)
class Orbit:
    """
    An observer that moves: call it with a time, get its position.

    Positions change linearly in Stonyhurst coordinates, which is all that a raster of some hours sees of an orbit.

    Parameters
    ----------
    dsun, hgln, hglt : `~astropy.units.Quantity`
        Distance from the centre of the Sun, Stonyhurst longitude and latitude at ``time``.
    time : {parse_time_types}
        When the observer is there.
    dsun_rate : `~astropy.units.Quantity`
        Radial velocity, positive away from the Sun.
    hgln_rate, hglt_rate : `~astropy.units.Quantity`
        Angular velocities. Solar Orbiter at 0.3 AU gains about 6.3 degrees of Stonyhurst longitude a day.

    Examples
    --------
    >>> import astropy.units as u
    >>> from sunalign import simulate
    >>> orbit = simulate.Orbit(dsun=0.3 * u.AU, hgln_rate=6.3 * u.deg / u.day, time="2024-10-17T00:00:00")
    >>> orbit("2024-10-17T12:00:00").lon.to("deg")
    <Longitude 3.15 deg>
    """

    dsun: u.Quantity = 0.3 * u.AU
    hgln: u.Quantity = 0 * u.deg
    hglt: u.Quantity = 0 * u.deg
    time: Any = "2024-10-17T00:00:00"
    dsun_rate: u.Quantity = 0 * u.km / u.s
    hgln_rate: u.Quantity = 0 * u.deg / u.day
    hglt_rate: u.Quantity = 0 * u.deg / u.day

    def __call__(self, time: Any) -> SkyCoord:
        """Position at a time or at an array of times."""
        time = parse_time(time)
        elapsed = (time - parse_time(self.time)).to(u.s)
        return observer(
            self.dsun + self.dsun_rate * elapsed,
            self.hgln + self.hgln_rate * elapsed,
            self.hglt + self.hglt_rate * elapsed,
            time,
        )


def time_of(observer: Observer, time: Any, default: Time) -> Time:
    """When an observation is made: as told, else when the observer is where it is, else at the scene's epoch.

    Parameters
    ----------
    observer : `~astropy.coordinates.SkyCoord` or callable
    time : {parse_time_types} or `None`
        As told.
    default : `~astropy.time.Time`
        The scene's epoch.
    """
    if time is None:
        time = getattr(observer, "obstime", None)
    return default if time is None else parse_time(time)


def locate(observer: Observer, time: Time) -> tuple[Array, Array, Array]:
    """Where an observer is at a time.

    Parameters
    ----------
    observer : `~astropy.coordinates.SkyCoord` or callable
        A fixed position is the same at any time.
    time : `~astropy.time.Time`
        Any shape.

    Returns
    -------
    longitude, latitude, distance : `numpy.ndarray`
        Stonyhurst, radians; metres.
    """
    position = observer if isinstance(observer, SkyCoord) else observer(time)
    if not isinstance(position.frame, HeliographicStonyhurst):
        position = position.transform_to(HeliographicStonyhurst(obstime=position.obstime))
    return (
        np.asarray(position.lon.to_value(u.rad)),
        np.asarray(position.lat.to_value(u.rad)),
        np.asarray(position.radius.to_value(u.m)),
    )


def stonyhurst_zero(time: Time) -> Array:
    """Longitude of the Stonyhurst meridian in the inertial frame, radians; increases with time as Earth goes round.

    Parameters
    ----------
    time : `~astropy.time.Time`
        Any shape.
    """
    if time.isscalar:
        return np.asarray(_stonyhurst_zero(time.tai.jd1, time.tai.jd2))
    return _transformed_zero(time)


@lru_cache(maxsize=4096)
def _stonyhurst_zero(jd1: float, jd2: float) -> float:
    # A float is a key that can be cached, which a Time is not.
    return float(_transformed_zero(Time(jd1, jd2, format="jd", scale="tai")))


def _transformed_zero(time: Time) -> Array:
    zero = SkyCoord(
        np.zeros(time.shape) * u.deg, 0 * u.deg, 1 * u.AU, frame=HeliographicStonyhurst(obstime=time)
    ).transform_to(HeliocentricInertial(obstime=time))
    return np.asarray(zero.lon.to_value(u.rad))
