"""Where an observer was while a raster was made: from frames, velocity cards, two headers or the caller.

A header gives one position, for its own date. What happened before and after is taken from the best of several
sources, and the result says which: at perihelion Solar Orbiter follows half of the Sun's rotation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import astropy.units as u
from astropy import constants
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunalign.exceptions import AlignmentError
from sunalign.geometry.coordinates import nearest_turn
from sunalign.geometry.dates import seconds_between
from sunalign.geometry.rotation import ObserverPosition, observer_position, stonyhurst_zero

if TYPE_CHECKING:
    from sunalign.images import Image

__all__ = ["AU", "Observation", "Trajectory", "observation_of", "observer_trajectory", "same_observer", "spacecraft"]

AU = float(constants.au.si.value)
_GM_SUN = float(constants.GM_sun.si.value)

#: Metres by which positions of one spacecraft may differ, and by which those of spacecraft about Earth and L1 do.
_OWN_SLACK = 5e-4 * AU
_EARTH_SLACK = 0.012 * AU

#: Metres a second: more than any spacecraft but Parker Solar Probe at its fastest, and more than Earth moves.
_OWN_SPEED = 120e3
_EARTH_SPEED = 40e3

#: Two positions tell a velocity if they are at least this part of the raster's duration, and a minute, apart.
_LEVER = 0.02
_SHORTEST = 60.0


@dataclass(frozen=True, eq=False)
class Observation:
    """Who took an image, from where and when.

    Parameters
    ----------
    name : `str`
        Of the image.
    position : `~sunalign.geometry.rotation.ObserverPosition`
    date : `~astropy.time.Time`
        When the observer was there.
    header : mapping
        Of the image.
    stonyhurst : `float`
        Stonyhurst longitude, radians.
    """

    name: str
    position: ObserverPosition
    date: Time
    header: Mapping[str, Any]
    stonyhurst: float

    @property
    def spacecraft(self) -> str:
        """Name of the spacecraft in the header; empty if there is none."""
        return spacecraft(self.header)


def observation_of(image: Image, observer: SkyCoord, date: Time) -> Observation:
    """Who took an image, with an observer and a date that its header may not give.

    Parameters
    ----------
    image : `~sunalign.images.Image`
    observer : `~astropy.coordinates.SkyCoord`
        Where it was taken from; without an ``obstime`` it is a position at ``date``.
    date : `~astropy.time.Time`
        When, which its header may not say.
    """
    position = observer_position(observer, date)
    when = date if observer.obstime is None else observer.obstime
    return Observation(image.name, position, date, image.meta, float(position.longitude - stonyhurst_zero(when)))


def spacecraft(header: Mapping[str, Any]) -> str:
    """Name of the spacecraft: OBSRVTRY, else the first part of TELESCOP; empty where a header has neither.

    Parameters
    ----------
    header : mapping
    """
    for key in ("OBSRVTRY", "TELESCOP"):
        value = header.get(key) or header.get(key.lower())
        if isinstance(value, str) and value.strip():
            return value.split("/")[0].strip()
    return ""


def same_observer(a: Observation, b: Observation) -> bool:
    """Whether two images can come from one spacecraft, or from two that look from practically one place.

    Parameters
    ----------
    a, b : `Observation`
        At their own times; what a spacecraft flies between them is allowed for.
    """
    gap = abs(seconds_between(a.date, b.date))
    # Two names of one spacecraft ('SOLO' and 'Solar Orbiter') are not told from two spacecraft; places are.
    own = _OWN_SLACK + _OWN_SPEED * gap
    about_earth = _EARTH_SLACK + _EARTH_SPEED * gap
    apart = float(np.linalg.norm(a.position.cartesian - b.position.cartesian))
    return apart <= own or (apart <= about_earth and _about_earth(a) and _about_earth(b))


def _about_earth(observation: Observation) -> bool:
    earth = ObserverPosition(0.0, observation.position.latitude, AU)
    there = observation.position._replace(longitude=observation.stonyhurst)
    return float(np.linalg.norm(there.cartesian - earth.cartesian)) < 0.04 * AU


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Places of an observer.

    Parameters
    ----------
    position : callable
        Seconds after ``epoch``, an array, to a `~sunalign.geometry.rotation.ObserverPosition`.
    epoch : `~astropy.time.Time`
    source : `str`
        Where this comes from, in words.
    known : `bool`
        False where nothing was known and the observer is taken to follow Earth.
    """

    position: Callable[[np.ndarray], ObserverPosition]
    epoch: Time
    source: str
    known: bool = True


def observer_trajectory(
    target: Observation, others: Sequence[Observation], duration: float, given: Any = None
) -> Trajectory:
    """Trajectory of a target's observer around its date.

    The sources are, in this order: the caller, the positions of several frames of the same spacecraft, the velocity
    cards of a header (``HCIX_VOB``, ``HCIY_VOB``, ``HCIZ_VOB`` in metres a second, as in the L2 images of EUI), the
    positions of the target's and a frame's header. Without any the observer is held at its Stonyhurst longitude, as it
    is for an observer at Earth. All but the caller's are displacements from the position in the target's header.

    Parameters
    ----------
    target : `Observation`
    others : sequence of `Observation`
        The reference or the frames.
    duration : `float`
        Seconds for which the trajectory is needed; two positions much closer in time than that say nothing about it.
    given : callable, sequence or `~astropy.coordinates.SkyCoord`, optional
        From the caller: a function of a `~astropy.time.Time` that returns a `~astropy.coordinates.SkyCoord`, or two or
        more positions, each with its ``obstime``.

    Returns
    -------
    `Trajectory`
    """
    if given is not None:
        return _given_trajectory(target, given)
    own = [other for other in others if other.spacecraft == target.spacecraft and same_observer(target, other)]
    least = max(_SHORTEST, _LEVER * duration)
    return (
        _through(target, own, least, f"the positions of {len(own)} frames")
        or _with_velocity(target, [*own, target])
        or _through(target, [target, *own], least, "the positions and dates of the two headers")
        or _with_earth(target)
    )


def _given_trajectory(target: Observation, given: Any) -> Trajectory:
    if callable(given):

        def position_at(seconds: np.ndarray) -> ObserverPosition:
            seconds = np.atleast_1d(np.asarray(seconds, float))
            # A spacecraft's path is smooth; a caller's function may be slow, or take one time only.
            knots = seconds if seconds.size <= 12 else np.linspace(seconds.min(), seconds.max(), 12)
            positions = [_position(given(target.date + t * u.s), target.date + t * u.s) for t in knots]
            table = _unwrapped(positions)
            return (
                ObserverPosition(*table)
                if knots is seconds
                else ObserverPosition(*(_smooth(knots, row, seconds) for row in table))
            )

        return Trajectory(position_at, target.date, "given by the caller")
    positions = [*given] if isinstance(given, (list, tuple, SkyCoord)) else []
    if len(positions) < 2 or any(getattr(p, "obstime", None) is None for p in positions):
        raise AlignmentError(
            "'observer_motion' is a function of an astropy Time that returns a SkyCoord, or at least two SkyCoord "
            "positions, each with its obstime."
        )
    times = [p.obstime for p in positions]
    return _interpolated(target.date, times, [_position(p, p.obstime) for p in positions], "given by the caller")


def _position(value: Any, time: Time) -> ObserverPosition:
    if not isinstance(value, SkyCoord):
        raise AlignmentError(
            f"'observer_motion' returns a SkyCoord, the observer's position; got {type(value).__name__}."
        )
    return ObserverPosition(*(np.squeeze(part) for part in observer_position(value, time)))


def _unwrapped(positions: Sequence[ObserverPosition]) -> np.ndarray:
    table = np.array([[float(part) for part in position] for position in positions]).T
    table[0] = np.unwrap(table[0])
    return table


def _smooth(knots: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(knots, values)(at))


def _interpolated(epoch: Time, times: Sequence[Time], positions: Sequence[ObserverPosition], source: str) -> Trajectory:
    """Trajectory through positions: a cubic through four and more, a line through fewer; lines beyond them."""
    seconds = np.array([seconds_between(epoch, t) for t in times])
    order = np.argsort(seconds)
    seconds, table = seconds[order], _unwrapped([positions[i] for i in order])
    # Two headers of one moment say one thing.
    seconds, first = np.unique(np.round(seconds, 3), return_index=True)
    table = table[:, first]

    def position_at(at: np.ndarray) -> ObserverPosition:
        at = np.asarray(at, float)
        inside = np.clip(at, seconds[0], seconds[-1])
        rows = []
        for row in table:
            values = _smooth(seconds, row, inside) if len(seconds) >= 4 else np.interp(inside, seconds, row)
            ends = np.where(at < inside, (row[1] - row[0]) / (seconds[1] - seconds[0]), 0.0)
            ends = np.where(at > inside, (row[-1] - row[-2]) / (seconds[-1] - seconds[-2]), ends)
            rows.append(values + ends * (at - inside))
        return ObserverPosition(*rows)

    return Trajectory(position_at, epoch, source)


def _through(target: Observation, others: Sequence[Observation], least: float, source: str) -> Trajectory | None:
    if len(others) < 2:
        return None
    seconds = np.array([seconds_between(target.date, other.date) for other in others])
    if np.ptp(seconds) < least:
        return None
    if _copied(others) and not _about_earth(target):
        return None
    trajectory = _interpolated(target.date, [o.date for o in others], [o.position for o in others], source)
    return _anchored(target, trajectory)


def _copied(others: Sequence[Observation]) -> bool:
    """Whether all headers give one and the same Stonyhurst position, which away from Earth nothing stays at."""
    first = others[0]
    for other in others[1:]:
        same = np.isclose(other.position.latitude, first.position.latitude, rtol=0, atol=1e-12) and np.isclose(
            other.position.distance, first.position.distance, rtol=1e-12, atol=0
        )
        if not same:
            return False
    return True


def _anchored(target: Observation, trajectory: Trajectory) -> Trajectory:
    """Displacements of a trajectory from the target's own position."""
    start = trajectory.position(np.zeros(1))

    def position_at(seconds: np.ndarray) -> ObserverPosition:
        there = trajectory.position(np.asarray(seconds, float))
        return ObserverPosition(
            *(own + (now - then) for own, now, then in zip(target.position, there, start, strict=True))
        )

    return Trajectory(position_at, target.date, trajectory.source)


def _with_velocity(target: Observation, candidates: Sequence[Observation]) -> Trajectory | None:
    for candidate in candidates:
        header = candidate.header
        cards = [header.get(f"HCI{axis}_VOB", header.get(f"hci{axis.lower()}_vob")) for axis in "XYZ"]
        if all(isinstance(card, (int, float)) for card in cards):
            offset = float((candidate.date - target.date).to_value(u.s))
            fall = _free_fall(candidate.position.cartesian, np.array(cards, float), offset)
            return _anchored(target, Trajectory(fall, target.date, f"the velocity cards of {candidate.name}"))
    return None


def _free_fall(position: np.ndarray, velocity: np.ndarray, start: float) -> Callable[[np.ndarray], ObserverPosition]:
    """Kepler's motion to the third order in time after ``start``: the series of Lagrange's coefficients f and g."""
    r = float(np.linalg.norm(position))
    k = _GM_SUN / r**3
    radial = float(position @ velocity) / r**2
    longitude = np.arctan2(position[1], position[0])

    def position_at(seconds: np.ndarray) -> ObserverPosition:
        seconds = np.asarray(seconds, float) - start
        f = 1 - k * seconds**2 / 2 + k * radial * seconds**3 / 2
        g = seconds - k * seconds**3 / 6
        x, y, z = position[:, None] * f.ravel() + velocity[:, None] * g.ravel()
        turned = nearest_turn(np.arctan2(y, x) - longitude)
        parts = (longitude + turned, np.arctan2(z, np.hypot(x, y)), np.sqrt(x**2 + y**2 + z**2))
        return ObserverPosition(*(part.reshape(seconds.shape) for part in parts))

    return position_at


def _with_earth(target: Observation) -> Trajectory:
    zero = float(stonyhurst_zero(target.date))

    def position_at(seconds: np.ndarray) -> ObserverPosition:
        seconds = np.atleast_1d(np.asarray(seconds, float))
        turned = nearest_turn(stonyhurst_zero(target.date + seconds * u.s) - zero)
        same = np.ones_like(turned)
        return ObserverPosition(
            target.position.longitude + turned, target.position.latitude * same, target.position.distance * same
        )

    about_earth = _about_earth(target)
    return Trajectory(
        position_at,
        target.date,
        f"{'as Earth' if about_earth else 'unknown'}: held at its Stonyhurst longitude",
        known=about_earth,
    )
