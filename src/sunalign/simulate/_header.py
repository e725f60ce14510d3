"""Headers that say exactly where a simulated detector pointed, or by how much they are wrong."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunalign.simulate._grid import Array
from sunalign.simulate._observer import Observer, locate, stonyhurst_zero

Convention = Literal["pc", "cd", "crota"]
Header = dict[str, Any]
Pair = tuple[u.Quantity, u.Quantity]


@dataclass(frozen=True, kw_only=True)
class PointingError:
    """
    By how much a header is wrong, told as the correction that an aligner must find.

    With the header's reference pixel at the exact centre of the array, its reference value ``CRVAL`` and its 2x2
    matrix ``M`` = CDELT x PC, the true header has the same reference pixel and ::

        CRVAL_true = CRVAL + (shift_x, shift_y)
        M_true = R(rotation) @ M @ diag(scale_x, scale_y)

    where ``R(a) = [[cos a, -sin a], [sin a, cos a]]`` turns counter-clockwise on the sky.

    Parameters
    ----------
    shift_x, shift_y : `~astropy.units.Quantity`
        To be added to the header's Tx and Ty.
    scale_x, scale_y : `float`
        To multiply the header's pixel size along the array's first (x) and second (y) axis.
    rotation : `~astropy.units.Quantity`
        By which to turn the image counter-clockwise on the sky about the centre of its array.
    """

    shift_x: u.Quantity = field(default_factory=lambda: 0 * u.arcsec)
    shift_y: u.Quantity = field(default_factory=lambda: 0 * u.arcsec)
    scale_x: float = 1.0
    scale_y: float = 1.0
    rotation: u.Quantity = field(default_factory=lambda: 0 * u.deg)

    def undo(self, pointing: "Pointing") -> "Pointing":
        """The wrong pointing that this error makes of the true one.

        Parameters
        ----------
        pointing : ``Pointing``
            The true one.
        """
        return Pointing(
            center=(pointing.center[0] - self.shift_x, pointing.center[1] - self.shift_y),
            scale=(pointing.scale[0] / self.scale_x, pointing.scale[1] / self.scale_y),
            roll=pointing.roll - self.rotation,
            shape=pointing.shape,
        )


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """
    Where a rectangular detector looks, in the gnomonic (TAN) projection.

    Parameters
    ----------
    center : `tuple` of two `~astropy.units.Quantity`
        Helioprojective longitude and latitude of the centre of the array.
    scale : `tuple` of two `~astropy.units.Quantity`
        Angle per pixel along x and y.
    roll : `~astropy.units.Quantity`
        Angle from the sky's axes to the array's, counter-clockwise on the sky, CROTA2.
    shape : `tuple` of `int`
        ``(ny, nx)``.
    """

    center: tuple[u.Quantity, u.Quantity]
    scale: tuple[u.Quantity, u.Quantity]
    roll: u.Quantity
    shape: tuple[int, int]

    @property
    def matrix(self) -> Array:
        """Linear part in radians per pixel, shape (2, 2)."""
        return _rotation(self.roll) @ np.diag([s.to_value(u.rad) for s in self.scale])

    def vectors(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """
        Unit vectors (to the Sun's centre, west, north) through pixel positions, 0-based.

        A point of the plane of projection is the reference direction plus its two tangents times the plane's
        coordinates: no trigonometry for the points.

        Parameters
        ----------
        x, y : `numpy.ndarray`
            0-based; they broadcast.
        """
        ny, nx = self.shape
        lon, lat = (c.to_value(u.rad) for c in self.center)
        sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
        basis = np.array(
            [
                [-sin_lon, -sin_lat * cos_lon],
                [cos_lon, -sin_lat * sin_lon],
                [0, cos_lat],
            ]
        )
        towards = np.array([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat])
        gradient = basis @ self.matrix
        dx, dy = x - (nx - 1) / 2, y - (ny - 1) / 2
        v = [towards[i] + gradient[i, 0] * dx + gradient[i, 1] * dy for i in range(3)]
        norm = 1 / np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
        return v[0] * norm, v[1] * norm, v[2] * norm

    def cards(self, *, convention: Convention = "pc", unit: Any = u.arcsec) -> Header:
        """WCS keywords of the two celestial axes.

        Parameters
        ----------
        convention : `str`
            ``"pc"``, ``"cd"`` or ``"crota"``.
        unit : unit-like
            Of the angles.
        """
        unit = u.Unit(unit)
        ny, nx = self.shape
        cdelt = [float(s.to_value(unit)) for s in self.scale]
        cards: Header = {
            "NAXIS1": nx,
            "NAXIS2": ny,
            "CTYPE1": "HPLN-TAN",
            "CTYPE2": "HPLT-TAN",
            "CUNIT1": unit.to_string("fits"),
            "CUNIT2": unit.to_string("fits"),
            "CRPIX1": (nx + 1) / 2,
            "CRPIX2": (ny + 1) / 2,
            "CRVAL1": float(self.center[0].to_value(unit)),
            "CRVAL2": float(self.center[1].to_value(unit)),
            "LONPOLE": 180.0,
        }
        rotation = _rotation(self.roll)
        if convention == "pc":
            pc = rotation * np.array(cdelt) / np.array(cdelt)[:, None]
            cards |= {"CDELT1": cdelt[0], "CDELT2": cdelt[1]} | _matrix_cards("PC", pc)
        elif convention == "cd":
            cards |= _matrix_cards("CD", rotation * np.array(cdelt))
        elif convention == "crota":
            cards |= {"CDELT1": cdelt[0], "CDELT2": cdelt[1], "CROTA2": float(self.roll.to_value(u.deg))}
        else:
            raise ValueError(f"There is no WCS convention {convention!r}. Allowed: 'pc', 'cd', 'crota'.")
        return cards


def _rotation(angle: u.Quantity) -> Array:
    a = angle.to_value(u.rad)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def _matrix_cards(name: str, matrix: Array) -> Header:
    return {f"{name}{i + 1}_{j + 1}": float(matrix[i, j]) for i in range(2) for j in range(2)}


def date_cards(beginning: Time, middle: Time, end: Time) -> Header:
    """When the observation was made, UTC to the microsecond.

    Parameters
    ----------
    beginning, middle, end : `~astropy.time.Time`
        Of the whole observation.
    """
    names = {"DATE-OBS": beginning, "DATE-BEG": beginning, "DATE-AVG": middle, "DATE-END": end}
    return {"TIMESYS": "UTC"} | {name: _isot(time) for name, time in names.items()}


def observer_cards(position: tuple[Array, Array, Array], rsun: u.Quantity) -> Header:
    """From where.

    Parameters
    ----------
    position : `tuple` of `float`
        Stonyhurst longitude and latitude in radians, and distance in metres, as from `locate`.
    rsun : `~astropy.units.Quantity`
        Radius of the emitting sphere.
    """
    hgln, hglt, dsun = (float(p) for p in position)
    return {
        "RSUN_REF": float(rsun.to_value(u.m)),
        "DSUN_OBS": dsun,
        "HGLN_OBS": float(np.degrees(hgln)),
        "HGLT_OBS": float(np.degrees(hglt)),
    }


def raster_time_cards(n_steps: int, start: Time, cadence: float, direction: int, convention: Convention) -> Header:
    """
    Third axis: time, running along x, as in SPICE rasters.

    Parameters
    ----------
    n_steps : `int`
    start : `~astropy.time.Time`
        Beginning of the first exposure.
    cadence : `float`
        Seconds a step.
    direction : `int`
        -1 scans from west to east, against x; 1 along x.
    convention : `str`
        ``"pc"`` or ``"cd"``.
    """
    if convention == "crota":
        raise ValueError("CROTA2 cannot tell how time runs along a raster: use the convention 'pc' or 'cd'.")
    cards: Header = {
        "WCSAXES": 3,
        "CTYPE3": "UTC",
        "CUNIT3": "s",
        "CRPIX3": 1.0,
        "CRVAL3": n_steps * cadence / 2,
        "DATEREF": _isot(start),
    }
    if convention == "pc":
        cards["CDELT3"] = 1.0
    name = convention.upper()
    linear = {"3_1": direction * cadence, "3_2": 0.0, "3_3": 1.0, "1_3": 0.0, "2_3": 0.0}
    return cards | {f"{name}{index}": value for index, value in linear.items()}


def still_cards(pointing: Pointing, convention: Convention) -> Header:
    """How a header says that the slit did not move: a raster axis without extent, the roll in a plain rotation.

    Parameters
    ----------
    pointing : ``Pointing``
        For its roll.
    convention : `str`
        ``"pc"`` or ``"cd"``.
    """
    study = {"STUDYTYP": "Sit-and-stare"}
    if convention == "cd":
        return study | {"CD1_1": 0.0, "CD2_1": 0.0}
    return study | {"CDELT1": 0.0} | _matrix_cards("PC", _rotation(pointing.roll))


def velocity_cards(observer: Observer, time: Time) -> Header:
    """Position and velocity of a moving observer in heliocentric inertial coordinates, metres and metres a second.

    Parameters
    ----------
    observer : callable
        Gives a `~astropy.coordinates.SkyCoord` for a time.
    time : `~astropy.time.Time`
        The middle of the exposure.
    """
    span = 60 * u.s

    def at(t: Time) -> Array:
        lon, lat, r = locate(observer, t)
        lon = lon + stonyhurst_zero(t)
        return np.array([r * np.cos(lat) * np.cos(lon), r * np.cos(lat) * np.sin(lon), r * np.sin(lat)])

    velocity = (at(time + span / 2) - at(time - span / 2)) / span.to_value(u.s)
    cards = {f"HCI{axis}_OBS": float(p) for axis, p in zip("XYZ", at(time), strict=True)}
    return cards | {f"HCI{axis}_VOB": float(v) for axis, v in zip("XYZ", velocity, strict=True)}


def _isot(time: Time) -> str:
    utc = time.utc.copy()
    utc.precision = 6
    return str(utc.isot)


def direction_of(values: Pair | SkyCoord) -> Pair:
    """Helioprojective longitude and latitude, from a pair or from a coordinate.

    Parameters
    ----------
    values : pair of `~astropy.units.Quantity`, or `~astropy.coordinates.SkyCoord`
    """
    if isinstance(values, SkyCoord):
        return values.Tx, values.Ty
    first, second = values
    return u.Quantity(first), u.Quantity(second)


def two(values: u.Quantity | Pair) -> Pair:
    """A value for x and one for y, where one may stand for both.

    Parameters
    ----------
    values : `~astropy.units.Quantity`, one value or two
    """
    first, second = np.broadcast_to(u.Quantity(values), 2, subok=True)
    return first, second
