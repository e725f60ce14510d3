"""Frames of a sequence: headers now, pixels when and where they are needed."""

from __future__ import annotations

import os
import re
import warnings
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning

import sunpy.map
from sunpy.map import GenericMap, MapSequence

from sunalign.exceptions import AlignmentError, ImageError, warn_user
from sunalign.geometry.dates import Dates, seconds_between
from sunalign.images import Image, clean_data, map_image, to_image
from sunalign.images.cube_files import CubeFile
from sunalign.wcs.fits_plane import first_on_sky, no_file, plane_of

__all__ = ["Frame", "UndatedError", "frame_of", "open_frames"]

#: Files held open between the reading of headers and of pixels; more are opened a second time.
_MAX_OPEN = 128


class UndatedError(AlignmentError):
    """A frame has no date.

    Parameters
    ----------
    dates : `~sunalign.geometry.dates.Dates`
        What its header has instead.
    message : `str`
        What is told.
    """

    def __init__(self, dates: Dates, message: str) -> None:
        super().__init__(message)
        self.dates = dates


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a sequence, whose pixels are read on demand.

    Parameters
    ----------
    head : `~sunalign.images.Image`
        Everything but the pixels: its ``data`` are not to be looked at.
    date : `~astropy.time.Time`
    pixels : object
        Map, `~sunalign.images.Image`, `FrameFile` or `~sunalign.images.cube_files.CubeFile` that has them.
    """

    head: Image
    date: Time
    pixels: Any

    @property
    def name(self) -> str:
        """How to speak of it."""
        return self.head.name

    def read(self, y: slice, x: slice) -> np.ndarray:
        """Pixels of a part of it.

        Parameters
        ----------
        y, x : slice
            Rows and columns, with explicit non-negative ends.

        Returns
        -------
        `numpy.ndarray`
            Float64 with NaN where there is no valid value.
        """
        if isinstance(self.pixels, (FrameFile, CubeFile)):
            return clean_data(self.pixels.read(y, x), None)
        if isinstance(self.pixels, GenericMap):
            mask = self.pixels.mask
            mask = mask[y, x] if isinstance(mask, np.ndarray) and mask.ndim else mask
            return clean_data(self.pixels.data[y, x], mask)
        return clean_data(self.pixels.data[y, x], None)

    def close(self) -> None:
        """Nothing more will be read."""
        if isinstance(self.pixels, FrameFile):
            self.pixels.close()


class FrameFile:
    """First image of a FITS file that is on the sky; read in parts, also where it is compressed in tiles.

    Parameters
    ----------
    path : `~pathlib.Path`
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hdus, self._hdu = self._open()
        self._plane = plane_of(self._hdu.shape, self._hdu.header, path)
        self.header = self._plane.header.copy()
        self.shape = self._plane.shape

    def _open(self) -> tuple[fits.HDUList | None, Any]:
        if not self.path.exists():
            raise ImageError(no_file(self.path))
        with warnings.catch_warnings():
            # astropy only warns of a file that ends too early, and fails when the end is read.
            warnings.filterwarnings("error", message="File may have been truncated", category=AstropyUserWarning)
            hdus = fits.open(self.path, memmap=True)
            try:
                hdu = first_on_sky(hdus, self.path)
            except BaseException:
                hdus.close()
                raise
        # Whoever drops a reference before it is read drops its files too.
        self._closer = weakref.finalize(self, hdus.close)
        return hdus, hdu

    def read(self, y: slice, x: slice) -> np.ndarray:
        """Pixels of a part of it, as they stand in the file.

        Parameters
        ----------
        y, x : slice
            Rows and columns, with explicit non-negative ends.
        """
        if self._hdus is None:
            self._hdus, self._hdu = self._open()
        return self._plane.image(np.asarray(self._hdu.section[self._plane.index(len(self._hdu.shape), y, x)]))

    def close(self) -> None:
        """Close the file; it is opened again if more is read."""
        self._closer()
        self._hdus = self._hdu = None


def open_frames(references: Sequence[Any]) -> list[Frame]:
    """Frames in the order of time.

    Parameters
    ----------
    references : sequence
        Maps, `~sunpy.map.MapSequence`, paths of FITS files, and whatever else `~sunalign.images.to_image` takes.

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        A frame without a date, two frames of one date, or no frame that can be read.
    """
    frames: list[Frame] = []
    bad: list[str] = []
    for reference in _flat(references):
        try:
            frames.append(frame_of(reference))
        except (OSError, AstropyUserWarning, ImageError) as error:
            if not isinstance(reference, (str, os.PathLike)) or not Path(reference).exists():
                raise
            bad.append(f"{Path(reference).name} ({_reason(error, Path(reference))})")
        if len(frames) > _MAX_OPEN:
            frames[-1 - _MAX_OPEN].close()
    if not frames:
        frames_are = "The one frame that was given cannot" if len(bad) == 1 else f"None of the {len(bad)} frames can"
        raise AlignmentError(f"{frames_are} be read: {bad[0]}. Fetch {'it' if len(bad) == 1 else 'them'} again.")
    if bad:
        them = "it" if len(bad) == 1 else "them"
        listed = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        warn_user(
            f"{len(bad)} of {len(bad) + len(frames)} frames cannot be read and {'is' if len(bad) == 1 else 'are'} left "
            f"out: {listed}. Fetch {them} again, or leave {them} away.",
        )
    frames.sort(key=lambda frame: float(frame.date.tai.mjd))
    for first, second in pairwise(frames):
        if abs(seconds_between(first.date, second.date)) < 1e-3:
            raise AlignmentError(
                f"{first.name} and {second.name} have duplicate times, {first.date.utc.isot}; give each frame once, of "
                f"one detector and one version."
            )
    return frames


def _reason(error: Exception, path: Path) -> str:
    """What is wrong with a file, as a part of a sentence that has named it: the first sentence, whole."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    sizes = re.search(r"actual file length \((\d+)\) is smaller than the expected size \((\d+)\)", text)
    if sizes:
        return f"truncated: {sizes[1]} of {sizes[2]} bytes are there"
    text = re.split(r"(?<=\w\w|\d\))\.\s+(?=[A-Z])", text.removeprefix(f"{path} ").removeprefix(f"{path.name} "))[0]
    return text.rstrip(".")


def _flat(references: Sequence[Any]) -> list[Any]:
    return [item for ref in references for item in (ref.maps if isinstance(ref, MapSequence) else [ref])]


def frame_of(reference: Any) -> Frame:
    """Image of a sequence, whose pixels are read when they are needed.

    Parameters
    ----------
    reference : path-like, `~sunpy.map.GenericMap`, or what `sunalign.images.to_image` takes
        It needs a date.
    """
    if isinstance(reference, (str, os.PathLike)):
        pixels: Any = FrameFile(Path(reference))
        # Through a Map, because it knows the oddities of every instrument's header; the data are one zero, repeated.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)
            head = _head(sunpy.map.Map(np.broadcast_to(np.float32(0), pixels.shape), pixels.header), pixels.path.name)
    elif isinstance(reference, GenericMap):
        pixels, head = reference, _head(reference, None)
    else:
        pixels = head = to_image(reference)
    if head.date is None:
        with suppress(AttributeError):
            pixels.close()
        raise UndatedError(
            head.dates,
            f"{head.name} {head.dates.undated}, so it cannot be placed in the sequence; {head.dates.remedy}.",
        )
    return Frame(head, head.date, pixels)


def _head(source: GenericMap, name: str | None) -> Image:
    """Image of a map without a copy of its data."""
    called = name or source.meta.get("filename")
    called = str(called or f"{source.observatory} {source.detector or source.instrument}".strip() or "frame")
    return map_image(source, source.data, called)
