"""A raster put together from parts of many frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sunpy.map import GenericMap

from sunalign.exceptions import CoverageError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid
from sunalign.geometry.mapping import PixelMapping
from sunalign.images import Image
from sunalign.images.frames import Frame
from sunalign.model.interpolation import SplineImage
from sunalign.model.reference import Reference, Transform

__all__ = ["Blur", "RasterReference", "Schedule", "Slab"]

Sampler = Callable[["Slab", PixelMapping, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

#: Frame pixels that a spline and its mask need around a sample.
_REACH = 6


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
class Slab:
    """The part of a frame that the raster can need.

    Parameters
    ----------
    name : `str`
        Of the frame.
    grid : `~sunalign.geometry.coordinates.PixelGrid`
        Of the part.
    mappings : `tuple` of `~sunalign.geometry.mapping.PixelMapping`
        From the target's pixels to the part's, one for every moment of the exposure.
    frame : `Frame`, optional
        Where to read it.
    window : `tuple` of `slice`, optional
        Rows and columns to read; `None` where the frame shows nothing of the raster.
    blur : `Blur`
    values : `numpy.ndarray`, optional
        What was read, or made of that.
    smoothing : `float`
        See `~sunalign.model.reference.Reference.smoothing`.
    """

    name: str
    grid: PixelGrid
    mappings: tuple[PixelMapping, ...]
    frame: Frame | None
    window: tuple[slice, slice] | None
    blur: Blur
    values: np.ndarray | None = None
    smoothing: float = 0.0

    @cached_property
    def data(self) -> np.ndarray:
        """Pixels; they are read here."""
        if self.values is not None:
            return self.values
        if self.window is None or self.frame is None:
            return np.full((1, 1), np.nan)
        data = self.blur(self.frame.read(*self.window))
        self.frame.close()
        return data

    @cached_property
    def spline(self) -> SplineImage:
        """Coefficients."""
        return SplineImage(self.data, self.smoothing)

    def empty(self) -> Slab:
        """Same part of a frame that shows nothing of the raster, cut off from its file."""
        return replace(self, frame=None)

    def holding(self, values: np.ndarray, grid: PixelGrid | None = None) -> Slab:
        """Same part with other pixels, cut off from its file."""
        grid = grid or self.grid
        mappings = tuple(replace(mapping, reference=grid) for mapping in self.mappings)
        return Slab(self.name, grid, mappings, None, self.window, self.blur, values, self.smoothing)


def needed(mapping: PixelMapping, columns: np.ndarray, margin: float, reach: int) -> tuple[slice, slice] | None:
    """Rows and columns of a frame that some columns of a target, moved by up to ``margin`` radians, can need."""
    ny = mapping.target.shape[0]
    edges = np.linspace(columns.min() - 0.5, columns.max() + 0.5, 5)
    x, y = np.meshgrid(edges, np.linspace(-0.5, ny - 0.5, 17))
    px, py = mapping(x, y, np.clip(edges, columns.min(), columns.max()))
    seen = np.isfinite(px) & np.isfinite(py)
    if not seen.any():
        return None
    around = margin / min(mapping.reference.pixel_size) + _REACH + reach
    ranges = []
    for position, size in ((py[seen], mapping.reference.shape[0]), (px[seen], mapping.reference.shape[1])):
        start, stop = max(0.0, np.floor(position.min() - around)), min(size, np.ceil(position.max() + around) + 1)
        if stop - start < 2:
            return None
        ranges.append(slice(int(start), int(stop)))
    return ranges[0], ranges[1]


class RasterReference(Reference):
    """A raster whose columns are sampled from the frames of their own time.

    Parameters
    ----------
    slabs : sequence of `Slab` or `None`
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
        slabs: Sequence[Slab | None],
        target: Image,
        seconds: Callable[[np.ndarray], np.ndarray],
        schedule: Schedule,
        moments: tuple[tuple[float, float], ...],
        used: Sequence[np.ndarray],
        assumptions: Mapping[str, str],
    ) -> None:
        self.slabs = list(slabs)
        self._target = target
        self._seconds = seconds
        self._schedule = schedule
        self._moments = moments
        self._used = used
        self.assumptions = dict(assumptions)
        some = [slab for slab in self.slabs if slab is not None]
        self.pixel_size = float(np.sqrt(np.prod(some[0].grid.pixel_size)))

    def _with(self, change: Callable[[Slab, np.ndarray], Slab], target: Image | None = None) -> RasterReference:
        pairs = zip(self.slabs, self._used, strict=True)
        changed = RasterReference(
            [None if slab is None else change(slab, used) for slab, used in pairs],
            target or self._target,
            self._seconds,
            self._schedule,
            self._moments,
            self._used,
            self.assumptions,
        )
        changed.smoothing = self.smoothing
        return changed

    def _all(self) -> Iterator[Slab]:
        return (slab for slab in self.slabs if slab is not None and slab.window is not None)

    def within(self, margin: float) -> RasterReference:
        """Cut every frame to what its columns can need, before anything of it is read."""

        def cut(slab: Slab, used: np.ndarray) -> Slab:
            if slab.frame is None or not np.isfinite(margin):
                return slab
            grid = slab.frame.head.grid
            windows = [
                needed(replace(mapping, reference=grid), used, margin, slab.blur.reach) for mapping in slab.mappings
            ]
            found = [window for window in windows if window is not None]
            if not found:
                return replace(slab, window=None)
            y, x = (slice(min(w[axis].start for w in found), max(w[axis].stop for w in found)) for axis in range(2))
            part = grid.crop(y, x)
            mappings = tuple(replace(mapping, reference=part) for mapping in slab.mappings)
            return replace(slab, grid=part, mappings=mappings, window=(y, x))

        cropped = self._with(cut)
        if not any(True for _ in cropped._all()):
            raise CoverageError(
                f"None of the {len(self.slabs)} frames covers {self._target.name} with a margin of "
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
                    slab = self.slabs[frame]
                    at = (slice(None), where) if blocks else where
                    served[where] += share * weights[where]
                    if slab is None or slab.window is None:
                        out[:, *_tuple(at)] = np.nan
                        continue
                    values = sampler(slab, slab.mappings[k], x[at], y[at], columns[where])
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
        return np.concatenate([slab.data.ravel() for slab in self._all()])

    def arrays(self) -> Sequence[np.ndarray]:
        """Pixels of all parts."""
        return [slab.data for slab in self._all()]

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
        return self._with(lambda slab, _: slab.holding(function(slab.data)) if slab.window else slab.empty(), bare)

    def smoothed(self, width: float) -> RasterReference:
        """Smooth the frames before their splines are made."""
        if width == self.smoothing:
            return self
        smooth = self._with(lambda slab, _: replace(slab.holding(slab.data), smoothing=width) if slab.window else slab)
        smooth.smoothing = width
        return smooth

    def binned(self, factor: int) -> RasterReference:
        """Coarser version."""
        if factor == 1 or any(min(slab.data.shape) < 2 * factor for slab in self._all()):
            return self

        def coarser(slab: Slab, _: np.ndarray) -> Slab:
            if slab.window is None:
                return slab
            image = Image(slab.data, slab.grid).binned(factor, factor)
            return slab.holding(image.data, image.grid)

        return self._with(coarser)

    def image(self) -> GenericMap:
        """The raster as a map; see `to_map`."""
        return self.to_map()

    def to_map(self) -> GenericMap:
        """Return the raster on the target's own grid, as the target's header has it.

        Coordinates, times and observer are those of the target; wavelength, unit and instrument those of the frames,
        which are listed in HISTORY.
        """
        from sunalign.reference_builders._raster_map import raster_map

        narrow = self if any(slab.frame is None for slab in self._all()) else self.within(0.0)
        return raster_map(narrow, self._target, self._used)


def _value(slab: Slab, mapping: PixelMapping, x: np.ndarray, y: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return slab.spline.sample(*mapping(x, y, columns))[None]


def _position(slab: Slab, mapping: PixelMapping, x: np.ndarray, y: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.array(mapping(x, y, columns))


def _value_with_gradient(
    slab: Slab, mapping: PixelMapping, x: np.ndarray, y: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    column, row, j = mapping.with_jacobian(x, y, columns)
    value, by_column, by_row = slab.spline.sample_with_gradient(column, row)
    return np.array([value, by_column * j[0, 0] + by_row * j[1, 0], by_column * j[0, 1] + by_row * j[1, 1]])


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
