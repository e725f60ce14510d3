"""Frames of a sequence: headers now, pixels when and where they are needed."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning

import sunpy.map
from sunpy.map import GenericMap, MapSequence

from sunalign.exceptions import AlignmentError, ImageError, warn_user
from sunalign.images import Image, clean_data, map_image, to_image

__all__ = ["Frame", "open_frames"]

#: Files held open between the reading of headers and of pixels; more are opened a second time.
_MAX_OPEN = 128


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a sequence, whose pixels are read on demand.

    Parameters
    ----------
    head : `~sunalign.images.Image`
        Everything but the pixels: its ``data`` are not to be looked at.
    date : `~astropy.time.Time`
    pixels : object
        Map, `~sunalign.images.Image` or `FrameFile` that has them.
    """

    head: Image
    date: Time
    pixels: Any

    @property
    def name(self) -> str:
        """How to speak of it."""
        return self.head.name

    def read(self, y: slice, x: slice) -> np.ndarray:
        """Pixels of rows ``y`` and columns ``x``, float64 with NaN where there is no valid value."""
        if isinstance(self.pixels, FrameFile):
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
    """First image of a FITS file; read in parts, also where it is compressed in tiles.

    Parameters
    ----------
    path : `~pathlib.Path`
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hdus, self._hdu = self._open()
        self.header = self._hdu.header.copy()
        self.shape = tuple(self._hdu.shape)

    def _open(self) -> tuple[fits.HDUList | None, Any]:
        if not self.path.exists():
            raise ImageError(f"There is no file {self.path}.")
        with warnings.catch_warnings():
            # astropy only warns of a file that ends too early, and fails when the end is read.
            warnings.filterwarnings("error", message="File may have been truncated", category=AstropyUserWarning)
            hdus = fits.open(self.path, memmap=True)
            try:
                images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 2]
                if not images:
                    raise ImageError(f"{self.path.name} holds no image with two axes; it may be truncated.")
            except BaseException:
                hdus.close()
                raise
        # Whoever drops a reference before it is read drops its files too.
        self._closer = weakref.finalize(self, hdus.close)
        return hdus, images[0]

    def read(self, y: slice, x: slice) -> np.ndarray:
        """Pixels of rows ``y`` and columns ``x``."""
        if self._hdus is None:
            self._hdus, self._hdu = self._open()
        return np.asarray(self._hdu.section[y, x])

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
            frames.append(_frame(reference))
        except (OSError, AstropyUserWarning, ImageError) as error:
            if not isinstance(reference, (str, os.PathLike)) or not Path(reference).exists():
                raise
            bad.append(f"{Path(reference).name} ({str(error).splitlines()[0][:80]})")
        if len(frames) > _MAX_OPEN:
            frames[-1 - _MAX_OPEN].close()
    if not frames:
        raise AlignmentError(f"None of the {len(bad)} frames can be read: {bad[0]}. Fetch them again.")
    if bad:
        warn_user(
            f"{len(bad)} of {len(bad) + len(frames)} frames cannot be read and {'is' if len(bad) == 1 else 'are'} left "
            f"out: {', '.join(bad)}. Fetch {'it' if len(bad) == 1 else 'them'} again.",
        )
    frames.sort(key=lambda frame: float(frame.date.tai.mjd))
    for first, second in pairwise(frames):
        if abs(float((second.date - first.date).to_value(u.s))) < 1e-3:
            raise AlignmentError(
                f"{first.name} and {second.name} have duplicate times, {first.date.utc.isot}; give each frame once, of "
                f"one detector and one version."
            )
    return frames


def _flat(references: Sequence[Any]) -> list[Any]:
    return [item for ref in references for item in (ref.maps if isinstance(ref, MapSequence) else [ref])]


def _frame(reference: Any) -> Frame:
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
        raise AlignmentError(
            f"{head.name} has no date, so it cannot be placed in the sequence; add DATE-OBS to its header."
        )
    return Frame(head, head.date, pixels)


def _head(source: GenericMap, name: str | None) -> Image:
    """Image of a map without a copy of its data."""
    called = name or source.meta.get("filename")
    called = str(called or f"{source.observatory} {source.detector or source.instrument}".strip() or "frame")
    return map_image(source, source.data, called)
