"""What happens on the Sun between two images: rotation, and another place to look from, in closed form.

Directions are those of `sunalign.geometry.coordinates`: 3-vectors in the frame of an observer, to the Sun's centre, to
solar west (+Tx), to solar north (+Ty). Positions are in the heliocentric inertial frame (HCI, Fränz & Harper 2002,
Planet. Space Sci. 50, 217), whose third axis is the Sun's rotation axis, so that rotation is an addition to a
longitude.

What `sunpy.coordinates` does between two times and observers under
`~sunpy.coordinates.propagate_with_solar_surface` is done here in some thirty array operations. sunpy is asked once for
every frame where Earth is, and nothing for points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord, angular_separation
from astropy.time import Time

from sunpy.sun.constants import sidereal_rotation_rate

from sunalign.geometry.times import interpolate_columns

__all__ = [
    "ROTATION",
    "LinearTransform",
    "ObserverPosition",
    "SphereTransform",
    "SurfaceTransform",
    "observer_position",
    "stonyhurst_zero",
]

#: A, B, C of the sidereal rate A + B sin^2(latitude) + C sin^4(latitude) in rad/s. "differential" is Howard et al. 1990
#: (Sol. Phys. 130, 295), the default of `sunpy.sun.models.differential_rotation`; "rigid" is the Carrington rate.
ROTATION = {
    "differential": (2.894e-6, -0.428e-6, -0.370e-6),
    "rigid": (float(sidereal_rotation_rate.to_value(u.rad / u.s)), 0.0, 0.0),
    "none": (0.0, 0.0, 0.0),
}


class ObserverPosition(NamedTuple):
    """Position in the heliocentric inertial frame.

    Parameters
    ----------
    longitude, latitude : `float` or `numpy.ndarray`
        Radians; the latitude is the heliographic one.
    distance : `float` or `numpy.ndarray`
        From the Sun's centre, metres.
    """

    longitude: np.ndarray | float
    latitude: np.ndarray | float
    distance: np.ndarray | float

    @property
    def cartesian(self) -> np.ndarray:
        """Metres, shape (3, ...)."""
        lon, lat, r = np.broadcast_arrays(*self)
        return r * np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])

    def separation(self, other: ObserverPosition) -> np.ndarray:
        """Angle between two places as seen from the Sun's centre, radians.

        Parameters
        ----------
        other : `ObserverPosition`
            One place or as many as here; only directions count.
        """
        return np.asarray(angular_separation(self.longitude, self.latitude, other.longitude, other.latitude))


def stonyhurst_zero(time: Time) -> np.ndarray:
    """HCI longitude of the meridian that faces Earth, from which Stonyhurst longitudes are counted.

    Parameters
    ----------
    time : `~astropy.time.Time`
        Any shape.

    Returns
    -------
    `numpy.ndarray`
        Radians, shape of the time.
    """
    if time.isscalar:
        return np.asarray(_zero_at(time.tai.jd1, time.tai.jd2))
    # An ephemeris for each time costs most; the meridian moves too evenly to need that.
    if time.size > 16 and (span := float((time.max() - time.min()).to_value(u.s))) < 10 * 86400:
        knots = 0.5 * (1 - np.cos(np.pi * np.arange(9) / 8)) * span
        start = time.min()
        zeros = np.unwrap(stonyhurst_zero(start + knots * u.s))
        fit = np.polynomial.Polynomial.fit(knots, zeros, 6)
        return np.asarray(fit((time - start).to_value(u.s)))
    return _zeros_at(time)


@lru_cache(maxsize=1024)
def _zero_at(jd1: float, jd2: float) -> float:
    # A raster and its frames ask for the same few dates again and again.
    return float(_zeros_at(Time(jd1, jd2, format="jd", scale="tai")))


def _zeros_at(time: Time) -> np.ndarray:
    from sunpy.coordinates import HeliocentricInertial, HeliographicStonyhurst

    meridian = SkyCoord(np.zeros(time.shape) * u.deg, 0 * u.deg, 1 * u.AU, frame=HeliographicStonyhurst(obstime=time))
    return np.asarray(meridian.transform_to(HeliocentricInertial(obstime=time)).lon.to_value(u.rad))


def observer_position(observer: SkyCoord, time: Time) -> ObserverPosition:
    """Where an observer is at a time.

    Parameters
    ----------
    observer : `~astropy.coordinates.SkyCoord`
        A position without a time of its own is one at ``time``; one with a time stays as it is.
    time : `~astropy.time.Time`
        Any shape that broadcasts against the position.
    """
    from sunpy.coordinates import HeliographicStonyhurst

    if not isinstance(observer.frame, HeliographicStonyhurst):
        observer = observer.transform_to(HeliographicStonyhurst(obstime=getattr(observer, "obstime", None) or time))
    when = time if observer.obstime is None else observer.obstime
    return ObserverPosition(
        observer.lon.to_value(u.rad) + stonyhurst_zero(when),
        observer.lat.to_value(u.rad),
        observer.radius.to_value(u.m),
    )


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """A transform so nearly linear that a matrix says it: between images, rotation by some minutes.

    Parameters
    ----------
    matrix : `numpy.ndarray`, shape (3, 3)
        Acts on directions. With it `~sunalign.geometry.mapping.PixelMapping` remains a homography.
    """

    matrix: np.ndarray

    def __call__(self, directions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Directions of shape (3, ...)."""
        return np.tensordot(self.matrix, directions, axes=1)


@dataclass(frozen=True, eq=False)
class SphereTransform:
    """Transform of directions from one observer and time to another over a rotating sphere.

    A line of sight is cut with the sphere, the point turned by the Sun's rotation, and seen by the other observer
    (Thompson 2006, A&A 449, 791, equations 11 and 15 between the frames). Points that the other observer cannot see are
    NaN. A line of sight that misses the sphere meets no point that could turn: it keeps its position angle and
    its distance from the Sun's centre in metres, which for an observer who stays where he is means that it keeps its
    angles.

    Parameters
    ----------
    radius : `float`
        Of the sphere, metres.
    distance, latitude, longitude : `numpy.ndarray`, shape (n,)
        Of the target's observer for every column (or one for all): metres, radians, radians. Longitude is counted from
        the other observer's meridian.
    elapsed : `numpy.ndarray`, shape (n,)
        Seconds from the time of every column to the other image's, over which the Sun turns.
    rates : `tuple` of `float`
        As in `ROTATION`.
    to_distance, to_latitude : `float`
        Of the other observer.
    off_disc : `bool`
        Whether what misses the sphere is kept; otherwise it is NaN.
    """

    radius: float
    distance: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    elapsed: np.ndarray
    rates: tuple[float, float, float]
    to_distance: float
    to_latitude: float
    off_disc: bool = True

    def __post_init__(self) -> None:
        table = np.broadcast_arrays(self.distance, self.latitude, self.longitude, self.elapsed)
        object.__setattr__(self, "_table", np.array(table, float).reshape(4, -1))

    def __call__(self, directions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Directions of shape (3, ...), of any length, seen by the target in columns that broadcast with them."""
        x, sin_lat, q, misses, rho = self._turned(directions, columns)
        sin_b, cos_b = np.sin(self.to_latitude), np.cos(self.to_latitude)
        y, z = sin_lat * cos_b - q * sin_b, sin_lat * sin_b + q * cos_b
        to_rho = self.to_distance / self.radius
        out = np.array(np.broadcast_arrays(to_rho - z, x, y))
        out[:, np.broadcast_to(z * to_rho < 1, out.shape[1:])] = np.nan
        if misses is not None:
            misses = np.broadcast_to(misses, out.shape[1:])
            out[:, misses] = self._kept(directions, rho, misses) if self.off_disc else np.nan
        return out

    def _turned(
        self, directions: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """Places on the sphere after the Sun has turned.

        In its radii along three axes: west of the other observer's meridian, along the Sun's axis, and in the equator
        towards that meridian. Then where there is no such place (`None` for nowhere), and the distance of the target's
        observer.
        """
        distance, latitude, longitude, elapsed = interpolate_columns(
            self._table,  # type: ignore[attr-defined]
            np.asarray(columns, float),
        )
        a, b, c = self.rates
        sunward, west, north = directions
        rho = distance / self.radius
        # Squared impact parameter in radii; the cosine of the heliocentric angle follows from it.
        across2 = west * west + north * north
        length2 = sunward * sunward + across2
        missed = 1 - rho * rho * across2 / length2
        misses = (missed < 0) | (sunward <= 0)
        any_misses = bool(misses.any())
        mu = np.sqrt(np.maximum(missed, 0) if any_misses else missed)
        # Along the unnormalised direction to the near side of the sphere, and the point there, from the Sun's centre,
        # to the west, to the north and towards the observer.
        along = (rho * sunward - mu * np.sqrt(length2)) / length2
        x, y, z = along * west, along * north, rho - along * sunward
        sin_b, cos_b = np.sin(latitude), np.cos(latitude)
        sin_lat = y * cos_b + z * sin_b
        q = z * cos_b - y * sin_b
        turn = longitude + a * elapsed
        if b or c:
            sin2 = sin_lat * sin_lat
            turn = turn + (b + c * sin2) * sin2 * elapsed
        sin_turn, cos_turn = np.sin(turn), np.cos(turn)
        x, q = x * cos_turn + q * sin_turn, q * cos_turn - x * sin_turn
        return x, sin_lat, q, misses if any_misses else None, rho

    def _kept(self, directions: np.ndarray, rho: np.ndarray, misses: np.ndarray) -> np.ndarray:
        """Directions off the disc with position angle and impact parameter as before."""
        sunward, west, north = (np.broadcast_to(d, misses.shape)[misses] for d in directions)
        ratio = np.broadcast_to(rho, misses.shape)[misses] * (self.radius / self.to_distance)
        length = np.sqrt(sunward**2 + west**2 + north**2)
        with np.errstate(invalid="ignore"):
            sine2 = (ratio / length) ** 2 * (west**2 + north**2)
            return np.array([np.copysign(np.sqrt(1 - sine2), sunward), ratio * west / length, ratio * north / length])


@dataclass(frozen=True, eq=False)
class SurfaceTransform(SphereTransform):
    """Transform of directions to heliographic coordinates, for a map of the surface.

    As `SphereTransform`, but what comes out are unit vectors ``(cos B cos L, cos B sin L, sin B)`` of heliographic
    longitude L and latitude B, which is what the world coordinates of such a map stand for. ``longitude`` is counted
    from the meridian where L is 0. There is no observer to hide anything; what misses the sphere is NaN.

    Parameters
    ----------
    radius, distance, latitude, elapsed, rates, to_distance, to_latitude, off_disc
        As in `SphereTransform`.
    longitude : `numpy.ndarray`, shape (n,)
        Of the observer, radians, from the meridian where L is 0.
    """

    def __call__(self, directions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Heliographic unit vectors of shape (3, ...) of what the target sees."""
        x, sin_lat, q, misses, _ = self._turned(directions, columns)
        out = np.array(np.broadcast_arrays(q, x, sin_lat))
        if misses is not None:
            out[:, np.broadcast_to(misses, out.shape[1:])] = np.nan
        return out
