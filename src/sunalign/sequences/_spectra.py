"""Low-band spectra of windows of working images that look at one part of the scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from sunalign.sequences._working import WorkingImage, feathered

__all__ = ["Band", "Box", "spectrum", "taper"]

#: Part of a window's side over which it falls to zero, at either end.
_EDGE = 0.12


@dataclass(frozen=True)
class Box:
    """Part of the scene's working grid that several frames show.

    Parameters
    ----------
    x, y : `int`
        Its first column and row.
    nx, ny : `int`
        Its size.
    """

    x: int
    y: int
    nx: int
    ny: int


@dataclass(frozen=True)
class Band:
    """Frequencies of a box below a limit; half of the plane, for images are real.

    Parameters
    ----------
    ny, nx : `int`
        Size of the box in pixels, over which transforms are made.
    my, mx : `int`
        Number of frequencies from 0 that are kept along each axis.
    """

    ny: int
    nx: int
    my: int
    mx: int

    @classmethod
    def of(cls, box: Box, limit: int) -> Band:
        """Band no coarser along one axis than along the other.

        Parameters
        ----------
        box : `Box`
            That is transformed.
        limit : `int`
            Frequencies along either axis, at the most.
        """
        ny, nx = box.ny, box.nx
        # The same wavelength in pixels along both axes.
        finest = max(2 * limit, 8) / max(ny, nx)
        my, mx = (int(np.clip(np.floor(n * min(finest, 1.0) / 2), 2, (n - 1) // 2 + 1)) for n in (ny, nx))
        return cls(ny, nx, my, mx)

    def lower(self, limit: int) -> Band:
        """Part of this band with at most ``limit`` frequencies along each axis.

        Parameters
        ----------
        limit : `int`
            Frequencies along either axis, at the most.
        """
        return Band(self.ny, self.nx, min(self.my, limit), min(self.mx, limit))

    @property
    def shape(self) -> tuple[int, int]:
        """Of a spectrum: rows 0 to my - 1 and -(my - 1) to -1, columns 0 to mx - 1."""
        return 2 * self.my - 1, self.mx

    @cached_property
    def ky(self) -> np.ndarray:
        """Radians a pixel along y."""
        rows = np.concatenate([np.arange(self.my), np.arange(-(self.my - 1), 0)])
        return (2 * np.pi / self.ny * rows).astype(np.float32)

    @cached_property
    def kx(self) -> np.ndarray:
        """Radians a pixel along x."""
        return (2 * np.pi / self.nx * np.arange(self.mx)).astype(np.float32)

    @cached_property
    def twice(self) -> np.ndarray:
        """How often a column stands for itself and its mirror image."""
        weight = np.full(self.mx, 2.0, np.float32)
        weight[0] = 1.0
        return weight

    def cut(self, whole: np.ndarray) -> np.ndarray:
        """Frequencies of this band out of those of `scipy.fft.rfft2`.

        Parameters
        ----------
        whole : `numpy.ndarray`, shape (ny, nx // 2 + 1)
        """
        return np.concatenate([whole[: self.my, : self.mx], whole[whole.shape[0] - self.my + 1 :, : self.mx]])

    def narrowed(self, spectra: np.ndarray, band: Band) -> np.ndarray:
        """Frequencies of a lower band out of spectra of this one.

        Parameters
        ----------
        spectra : `numpy.ndarray`, shape (..., rows, columns)
            As `cut` gives them.
        band : `Band`
            The lower one.
        """
        rows = spectra.shape[-2]
        return np.concatenate(
            [spectra[..., : band.my, : band.mx], spectra[..., rows - band.my + 1 :, : band.mx]], axis=-2
        )


def taper(n: int, offset: float = 0.0) -> np.ndarray:
    """Window of n pixels that falls to zero as a cosine, seen by pixels that are off by a part of one.

    Parameters
    ----------
    n : `int`
    offset : `float`
        By how much, in pixels.
    """
    edge = max(4.0, _EDGE * n)
    at = np.arange(n) + 0.5 + offset
    distance = np.clip(np.minimum(at, n - at) / edge, 0.0, 1.0)
    return (0.5 - 0.5 * np.cos(np.pi * distance)).astype(np.float32)


def stiffness(n: int) -> float:
    """Mean square slope of a window over its mean square: how strongly it holds a maximum near zero.

    Parameters
    ----------
    n : `int`
        Pixels of the window.
    """
    window = taper(n).astype(float)
    return float(np.sum(np.gradient(window) ** 2) / np.sum(window**2))


def narrowing(nx: int, ny: int) -> float:
    """By how much a window makes neighbouring frequencies say the same, in a variance.

    Parameters
    ----------
    nx, ny : `int`
        Pixels of the window.
    """
    ratio = 1.0
    for n in (nx, ny):
        window = taper(n).astype(float)
        ratio *= n * np.sum(window**4) / np.sum(window**2) ** 2
    return float(ratio)


def spectrum(
    image: WorkingImage, place: tuple[int, int], box: Box, band: Band, offset: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Low frequencies of the part of an image that shows a box.

    Parameters
    ----------
    image : `~sunalign.sequences._working.WorkingImage`
    place : `tuple` of `int`
        Column and row of the box's first pixel in the image; all of it is inside.
    box, band : `Box`, `Band`
    offset : `tuple` of `float`
        By how much (x, y), in parts of a pixel, those pixels are off from the box's own. The window stays with the
        scene, so that two frames show the same of it and the window does not pull them together.
    """
    x, y = place
    wx, wy = taper(box.nx, offset[0]), taper(box.ny, offset[1])
    part = image.data[y : y + box.ny, x : x + box.nx]
    if image.valid is None:
        mean = (wy @ part @ wx) / (wy.sum() * wx.sum())
        windowed = (part - mean) * wx
        windowed *= wy[:, None]
    else:
        weight = feathered(image.valid)[y : y + box.ny, x : x + box.nx] * wx * wy[:, None]
        mean = np.vdot(weight, part) / max(float(weight.sum()), 1e-6)
        windowed = (part - np.float32(mean)) * weight
    # Only the columns of the band are transformed along y.
    rows = fft.rfft(windowed, axis=1)[:, : band.mx]
    return band.cut(fft.fft(rows, axis=0)).astype(np.complex64, copy=False)
