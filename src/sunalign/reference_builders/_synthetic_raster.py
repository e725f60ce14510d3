"""A raster made from a sequence of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import astropy.units as u

from sunalign.exceptions import AlignmentError, CoverageError
from sunalign.geometry.mapping import PixelMapping
from sunalign.geometry.observation import View, describe_rotation, views_of, warn_if_unknown
from sunalign.geometry.observers import AU, Observation, same_observer
from sunalign.images import Image
from sunalign.images.frames import Frame, open_frames
from sunalign.reference_builders._raster_reference import Blur, FrameCutout, RasterReference, Schedule
from sunalign.reference_builders._solar import SolarBuilder

__all__ = ["SyntheticRaster"]

_SIGMA = 1 / np.sqrt(8 * np.log(2))

#: Nodes and weights of Gauss and Legendre for an average over an exposure, in units of it.
_EXPOSURE = ((-np.sqrt(0.15), 5 / 18), (0.0, 8 / 18), (np.sqrt(0.15), 5 / 18))


@dataclass(frozen=True, kw_only=True)
class SyntheticRaster(SolarBuilder):
    """Compare every raster step with the images of its own time.

    The references are a sequence of images: Maps, a `~sunpy.map.MapSequence`, or paths of FITS files, in any order.
    Headers are read at once, pixels when they are needed and no more of them than that.

    Parameters
    ----------
    max_time_difference : `~astropy.units.Quantity`
        Largest difference between the middle of a step's exposure and the image it is taken from.
    interpolation : {"nearest", "linear"}
        Take the image nearest in time, or go linearly from the one before to the one after.
    missing : {"error", "nan"}
        What to do about steps without an image within ``max_time_difference``.
    psf_fwhm : `~astropy.units.Quantity`, optional
        Full width at half maximum of a Gaussian with which the images are blurred: what the target's point-spread
        function has beyond theirs.
    slit_width : `~astropy.units.Quantity`, optional
        Width over which to average across the slit.
    exposure : `~astropy.units.Quantity`, optional
        Duration over which to average every step.
    solar_rotation, raster_frame, observer_motion, height
        As in `~sunalign.reference_builders.ImageBuilder`; rotation acts over the time between a step and its image.
        Here the observer's motion comes from the positions of the images.
    """

    max_time_difference: u.Quantity = field(default_factory=lambda: 15 * u.min)
    interpolation: str = "nearest"
    missing: str = "error"
    psf_fwhm: u.Quantity | None = None
    slit_width: u.Quantity | None = None
    exposure: u.Quantity | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in ("nearest", "linear"):
            raise ValueError(f"'interpolation' is 'nearest' or 'linear'; got {self.interpolation!r}.")
        if self.missing not in ("error", "nan"):
            raise ValueError(f"'missing' is 'error' or 'nan'; got {self.missing!r}.")
        _check("max_time_difference", self.max_time_difference, u.s, "10 * u.min")
        for name, unit, example in (
            ("psf_fwhm", u.arcsec, "6 * u.arcsec"),
            ("slit_width", u.arcsec, "6 * u.arcsec"),
            ("exposure", u.s, "60 * u.s"),
        ):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), unit, example)
        super().__post_init__()

    def build(self, references: Sequence[Any], target: Image) -> RasterReference:
        modelling = self._modelling
        times = target.times
        if times is None:
            raise AlignmentError(
                f"{target.name} has neither a time axis nor a date, so no image can be chosen for its steps; add "
                f"DATE-OBS, and PC3_1 for a raster, to its header."
            )
        frames = open_frames(references)
        at = np.array([float((frame.date - times.epoch).to_value(u.s)) for frame in frames])
        most = float(self.max_time_difference.to_value(u.s))
        steps = np.arange(target.grid.shape[1], dtype=float)
        seconds = times(steps)
        if self.missing == "error":
            _check_covered(target, seconds, frames, at, most)
        moments: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
        if self.exposure is not None:
            duration = float(self.exposure.to_value(u.s))
            moments = tuple((node * duration, weight) for node, weight in _EXPOSURE)
        # What holds for the middle of an exposure holds for all of it.
        latest = max(delay for delay, _ in moments)
        schedule = Schedule(at, most + latest, self.interpolation == "linear")
        used = _columns_of(schedule, seconds, [delay for delay, _ in moments], len(frames))
        if not any(columns.size for columns in used):
            raise CoverageError(_gap(target, seconds, frames, at, most))
        needed = [i for i, columns in enumerate(used) if columns.size]
        for i, frame in enumerate(frames):
            if i not in needed:
                frame.close()
        found = views_of(target, [frame.head for frame in frames], modelling)
        assumptions = {"solar rotation": describe_rotation(modelling)}
        view: View | None = None
        observations: list[Observation] = []
        if found is not None:
            view, observations, more = found
            frozen = ("raster frame", "observer motion") if self.solar_rotation == "none" else ()
            assumptions |= {key: value for key, value in more.items() if key not in frozen}
            _check_spacecraft(view.observation, observations)
            if view.trajectory is not None and self.solar_rotation != "none":
                warn_if_unknown(view.trajectory, view, frames[needed[0]].head.grid, float(np.diff(at).max(initial=0.0)))
        assumptions["frames"] = (
            f"{len(needed)} of {len(frames)} from {frames[needed[0]].date.utc.isot[:19]} to "
            f"{frames[needed[-1]].date.utc.isot[:19]}, {self.interpolation} in time"
        )
        cutouts = [
            self._cutout(frame, target, view, observations[i] if observations else None, [d for d, _ in moments])
            if i in needed
            else None
            for i, frame in enumerate(frames)
        ]
        return RasterReference(cutouts, target, times, schedule, moments, used, assumptions)

    def _cutout(
        self, frame: Frame, target: Image, view: View | None, observation: Observation | None, delays: Sequence[float]
    ) -> FrameCutout:
        grid = frame.head.grid
        transforms = (
            [None] * len(delays)
            if view is None or observation is None or self.solar_rotation == "none"
            else [view.transform(observation, delay) for delay in delays]
        )
        mappings = tuple(PixelMapping(target.grid, grid, transform) for transform in transforms)
        return FrameCutout.of(frame, mappings, self._blur(target, frame))

    def _blur(self, target: Image, frame: Frame) -> Blur:
        grid = frame.head.grid
        sigma, slit = (0.0, 0.0), (0.0, 0.0)
        if self.psf_fwhm is not None:
            width = _SIGMA * float(self.psf_fwhm.to_value(u.rad))
            sigma = (width / grid.pixel_size[1], width / grid.pixel_size[0])
        if self.slit_width is not None:
            # The slit runs along the target's y; what is across it, seen in the frame's pixels.
            along = target.grid.jacobian(*target.grid.centre)[:, 1]
            across = np.array([along[1], -along[0]]) / np.hypot(*along) * float(self.slit_width.to_value(u.rad))
            x, y = np.linalg.solve(grid.jacobian(*grid.centre), across)
            slit = (float(y), float(x))
        return Blur(sigma, slit)


def _check(name: str, value: Any, unit: u.UnitBase, example: str) -> None:
    if not isinstance(value, u.Quantity) or not value.isscalar or not value.unit.is_equivalent(unit) or not value > 0:
        raise TypeError(f"'{name}' is a positive Quantity such as {example}; got {value!r}.")


def _columns_of(schedule: Schedule, seconds: np.ndarray, delays: Sequence[float], n_frames: int) -> list[np.ndarray]:
    """Target columns that every frame serves, at any moment of their exposure."""
    found: list[set[int]] = [set() for _ in range(n_frames)]
    for delay in delays:
        for frames, _ in schedule(seconds + delay):
            for column, frame in enumerate(frames):
                if frame >= 0:
                    found[frame].add(column)
    return [np.array(sorted(columns), dtype=int) for columns in found]


def _check_covered(target: Image, seconds: np.ndarray, frames: Sequence[Frame], at: np.ndarray, most: float) -> None:
    if np.abs(seconds[:, None] - at).min(axis=1).max() > most:
        raise CoverageError(_gap(target, seconds, frames, at, most))


def _gap(target: Image, seconds: np.ndarray, frames: Sequence[Frame], at: np.ndarray, most: float) -> str:
    """Name the step that is worst off, and how far the nearest frame is from it."""
    gaps = np.abs(seconds[:, None] - at)
    step = int(gaps.min(axis=1).argmax())
    nearest = int(gaps[step].argmin())
    lacking = int(np.count_nonzero(gaps.min(axis=1) > most))
    when = (target.times.at(step)).utc.isot[:19]  # type: ignore[union-attr]
    return (
        f"{lacking} of {len(seconds)} steps of {target.name} have no frame within {most / 60:g} min: step {step} was "
        f"taken at {when}, and the nearest frame, {frames[nearest].name}, is {gaps[step, nearest] / 60:.1f} min away. "
        f"Find more frames, raise max_time_difference, or use missing='nan' to leave those steps out."
    )


def _check_spacecraft(target: Observation, frames: Sequence[Observation]) -> None:
    for frame in frames:
        if not same_observer(target, frame):
            raise AlignmentError(
                f"{frame.name} was taken by another spacecraft ({frame.spacecraft or 'unnamed'}, "
                f"{_where(frame)}) than {target.name} ({target.spacecraft or 'unnamed'}, {_where(target)}); a "
                f"synthetic raster takes frames of its own spacecraft. Use reference_builder='carrington' or 'image' "
                f"for others."
            )


def _where(observation: Observation) -> str:
    distance = float(observation.position.distance) / AU
    return f"{np.degrees(observation.stonyhurst):.1f} deg Stonyhurst, {distance:.3f} AU"
