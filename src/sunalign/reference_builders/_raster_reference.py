"""A raster put together from parts of many frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sunpy.map import GenericMap

from sunalign.exceptions import CoverageError
from sunalign.geometry.coordinates import ARCSEC
from sunalign.geometry.mapping import PixelMapping
from sunalign.images import Image
from sunalign.images.frames import Frame
from sunalign.model.mapped_image import MappedImage, Transform, Window
from sunalign.model.reference_contract import Reference
from sunalign.reference_builders._raster_map import raster_map

__all__ = ["Blur", "FrameCutout", "RasterReference", "Schedule"]

Sampler = Callable[[MappedImage, np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Schedule:
    """Which frames a time is seen in.

    Parameters
    ----------
    frames : `numpy.ndarray`, shape (n,)
        Times of the frames, seconds, growing.
    most : `float`
        Seconds by which a frame may differ from what it stands for.
    linear : `bool`
        Whether to go linearly from a frame to the next, or to take the nearest.
    """

    frames: np.ndarray
    most: float
    linear: bool = False

    def __call__(self, seconds: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs of frame number and weight, each of the shape of ``seconds``; the number is -1 where there is none."""
        last = len(self.frames) - 1
        after = np.clip(np.searchsorted(self.frames, seconds), 0, last)
        before = np.clip(after - 1, 0, last)
        gap_before, gap_after = np.abs(seconds - self.frames[before]), np.abs(self.frames[after] - seconds)
        if not self.linear:
            nearest = np.where(gap_before <= gap_after, before, after)
            within = np.minimum(gap_before, gap_after) <= self.most
            return [(np.where(within, nearest, -1), np.ones(seconds.shape))]
        # Before the first frame and after the last there is one neighbour, which counts for both.
        inside = (before != after) & (seconds > self.frames[0]) & (seconds < self.frames[last])
        nearest = np.where(gap_before <= gap_after, before, after)
        usable_before, usable_after = gap_before <= self.most, gap_after <= self.most
        weight = np.where(inside, gap_before / np.maximum(gap_before + gap_after, 1e-9), 0.0)
        weight = np.where(inside & usable_before & ~usable_after, 0.0, weight)
        weight = np.where(inside & usable_after & ~usable_before, 1.0, weight)
        first = np.where(inside, before, nearest)
        usable = np.where(inside, usable_before | usable_after, np.minimum(gap_before, gap_after) <= self.most)
        return [
            (np.where(usable & (weight < 1), first, -1), 1 - weight),
            (np.where(usable & (weight > 0), after, -1), weight),
        ]


@dataclass(frozen=True)
class Blur:
    """Gaussian point-spread function and slit of a target, in pixels of a frame.

    Parameters
    ----------
    sigma : `tuple` of `float`
        Of the Gaussian, along y and x.
    slit : `tuple` of `float`
        Vector across the slit, along y and x, as long as the slit is wide.
    """

    sigma: tuple[float, float] = (0.0, 0.0)
    slit: tuple[float, float] = (0.0, 0.0)

    @property
    def reach(self) -> int:
        """Pixels beyond which nothing contributes."""
        return int(np.ceil(max(4 * s + abs(w) for s, w in zip(self.sigma, self.slit, strict=True))))

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Blurred data; NaN stay NaN and do not spread."""
        if self.reach == 0:
            return data
        valid = np.isfinite(data)
        total = self._filtered(np.where(valid, data, 0.0))
        if valid.all():
            return total
        weight = self._filtered(valid.astype(float))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(valid & (weight > 0.1), total / weight, np.nan)

    def _filtered(self, data: np.ndarray) -> np.ndarray:
        # In Fourier space, where a box a pixel or two wide, askew to the pixels, is as exact as any.
        pad = self.reach + 2
        wide = np.pad(data, pad, mode="symmetric")
        ky, kx = np.fft.fftfreq(wide.shape[0])[:, None], np.fft.rfftfreq(wide.shape[1])
        response = np.exp(-2 * np.pi**2 * ((self.sigma[0] * ky) ** 2 + (self.sigma[1] * kx) ** 2))
        response = response * np.sinc(self.slit[0] * ky + self.slit[1] * kx)
        blurred = np.fft.irfft2(np.fft.rfft2(wide) * response, wide.shape)
        return np.ascontiguousarray(blurred[pad:-pad, pad:-pad])


@dataclass(frozen=True, eq=False)
class _Reading:
    """Reads a part of a frame, and blurs it."""

    frame: Frame
    window: Window
    blur: Blur

    def __call__(self) -> np.ndarray:
        data = self.blur(self.frame.read(*self.window))
        self.frame.close()
        return data


@dataclass(frozen=True, eq=False)
class FrameCutout:
    """The part of a frame that the raster can need.

    Parameters
    ----------
    name : `str`
        Of the frame.
    part : `~sunalign.model.mapped_image.MappedImage`, optional
        With a mapping for every moment of the exposure; `None` where the frame shows nothing of the raster.
    frame : `Frame`, optional
        Where it is read, as long as it is not in memory.
    blur : `Blur`
    """

    name: str
    part: MappedImage | None
    frame: Frame | None = None
    blur: Blur = Blur()

    @classmethod
    def of(cls, frame: Frame, mappings: tuple[PixelMapping, ...], blur: Blur) -> FrameCutout:
        """Whole frame, of which nothing is read.

        Parameters
        ----------
        frame : `~sunalign.images.frames.Frame`
        mappings : `tuple` of `~sunalign.geometry.mapping.PixelMapping`
            From the target to the whole frame, one for every moment of the exposure.
        blur : `Blur`
        """
        ny, nx = frame.head.grid.shape
        reading = _Reading(frame, (slice(0, ny), slice(0, nx)), blur)
        bare = Image(np.empty((0, 0)), frame.head.grid, name=frame.name)
        return cls(frame.name, MappedImage(bare, mappings, reading), frame, blur)

    def cut(self, margin: float, columns: np.ndarray) -> FrameCutout:
        """What some columns can need of a frame that was not read yet.

        Parameters
        ----------
        margin : `float`
            Largest shift, radians; infinity leaves the frame whole.
        columns : `numpy.ndarray`
            Of the target, 0-based, that this frame is compared with.
        """
        if self.frame is None or not np.isfinite(margin):
            return self
        grid, part = self.frame.head.grid, self.part
        window = None
        if part is not None:
            whole = tuple(replace(mapping, reference=grid) for mapping in part.mappings)
            window = replace(part, mappings=whole).needed(margin, columns, self.blur.reach)
        if part is None or window is None:
            return replace(self, part=None)
        cropped = part.holding(replace(part.image, grid=grid.crop(*window)))
        return replace(self, part=replace(cropped, read=_Reading(self.frame, window, self.blur)))

    def changed(self, change: Callable[[MappedImage], MappedImage]) -> FrameCutout:
        """Other pixels, cut off from the file.

        Parameters
        ----------
        change : callable
            Takes a `~sunalign.model.mapped_image.MappedImage` and returns another.
        """
        return FrameCutout(self.name, None if self.part is None else change(self.part), None, self.blur)


class RasterReference(Reference):
    """A raster whose columns are sampled from the frames of their own time.

    Parameters
    ----------
    cutouts : sequence of `FrameCutout` or `None`
        One for every frame; `None` for frames that no column needs.
    target : `~sunalign.images.Image`
    seconds : callable
        Columns to seconds, as in ``schedule``.
    schedule : `Schedule`
    moments : `tuple` of pairs of `float`
        Seconds after the middle of an exposure, and weights, over which it is averaged.
    used : sequence of `numpy.ndarray`
        Target columns that every frame serves.
    assumptions : mapping
    """

    def __init__(
        self,
        cutouts: Sequence[FrameCutout | None],
        target: Image,
        seconds: Callable[[np.ndarray], np.ndarray],
        schedule: Schedule,
        moments: tuple[tuple[float, float], ...],
        used: Sequence[np.ndarray],
        assumptions: Mapping[str, str],
    ) -> None:
        self.cutouts = list(cutouts)
        self._target = target
        self._seconds = seconds
        self._schedule = schedule
        self._moments = moments
        self._used = used
        self.assumptions = dict(assumptions)
        parts = self._parts()
        self.pixel_size = float(np.sqrt(np.prod(parts[0].image.grid.pixel_size))) if parts else np.nan

    def _with(
        self, change: Callable[[FrameCutout, np.ndarray], FrameCutout], target: Image | None = None
    ) -> RasterReference:
        pairs = zip(self.cutouts, self._used, strict=True)
        changed = RasterReference(
            [None if cutout is None else change(cutout, used) for cutout, used in pairs],
            target or self._target,
            self._seconds,
            self._schedule,
            self._moments,
            self._used,
            self.assumptions,
        )
        changed.smoothing = self.smoothing
        return changed

    def _parts(self) -> list[MappedImage]:
        return [cutout.part for cutout in self.cutouts if cutout is not None and cutout.part is not None]

    def within(self, margin: float) -> RasterReference:
        """Cut every frame to what its columns can need, before anything of it is read."""
        cropped = self._with(lambda cutout, used: cutout.cut(margin, used))
        if not cropped._parts():
            raise CoverageError(
                f"None of the {len(self.cutouts)} frames covers {self._target.name} with a margin of "
                f"{margin / ARCSEC:.0f} arcsec. Check both pointings."
            )
        return cropped

    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Values at target pixel coordinates."""
        return self._sampled(_value, 1, x, y, columns)[0]

    def sample_with_gradient(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and their derivatives by the target pixel coordinates."""
        value, by_x, by_y = self._sampled(_value_with_gradient, 3, x, y, columns)
        return value, by_x, by_y

    def _sampled(
        self, sampler: Sampler, n: int, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None
    ) -> np.ndarray:
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        columns = x if columns is None else np.asarray(columns, float)
        # Points of one column have one time: where they are columns of an array, whole blocks of it go to a frame.
        blocks = x.ndim == 2 and columns.ndim == 1
        if not blocks:
            columns = np.broadcast_to(columns, x.shape)
        seconds = np.asarray(self._seconds(columns))
        out = np.zeros((n, *x.shape))
        served = np.zeros(columns.shape)
        for k, (delay, share) in enumerate(self._moments):
            for frames, weights in self._schedule(seconds + delay):
                for frame, where in _runs(frames) if blocks else _groups(frames):
                    cutout = self.cutouts[frame]
                    at = (slice(None), where) if blocks else where
                    served[where] += share * weights[where]
                    if cutout is None or cutout.part is None:
                        out[:, *_tuple(at)] = np.nan
                        continue
                    values = sampler(cutout.part, x[at], y[at], columns[where], k)
                    weight = share * weights[where]
                    if np.ndim(weight) and (weight != 1).any():
                        values = values * weight
                    out[:, *_tuple(at)] += values
        unserved = served < 1 - 1e-6
        if unserved.any():
            out[..., unserved] = np.nan
        return out

    def intensities(self) -> np.ndarray:
        """All values of all parts."""
        return np.concatenate([part.data.ravel() for part in self._parts()])

    def arrays(self) -> Sequence[np.ndarray]:
        """Pixels of all parts."""
        return [part.data for part in self._parts()]

    def positions(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Pixel coordinates of the frame that a column is taken from; `None` where it is taken from several."""
        if self._schedule.linear or len(self._moments) > 1:
            return None
        px, py = self._sampled(_position, 2, x, y, columns)
        return px, py

    def scaled(self, transform: Transform) -> RasterReference:
        """Scale the frames before their splines are made."""
        return self.mapped(transform)

    def mapped(self, function: Transform) -> RasterReference:
        """Replace the pixels of every frame."""
        # Without the target's data and source: workers get a copy of all this.
        bare = replace(self._target, data=np.empty((0, 0)), source=None, meta={})
        return self._with(lambda cutout, _: cutout.changed(lambda part: part.mapped(function)), bare)

    def smoothed(self, width: float) -> RasterReference:
        """Smooth the frames before their splines are made."""
        if width == self.smoothing:
            return self
        smooth = self._with(lambda cutout, _: cutout.changed(lambda part: part.smoothed(width)))
        smooth.smoothing = width
        return smooth

    def binned(self, factor: int) -> RasterReference:
        """Coarser version."""
        if factor == 1 or not all(part.can_be_binned(factor) for part in self._parts()):
            return self
        return self._with(lambda cutout, _: cutout.changed(lambda part: part.binned(factor)))

    def image(self) -> GenericMap:
        """The raster as a map; see `to_map`."""
        return self.to_map()

    def to_map(self) -> GenericMap:
        """Return the raster on the target's own grid, as the target's header has it.

        Coordinates, times and observer are those of the target; wavelength, unit and instrument those of the frames,
        which are listed in HISTORY.
        """
        read = any(cutout is not None and cutout.part is not None and cutout.frame is None for cutout in self.cutouts)
        narrow = self if read else self.within(0.0)
        ny, nx = self._target.grid.shape
        data = narrow.sample_grid(np.eye(3), (ny, nx), np.arange(nx, dtype=float))
        served = [
            (cutout.name, cutout.frame, columns)
            for cutout, columns in zip(narrow.cutouts, self._used, strict=True)
            if cutout is not None
        ]
        return raster_map(data, self._target, served, self.assumptions)


def _value(part: MappedImage, x: np.ndarray, y: np.ndarray, columns: np.ndarray, moment: int) -> np.ndarray:
    return part.sample(x, y, columns, moment)[None]


def _position(part: MappedImage, x: np.ndarray, y: np.ndarray, columns: np.ndarray, moment: int) -> np.ndarray:
    return np.array(part.positions(x, y, columns, moment))


def _value_with_gradient(
    part: MappedImage, x: np.ndarray, y: np.ndarray, columns: np.ndarray, moment: int
) -> np.ndarray:
    return np.array(part.sample_with_gradient(x, y, columns, moment))


def _runs(frames: np.ndarray) -> Iterator[tuple[int, Any]]:
    """Stretches of columns with one frame."""
    edges = np.flatnonzero(np.diff(frames)) + 1
    for start, stop in zip([0, *edges], [*edges, len(frames)], strict=True):
        if frames[start] >= 0:
            yield int(frames[start]), slice(int(start), int(stop))


def _groups(frames: np.ndarray) -> Iterator[tuple[int, Any]]:
    """Points, in any order, with one frame."""
    for frame in np.unique(frames):
        if frame >= 0:
            yield int(frame), frames == frame


def _tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)
