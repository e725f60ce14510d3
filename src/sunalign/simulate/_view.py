"""Where one looks from, and what is met there: the geometry of a sphere, in closed form."""

from typing import NamedTuple

import numpy as np

from sunalign.simulate._grid import Array


class View(NamedTuple):
    """
    Where one looks from, and when; every field broadcasts against the points looked at.

    Parameters
    ----------
    distance : `numpy.ndarray`
        Distance to the centre of the Sun, metres.
    b0 : `numpy.ndarray`
        Heliographic latitude, radians.
    longitude : `numpy.ndarray`
        Longitude in the inertial frame, radians.
    turned : `numpy.ndarray`
        Time over which the Sun has turned since the epoch of the scene, seconds.
    aged : `numpy.ndarray`
        Time over which the Sun has evolved since then, seconds.
    """

    distance: Array
    b0: Array
    longitude: Array
    turned: Array
    aged: Array

    def flattened(self, shape: tuple[int, ...]) -> "View":
        """One value for each of the flattened points, except where one does for all.

        Parameters
        ----------
        shape : `tuple` of `int`
            Of the points before they were flattened.
        """
        return View(*(a if a.ndim == 0 else np.broadcast_to(a, shape).reshape(-1) for a in self))

    def part(self, block: slice) -> "View":
        """Fields for a block of the flattened points.

        Parameters
        ----------
        block : slice
            Of the flattened points.
        """
        return View(*(a if a.ndim == 0 else a[block] for a in self))


def unit_vectors(lon: Array, lat: Array) -> tuple[Array, Array, Array]:
    """Unit vectors of angles: to where both are nil, to longitude 90 degrees, and to the pole.

    Parameters
    ----------
    lon, lat : `numpy.ndarray`
        Radians, of one shape.
    """
    cos_lat = np.cos(lat)
    return cos_lat * np.cos(lon), cos_lat * np.sin(lon), np.sin(lat)


def surface_points(vectors: tuple[Array, Array, Array], view: View, rsun: float) -> tuple[Array, Array, Array, Array]:
    """
    Where lines of sight meet the sphere, or pass nearest to its centre when they miss it.

    Parameters
    ----------
    vectors : `tuple` of three `numpy.ndarray`
        Unit vectors from the observer: to the centre of the Sun, west and north.
    view : `View`
    rsun : `float`
        Radius of the sphere, metres.

    Returns
    -------
    lon, sin_lat : `numpy.ndarray`
        Inertial longitude in radians, and sine of the heliographic latitude.
    mu : `numpy.ndarray`
        Cosine of the heliocentric angle; 0 off the disc.
    height : `numpy.ndarray`
        Height above the limb in solar radii; 0 on the disc.
    """
    sunward, west, north = vectors
    impact2 = (view.distance / rsun) ** 2 * (west**2 + north**2)
    mu = np.sqrt(np.maximum(1 - impact2, 0))
    radius = np.sqrt(np.maximum(impact2, 1))
    # Distance along the line of sight to the sphere, and on it the position relative to the centre, in its own radius.
    path = (view.distance * sunward - rsun * mu) / (rsun * radius)
    x, y = path * west, path * north
    z = view.distance / (rsun * radius) - path * sunward
    sin_b, cos_b = np.sin(view.b0), np.cos(view.b0)
    sin_lat = np.clip(y * cos_b + z * sin_b, -1, 1)
    lon = view.longitude + np.arctan2(x, z * cos_b - y * sin_b)
    return lon, sin_lat, mu, radius - 1


def rim_points(vectors: tuple[Array, Array, Array], view: View) -> tuple[Array, Array]:
    """Limb in the same direction from the centre of the disc.

    Parameters
    ----------
    vectors : `tuple` of three `numpy.ndarray`
        As in `surface_points`.
    view : `View`

    Returns
    -------
    lon, sin_lat : `numpy.ndarray`
        Inertial longitude in radians, and sine of the heliographic latitude.
    """
    _, west, north = vectors
    away = np.maximum(np.hypot(west, north), 1e-12)
    x, y = west / away, north / away
    sin_b, cos_b = np.sin(view.b0), np.cos(view.b0)
    return view.longitude + np.arctan2(x, -y * sin_b), np.clip(y * cos_b, -1, 1)
