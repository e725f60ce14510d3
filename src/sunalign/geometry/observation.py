"""From a target's columns to a reference image: who looked when, and the transform that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunpy.sun.constants import radius as solar_radius

from sunalign.exceptions import AlignmentError, warn_user
from sunalign.geometry.coordinates import ARCSEC, PixelGrid
from sunalign.geometry.dates import seconds_between
from sunalign.geometry.mapping import DirectionTransform
from sunalign.geometry.observers import Observation, Trajectory, observation_of, observer_trajectory, same_observer
from sunalign.geometry.rotation import ROTATION, ObserverPosition, SphereTransform
from sunalign.geometry.simpler import NEGLIGIBLE, largest_effect, one_matrix
from sunalign.geometry.times import StepTimes

if TYPE_CHECKING:
    from sunalign.images import Image

__all__ = [
    "Modelling",
    "View",
    "check_modelling",
    "describe_rotation",
    "image_transform",
    "views_of",
    "warn_if_unknown",
]

_RSUN = float(solar_radius.to_value(u.m))

#: Upper bound of the apparent rotation of a sphere seen by any spacecraft, rad/s on the Sun.
_FASTEST = 6e-6

_WIDE = np.radians(1.0)

_MEANING = {
    "differential": "differential (Howard et al. 1990)",
    "rigid": "rigid (14.1844 deg/day)",
    "none": "none",
}
_FRAMES = {
    "step": "step: angles as seen at each column's own time",
    "header": "header: all angles in the one frame of the header",
}


@dataclass(frozen=True)
class Modelling:
    """What is taken to happen between target and reference; the options of the builders that model it.

    Parameters
    ----------
    solar_rotation : `str`
        ``"differential"``, ``"rigid"`` or ``"none"``.
    raster_frame : `str`
        ``"step"``, where the angles of a raster are those seen at each column's own time, or ``"header"``, where all
        are in
        the one frame of the header.
    observer_motion : callable, sequence of `~astropy.coordinates.SkyCoord`, or `None`
        Where the target's observer is at other times; `None` for what headers say.
    height : `~astropy.units.Quantity`
        Of the emission above the photosphere.
    """

    solar_rotation: str = "differential"
    raster_frame: str = "step"
    observer_motion: Any = None
    height: u.Quantity = field(default_factory=lambda: 0 * u.Mm)


def check_modelling(solar_rotation: str, raster_frame: str, observer_motion: Any, height: Any) -> Modelling:
    """Options, held to what they may be.

    Parameters
    ----------
    solar_rotation, raster_frame, observer_motion, height
        As in `Modelling`, as a caller gave them.

    Raises
    ------
    ValueError
        If a word is none of those there are.
    TypeError
        If something is of the wrong type, or has the wrong unit.
    """
    if solar_rotation not in ROTATION:
        raise ValueError(f"'solar_rotation' is 'differential', 'rigid' or 'none'; got {solar_rotation!r}.")
    if raster_frame not in _FRAMES:
        raise ValueError(f"'raster_frame' is 'step' or 'header'; got {raster_frame!r}.")
    if not isinstance(height, u.Quantity) or not height.isscalar or not height.unit.is_equivalent(u.m):
        raise TypeError(f"'height' is a length above the photosphere, such as 5 * u.Mm; got {height!r}.")
    if not callable(observer_motion) and not isinstance(observer_motion, (Sequence, SkyCoord, type(None))):
        raise TypeError(
            "'observer_motion' is a function of an astropy Time that returns a SkyCoord, or a sequence of SkyCoord "
            f"positions with an obstime each; got {type(observer_motion).__name__}."
        )
    return Modelling(solar_rotation, raster_frame, observer_motion, height)


@dataclass(frozen=True, eq=False)
class View:
    """The target as its observer saw it, column by column.

    Parameters
    ----------
    observation : `~sunalign.geometry.observers.Observation`
        Whose date and place the header's coordinates refer to.
    seconds : `numpy.ndarray`, shape (n,)
        Mid times of the columns after ``seen.date``.
    trajectory : `~sunalign.geometry.observers.Trajectory`, optional
        Where the observer is at other times; not needed for an instantaneous image.
    radius : `float`
        Of the sphere that is looked at, metres.
    modelling : `Modelling`
    simultaneous : `bool`
        Whether time is left out of it: what both observers see is compared as of one moment.
    """

    observation: Observation
    seconds: np.ndarray
    trajectory: Trajectory | None
    radius: float
    modelling: Modelling
    simultaneous: bool = False

    def transform(self, to: Observation, delay: float = 0.0) -> SphereTransform:
        """Transform of directions to another image.

        Parameters
        ----------
        to : `~sunalign.geometry.observers.Observation`
            Who took the other image.
        delay : `float`
            Seconds after the middle of the exposure for which to do this.
        """
        rates = ROTATION["none" if self.simultaneous else self.modelling.solar_rotation]
        if self.simultaneous:
            position, elapsed = self.observation.position, np.zeros(1)
            longitude: np.ndarray | float = self.observation.stonyhurst - to.stonyhurst
        else:
            seconds = self.seconds + delay
            still = self.trajectory is None or self.modelling.raster_frame == "header"
            position = self.observation.position if still else self.trajectory.position(seconds)  # type: ignore[union-attr]
            longitude = position.longitude - to.position.longitude
            elapsed = seconds_between(self.observation.date, to.date) - seconds
        return SphereTransform(
            radius=self.radius,
            distance=np.atleast_1d(position.distance),
            latitude=np.atleast_1d(position.latitude),
            longitude=np.atleast_1d(longitude),
            elapsed=elapsed,
            rates=rates,
            to_distance=float(to.position.distance),
            to_latitude=float(to.position.latitude),
            off_disc=same_observer(self.observation, to) or _separation(self.observation, to) < _WIDE,
        )


def views_of(
    target: Image, references: Sequence[Image], modelling: Modelling
) -> tuple[View, list[Observation], dict[str, str]] | None:
    """Target and references as they were seen, and what had to be assumed for that.

    Parameters
    ----------
    target : `~sunalign.images.Image`
    references : sequence of `~sunalign.images.Image`
        Their data are not looked at.
    modelling : `Modelling`

    Returns
    -------
    `tuple` or `None`
        `None` where nothing says from where any of them was seen, nor when.
    """
    assumptions: dict[str, str] = {}
    times, dates = target.times, [image.date for image in references]
    simultaneous = _without_dates(target, times, references, dates, assumptions)
    if simultaneous and (modelling.solar_rotation != "none" or any(i.dates.unreadable for i in (target, *references))):
        _warn_of_no_date(target, references)
    elif target.date is None and target.dates.unreadable:
        warn_user(f"{target.name} {target.dates.undated}; the middle of its time axis is used instead.")
    observers = _observers(target, references, simultaneous, assumptions)
    if observers is None:
        return None
    now = Time("J2000")
    date = target.date or (times.at((target.grid.shape[1] - 1) / 2) if times is not None else now)
    observation = observation_of(target, observers[0], date)
    others = [
        observation_of(image, observer, when or date)
        for image, observer, when in zip(references, observers[1:], dates, strict=True)
    ]
    seconds, trajectory = np.zeros(1), None
    if times is not None and not simultaneous:
        seconds = times.seconds + seconds_between(date, times.epoch)
        assumptions["target time"] = times.origin
        if not times.is_instant:
            assumptions["raster frame"] = _FRAMES[modelling.raster_frame]
        if (not times.is_instant or abs(seconds[0]) > 1e-3) and modelling.raster_frame == "step":
            trajectory = observer_trajectory(
                observation, others, float(np.ptp([*seconds, 0.0])), modelling.observer_motion
            )
            assumptions["observer motion"] = trajectory.source
    radius = _sphere(target.meta) + float(modelling.height.to_value(u.m))
    return View(observation, seconds, trajectory, radius, modelling, simultaneous), others, assumptions


def _without_dates(
    target: Image,
    times: StepTimes | None,
    references: Sequence[Image],
    dates: Sequence[Time | None],
    assumptions: dict[str, str],
) -> bool:
    """Whether time has to be left out; an error where that cannot be."""
    missing = [image for image, date in zip(references, dates, strict=True) if date is None]
    if missing and times is not None and not times.is_instant:
        raise AlignmentError(
            f"{missing[0].name} {missing[0].dates.undated}, so the Sun's rotation between it and the steps of the "
            f"raster is unknown; {missing[0].dates.remedy}, or use solar_rotation='none'."
        )
    if missing or times is None:
        assumptions["dates"] = f"{(missing[0] if missing else target).name} has none: taken to be simultaneous"
        return True
    return False


def _warn_of_no_date(target: Image, references: Sequence[Image]) -> None:
    undated = [image for image in (target, *references) if image.date is None][:2] or [target]
    told = " and ".join(f"{image.name} {image.dates.undated}" for image in undated)
    remedy = undated[0].dates.remedy
    warn_user(
        f"{told}; target and reference are taken to be simultaneous. {remedy[0].upper()}{remedy[1:]} if that is wrong."
    )


def _observers(
    target: Image, references: Sequence[Image], simultaneous: bool, assumptions: dict[str, str]
) -> list[SkyCoord] | None:
    """Observers of all images; those that a header does not give are taken from another."""
    found = [image.observer for image in (target, *references)]
    missing = [image for image, observer in zip((target, *references), found, strict=True) if observer is None]
    if not missing:
        return found
    known = [observer for observer in found if observer is not None]
    if not known:
        if simultaneous:
            assumptions["observers"] = "no header gives one: all taken to be the same"
            return None
        from sunpy.coordinates import get_earth

        assumptions["observers"] = "no header gives one: taken to be at Earth"
        earths = [get_earth(image.date) for image in (target, *references)]
        return list(earths)
    target_lacks = found[0] is None
    whose = "the reference's" if target_lacks else "the target's"
    assumptions["observers"] = f"{missing[0].name} gives none: taken to be {whose}"
    warn_user(
        f"{missing[0].name} does not say from where it was seen; its observer is taken to be {whose}. "
        f"Add DSUN_OBS, HGLN_OBS and HGLT_OBS to its header if that is wrong.",
    )
    given = known[0]
    # At its own date: the same Stonyhurst position, which is what anyone near Earth keeps.
    spare = SkyCoord(given.lon, given.lat, given.radius, frame="heliographic_stonyhurst")
    return [spare if observer is None else observer for observer in found]


def _sphere(header: Mapping[str, Any]) -> float:
    value = header.get("RSUN_REF", header.get("rsun_ref"))
    return float(value) if isinstance(value, (int, float)) and value > 0 else _RSUN


def _separation(a: Observation, b: Observation) -> float:
    """Angle between two observers in Stonyhurst coordinates, radians."""
    mine, theirs = (ObserverPosition(one.stonyhurst, one.position.latitude, one.position.distance) for one in (a, b))
    return float(mine.separation(theirs))


def describe_rotation(modelling: Modelling) -> str:
    """How the Sun turns, in words.

    Parameters
    ----------
    modelling : `Modelling`
    """
    return _MEANING[modelling.solar_rotation]


def image_transform(
    target: Image, image: Image, modelling: Modelling
) -> tuple[DirectionTransform | None, dict[str, str]]:
    """Transform of directions from a target to one image, if it is not negligible, and what was assumed for it.

    Parameters
    ----------
    target : `~sunalign.images.Image`
    image : `~sunalign.images.Image`
        Its data are not looked at.
    modelling : `Modelling`

    Returns
    -------
    `~sunalign.geometry.mapping.DirectionTransform` or `None`
        `None` where nothing moves by more than `~sunalign.geometry.simpler.NEGLIGIBLE`.
    `dict`
        What was assumed, in words, by what it is about.
    """
    named = {"solar rotation": describe_rotation(modelling)}
    if _nothing_between(target, image):
        return None, named
    found = views_of(target, [image], modelling)
    if found is None:
        return None, named
    view, (other,), assumptions = found
    assumptions = named | assumptions
    same = same_observer(view.observation, other)
    if modelling.solar_rotation == "none":
        # Frozen: a feature is where it was, for a spacecraft that is where it was.
        assumptions = {k: v for k, v in assumptions.items() if k in ("solar rotation", "observers", "dates")}
        if same:
            return None, assumptions
        view = View(view.observation, view.seconds, None, view.radius, modelling, simultaneous=True)
    if not same:
        assumptions |= _parallax(view, other, modelling)
    transform = view.transform(other)
    effect = largest_effect(transform, target.grid, image.grid)
    if effect < NEGLIGIBLE:
        return None, assumptions
    if len(transform.elapsed) == 1:
        linear = one_matrix(transform, target.grid, image.grid)
        if linear is not None:
            return linear, assumptions
    elif view.trajectory is not None:
        warn_if_unknown(view.trajectory, view, image.grid)
    return transform, assumptions


def _nothing_between(target: Image, image: Image) -> bool:
    """Whether dates and observers of the headers are so close that nothing can have moved; asks for no ephemeris."""
    a, b = target.observer, image.observer
    times, date = target.times, image.date
    if a is None or b is None or times is None or date is None or not times.is_instant or target.date is None:
        return False
    (lon, lat, own), (other_lon, other_lat, distance) = (_plain_position(observer) for observer in (a, b))
    lever = _RSUN / (distance - _RSUN)
    since = seconds_between(times.epoch, date) - float(times(0.0))
    seconds = abs(since) + abs(seconds_between(target.date, date))
    moved = seconds * _FASTEST + abs(lon - other_lon) + abs(lat - other_lat) + 2 * abs(own / distance - 1)
    return moved * lever < NEGLIGIBLE * min(image.grid.pixel_size)


def _plain_position(observer: SkyCoord) -> tuple[float, float, float]:
    """Longitude and latitude in radians and distance from the Sun in metres."""
    place = observer.frame.spherical  # Of a SkyCoord, each attribute takes longer than all of this.
    return float(place.lon.rad), float(place.lat.rad), float(place.distance.to_value(u.m))


def _parallax(view: View, other: Observation, modelling: Modelling) -> dict[str, str]:
    """Say what two places to look from mean, and warn where it matters."""
    angle = _separation(view.observation, other)
    height = f"{modelling.height.to_value(u.Mm):g} Mm"
    assumptions = {
        "observers": f"{np.degrees(angle):.2f} deg apart, joined over a sphere {height} above the photosphere"
    }
    if angle > _WIDE:
        per_mm = 1e6 * np.sin(angle) / (float(other.position.distance) - view.radius) / ARCSEC
        warn_user(
            f"The observers of {view.observation.name} and {other.name} are {np.degrees(angle):.1f} degrees apart: "
            f"every Mm of height above the {height} assumed displaces a structure by {per_mm:.2f} arcsec of parallax. "
            f"Set 'height' to where the emission comes from.",
        )
    return assumptions


def warn_if_unknown(trajectory: Trajectory, view: View, reference: PixelGrid, duration: float | None = None) -> None:
    """Warn where a spacecraft away from Earth is held at its Stonyhurst longitude for want of knowledge.

    Parameters
    ----------
    trajectory : `~sunalign.geometry.observers.Trajectory`
    view : `View`
    reference : `~sunalign.geometry.coordinates.PixelGrid`
    duration : `float`, optional
        Seconds over which features are carried; by default as long as the raster took.
    """
    if trajectory.known:
        return
    duration = float(np.ptp(view.seconds)) if duration is None else duration
    # Between following Earth and following its own orbit at perihelion lie some 6 degrees a day.
    lever = view.radius / (float(view.observation.position.distance) - view.radius)
    unsure = np.radians(6) / 86400 * duration * lever
    if unsure > min(reference.pixel_size):
        warn_user(
            f"No header says how the observer of {view.observation.name} moved during the raster; it is held at its "
            f"Stonyhurst longitude, which can be wrong by up to {unsure / ARCSEC:.0f} arcsec. "
            f"Give 'observer_motion', or references with velocity cards (HCIX_VOB).",
        )
