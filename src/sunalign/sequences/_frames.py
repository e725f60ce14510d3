"""Frames in, of any kind, and back in the order and the type that they came in."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs.wcsapi import BaseLowLevelWCS

from ndcube.ndcube import NDCubeBase
from ndcube.ndcube_sequence import NDCubeSequenceBase
from sunpy.map import GenericMap, MapSequence

from sunalign.exceptions import AlignmentError, ImageError, describe_error
from sunalign.files.fits_blocks import opened, scan
from sunalign.geometry.dates import seconds_between
from sunalign.geometry.observers import spacecraft
from sunalign.geometry.times import StepTimes
from sunalign.images import Image
from sunalign.images.cube_files import CubeFile
from sunalign.images.cubes import spectral_image
from sunalign.images.frames import Frame, FrameFile, UndatedError, frame_of
from sunalign.wcs.fits_plane import IsCubeError, no_file

__all__ = ["Moment", "SequenceFrame", "Sources", "open_sequence"]


class _TruncatedError(ImageError):
    """A file ends too early."""


class Moment(Image):
    """An image all of whose pixels have one time.

    Rasters that repeat each other have the same delays column by column, so that between any two of them no more time
    passes than between their middles.
    """

    @property
    def times(self) -> StepTimes | None:
        """One time for all columns."""
        date = self.date
        return None if date is None else StepTimes(date, np.zeros(1), "the date its coordinates refer to")


@dataclass(frozen=True, eq=False)
class SequenceFrame:
    """One frame: everything but its pixels, and how to get them.

    Parameters
    ----------
    number : `int`
        Where it stands in what was given.
    source : object
        What was given, for the corrector.
    head : `~sunalign.images.Image`
        Its data are not looked at.
    date : `~astropy.time.Time`
    frame : `~sunalign.images.frames.Frame`
    """

    number: int
    source: Any
    head: Moment
    date: Time
    frame: Frame

    @property
    def name(self) -> str:
        """How to speak of it."""
        return self.head.name

    @property
    def path(self) -> Path | None:
        """Of its file, if it is one."""
        return self.frame.pixels.path if isinstance(self.frame.pixels, (FrameFile, CubeFile)) else None

    @property
    def file(self) -> Path | CubeFile | None:
        """What another process reads it from."""
        return self.frame.pixels if isinstance(self.frame.pixels, CubeFile) else self.path

    @property
    def window(self) -> int | None:
        """Number of the HDU of a cube in a file."""
        pixels = self.frame.pixels
        return pixels.hdu if isinstance(pixels, CubeFile) and isinstance(pixels.hdu, int) else None

    def read(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels as they are, and where they are masked."""
        pixels = self.frame.pixels
        if isinstance(pixels, (FrameFile, CubeFile)):
            try:
                return pixels.read(slice(None), slice(None)), None
            finally:
                pixels.close()
        if isinstance(pixels, GenericMap):
            mask = pixels.mask
            return pixels.data, mask if isinstance(mask, np.ndarray) and mask.ndim else None
        return pixels.data, None

    @property
    def light(self) -> str:
        """What it was taken in: the wavelength of its header, empty if it has none."""
        for key in ("WAVELNTH", "FILTER", "TDESC1"):
            value = self.head.meta.get(key) or self.head.meta.get(key.lower())
            if value not in (None, ""):
                unit = self.head.meta.get("WAVEUNIT") or self.head.meta.get("waveunit") or ""
                return f"{value} {unit}".strip()
        return ""


@dataclass(frozen=True, eq=False)
class Sources:
    """Frames in the order of time, and the way back.

    Parameters
    ----------
    frames : `list` of `SequenceFrame`
    unreadable : mapping
        By number in what was given: what is wrong with a frame that is left out.
    items : sequence
        What was given, one by one.
    rebuild : callable
        Makes of a list of corrected items what was given.
    names : sequence of `str`
    """

    frames: list[SequenceFrame]
    unreadable: Mapping[int, str]
    items: Sequence[Any]
    rebuild: Callable[[list[Any]], Any]
    names: Sequence[str]


def open_sequence(given: Any, choices: Mapping[str, Any] | None = None) -> Sources:
    """Headers of all frames, in the order of time.

    Parameters
    ----------
    given : sequence of maps, cubes, paths, `~sunpy.map.MapSequence`, `~ndcube.NDCubeSequence` or `~ndcube.NDCube`
        A cube has an axis of its own for time.
    choices : mapping, optional
        For cubes, as `sunalign.images.cubes.spectral_image` has them.

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        Fewer than two frames that can be read, a frame without a date, two of one date, or two observers.
    """
    items, rebuild = _items(given)
    if isinstance(given, (str, os.PathLike)) and (Path(given).is_dir() or set(str(given)) & set("*?[")):
        raise AlignmentError(
            f"Frames are a list of paths, and {given} is one directory or pattern; write "
            f"sorted(pathlib.Path('directory').glob('*.fits'))."
        )
    if len(items) < 2:
        raise AlignmentError(
            f"A sequence has two frames or more; {len(items) or 'none'} {'was' if len(items) == 1 else 'were'} given. "
            f"To correct one image use sunalign.align() with a reference."
        )
    frames, unreadable, names = [], {}, []
    for number, item in enumerate(items):
        names.append(_name(item, number))
        try:
            frames.append(_opened(number, item, choices or {}))
        except (OSError, AstropyUserWarning, ImageError) as error:
            if not isinstance(item, (str, os.PathLike)) or not Path(item).exists():
                raise
            unreadable[number] = _unreadable(error)
            continue
        names[-1] = frames[-1].name
    if len(frames) < 2:
        raise AlignmentError(
            f"Only {len(frames)} of the {len(items)} frames can be read, and two or more are needed. "
            f"{names[min(unreadable)]}: {unreadable[min(unreadable)]}."
        )
    frames.sort(key=lambda frame: float(frame.date.tai.mjd))
    _refuse_same_dates(frames)
    _refuse_observers(frames)
    return Sources(frames, unreadable, items, rebuild, names)


def _unreadable(error: Exception) -> str:
    if isinstance(error, _TruncatedError):
        return f"It cannot be read ({error}); fetch it again"
    if isinstance(error, ImageError):
        return f"It cannot be used: {str(error).rstrip('.')}"
    return f"It cannot be read ({describe_error(error)}); fetch it again"


def _name(item: Any, number: int) -> str:
    return Path(item).name if isinstance(item, (str, os.PathLike)) else f"frame {number}"


def _items(given: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    if isinstance(given, MapSequence):

        def maps(new: list[Any]) -> Any:
            # As they were: it would sort them by their dates.
            return MapSequence(*new, sortby=None)

        return list(given.maps), maps
    if isinstance(given, NDCubeSequenceBase):

        def cubes(new: list[Any]) -> Any:
            # Its own kind may be made in a way of its own.
            made = copy.copy(given)
            made.data = new
            return made

        return list(given.data), cubes
    if isinstance(given, NDCubeBase):
        return _slices(given), list
    if isinstance(given, (str, os.PathLike, GenericMap, Image)):
        return [given], list
    if isinstance(given, (Sequence, Iterator, set, frozenset)):
        items = sorted(given, key=str) if isinstance(given, (set, frozenset)) else list(given)
        return items, tuple if isinstance(given, tuple) else list
    raise AlignmentError(
        f"Frames are a list of maps, cubes or paths, a MapSequence, an NDCubeSequence or an NDCube with a time axis; "
        f"got {type(given).__name__}."
    )


def _slices(cube: NDCubeBase) -> list[NDCubeBase]:
    """Frames of a cube with an axis of its own for time."""
    wcs: BaseLowLevelWCS = cube.wcs.low_level_wcs
    kinds = [str(kind) for kind in wcs.world_axis_physical_types]
    celestial = [k for k, kind in enumerate(kinds) if kind.endswith((".lon", ".lat"))]
    times = [k for k, kind in enumerate(kinds) if kind == "time"]
    shape = cube.data.shape
    sky = wcs.axis_correlation_matrix[celestial].any(axis=0) if celestial else np.zeros(wcs.pixel_n_dim, bool)
    own = [
        int(pixel)
        for k in times
        for pixel in np.flatnonzero(wcs.axis_correlation_matrix[k])
        if shape[len(shape) - 1 - pixel] > 1 and wcs.axis_correlation_matrix[:, pixel].sum() >= 1
    ]
    # The axis that is time's and, if there are several, not one of the sky's two.
    own = [p for p in own if not sky[p]] or [p for p in own if len(shape) > 2 and sky.sum() > 2]
    own = own or [p for p in _extra_time_axes(cube) if not sky[p] and shape[len(shape) - 1 - p] > 1]
    if not own:
        raise AlignmentError(
            f"The cube of shape {shape} has no axis for time of its own, so it is no sequence; give a list of its "
            f"images, or align it as a whole with sunalign.align()."
        )
    axis = len(shape) - 1 - int(own[-1])
    return [cube[(slice(None),) * axis + (k,)] for k in range(shape[axis])]


def _extra_time_axes(cube: NDCubeBase) -> list[int]:
    """Pixel axes (x first) along which the extra coordinates of a cube have times."""
    extra = cube.extra_coords
    if extra is None or extra.wcs is None:
        return []
    wcs = extra.wcs.low_level_wcs
    of_time = np.array([str(kind) == "time" for kind in wcs.world_axis_physical_types])
    mapped = wcs.axis_correlation_matrix[of_time].any(axis=0)
    return [int(pixel) for pixel, timed in zip(extra.mapping, mapped, strict=True) if timed]


def _opened(number: int, item: Any, choices: Mapping[str, Any]) -> SequenceFrame:
    date = None
    if isinstance(item, NDCubeBase):
        image = spectral_image(item, **{key: value for key, value in choices.items() if key != "hdu"})
        # That of what is left of a time axis, which knows better than the header of the whole.
        date = image.date
        image = replace(image, name=image.name if image.name != "cube" else f"frame {number}")
        frame = Frame(image, date, image) if date is not None else None
    else:
        frame = None
        image = item
        if isinstance(item, (str, os.PathLike)):
            _refuse_truncated(Path(item))
            if "hdu" in choices:
                frame = _cube_frame(Path(item), choices)
    if frame is None:
        try:
            frame = frame_of(item if image is item else image)
        except IsCubeError:
            frame = _cube_frame(Path(item), choices)
        except UndatedError as error:
            raise AlignmentError(
                f"Frame {number} {error.dates.undated}, so it has no place in the sequence; {error.dates.remedy}."
            ) from None
    head = frame.head
    named = head.name if item is not head.source or head.meta.get("filename") else f"{head.name} {_stamp(frame.date)}"
    # With what was read of the header already.
    moment = Moment(head.data, head.grid, head.meta, head.source, named, head.unit, head.transposed, head._known)
    if date is not None:
        moment._once("date", lambda: date)
    return SequenceFrame(number, item, moment, frame.date, frame)


def _cube_frame(path: Path, choices: Mapping[str, Any]) -> Frame:
    """A raster or another cube in a file, by one image of it."""
    of_image = {key: value for key, value in choices.items() if key != "hdu"}
    file = CubeFile(path, of_image, choices.get("hdu")).settled()
    image = file.image()
    if image.date is None:
        raise AlignmentError(
            f"{path.name} {image.dates.undated}, so it has no place in the sequence; {image.dates.remedy}."
        )
    # Its cube and pixels are read again when they are needed.
    head = replace(image, data=np.broadcast_to(np.float32(0), image.data.shape), source=None)
    head._once("date", lambda: image.date)
    return Frame(head, image.date, file)


def _refuse_truncated(path: Path) -> None:
    """Go through a file's headers: what is missing at its end is told before anything is opened."""
    if not path.exists():
        raise ImageError(no_file(path))
    with opened(path) as stream:
        last = scan(stream, path)[-1]
        stream.seek(0, os.SEEK_END)
        if stream.tell() < last.offset + last.size:
            raise _TruncatedError(f"{path.name} is truncated: it ends inside the data of HDU {last.label}")


def _stamp(date: Time) -> str:
    return str(date.utc.isot)[:19]


def _refuse_same_dates(frames: Sequence[SequenceFrame]) -> None:
    for first, second in pairwise(frames):
        if abs(seconds_between(first.date, second.date)) < 1e-3:
            raise AlignmentError(
                f"{_where(first)} and {_where(second)} have the same date, {first.date.utc.isot}; give each frame "
                f"once, and frames of one detector only."
            )


def _where(frame: SequenceFrame) -> str:
    """Its path, for two of one name may be in different directories."""
    return frame.name if frame.path is None else str(frame.path)


def _refuse_observers(frames: Sequence[SequenceFrame]) -> None:
    """Frames of two spacecraft, by their names, are no sequence."""
    first = frames[0]
    for frame in frames[1:]:
        a, b = spacecraft(first.head.meta), spacecraft(frame.head.meta)
        if a and b and a.upper() != b.upper():
            raise AlignmentError(
                f"The frames are of two observers, {a} ({first.name}) and {b} ({frame.name}); a sequence is of one. "
                f"Align the others with sunalign.align(), which knows of parallax."
            )
