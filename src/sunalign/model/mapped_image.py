"""One image, and the way to it from the pixels of a target: what references are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sunalign.geometry.mapping import PixelMapping
from sunalign.images import Image
from sunalign.model.interpolation import SplineImage

__all__ = ["MappedImage", "Transform", "Window", "is_surface"]

Transform = Callable[[np.ndarray], np.ndarray]
Window = tuple[slice, slice]

_REACH = 6  # Pixels that a spline and its mask need around a sample.
_NET = 33  # Points along each side of a net over a target.
_UNSEEN = 0.05  # Part of a net's extent that there may be between its last point on the Sun and the limb.


@dataclass(frozen=True, eq=False)
class MappedImage:
    """An image that is sampled at the pixels of a target.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        Its ``data`` are not looked at where ``read`` gives them.
    mappings : `tuple` of `~sunalign.geometry.mapping.PixelMapping`
        From the target's pixels to the image's: one, or one for every moment of an exposure.
    read : callable, optional
        Gives the pixels, shape (ny, nx) as ``image.grid`` has it, when they are needed.
    smoothing : `float`
        Standard deviation, in the image's pixels, of a Gaussian with which it is smoothed.
    """

    image: Image
    mappings: tuple[PixelMapping, ...]
    read: Callable[[], np.ndarray] | None = None
    smoothing: float = 0.0

    @property
    def mapping(self) -> PixelMapping:
        """The one mapping, or that of the first moment."""
        return self.mappings[0]

    @cached_property
    def data(self) -> np.ndarray:
        """Pixels; where they are to be read it is done here."""
        return self.image.data if self.read is None else self.read()

    @cached_property
    def spline(self) -> SplineImage:
        """Coefficients."""
        return SplineImage(self.data, self.smoothing)

    def positions(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None, moment: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates of the image at pixel coordinates of the target; NaN where it cannot see.

        Parameters
        ----------
        x, y : `numpy.ndarray`
            Pixel coordinates of the target, of one shape.
        columns : `numpy.ndarray`, optional
            Target column whose time counts for each point; ``x`` by default.
        moment : `int`
            Which of the mappings.
        """
        return self.mappings[moment](x, y, columns)

    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None, moment: int = 0) -> np.ndarray:
        """Values at pixel coordinates of the target; NaN where there are none.

        Parameters
        ----------
        x, y, columns
            As in `sunalign.model.reference_contract.Reference.sample`.
        moment : `int`
            Which of the mappings.
        """
        return self.spline.sample(*self.positions(x, y, columns, moment))

    def sample_with_gradient(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None, moment: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and their derivatives by the pixel coordinates of the target.

        Parameters
        ----------
        x, y, columns, moment
            As in `positions`.
        """
        column, row, j = self.mappings[moment].with_jacobian(x, y, columns)
        value, by_column, by_row = self.spline.sample_with_gradient(column, row)
        return value, by_column * j[0, 0] + by_row * j[1, 0], by_column * j[0, 1] + by_row * j[1, 1]

    def needed(self, margin: float, columns: np.ndarray | None = None, around: int = 0) -> Window | None:
        """Rows and columns that a target can need that is moved by up to ``margin``; `None` if there are none.

        Parameters
        ----------
        margin : `float`
            Radians on the sky.
        columns : `numpy.ndarray`, optional
            The target's columns that are sampled here; all by default.
        around : `int`
            Pixels that something else than the spline needs around a sample.
        """
        surface = is_surface(self.image)
        found = [_window(mapping, margin, columns, around + _REACH, surface) for mapping in self.mappings]
        windows = [window for window in found if window is not None]
        if not windows:
            return None
        y, x = (slice(min(w[axis].start for w in windows), max(w[axis].stop for w in windows)) for axis in range(2))
        return y, x

    def cropped(self, window: Window) -> MappedImage:
        """The part of rows and columns, all in memory.

        Parameters
        ----------
        window : pair of slice
            Rows and columns, as `needed` gives them.
        """
        return self.holding(self._loaded.crop(*window))

    def holding(self, image: Image) -> MappedImage:
        """Same sky, other pixels: on the same grid or on one that was cut or binned from it.

        Parameters
        ----------
        image : `~sunalign.images.Image`
        """
        mappings = tuple(replace(mapping, reference=image.grid) for mapping in self.mappings)
        return MappedImage(image, mappings, None, self.smoothing)

    def mapped(self, function: Transform) -> MappedImage:
        """Replace the pixels.

        Parameters
        ----------
        function : callable
            From an array of pixels to another of its shape.
        """
        # Without its source: workers get a copy of all this.
        return self.holding(replace(self.image, data=function(self.data), source=None, meta={}))

    def smoothed(self, width: float) -> MappedImage:
        """Smooth, by this width instead, before the spline is made.

        Parameters
        ----------
        width : `float`
            Of the Gaussian, in pixels of the image; 0 for none.
        """
        return replace(self.holding(self._loaded), smoothing=width)

    def can_be_binned(self, factor: int) -> bool:
        """Whether two of the larger pixels are left along each side.

        Parameters
        ----------
        factor : `int`
            Pixels of a larger one, along either side.
        """
        return min(self.data.shape) >= 2 * factor

    def binned(self, factor: int) -> MappedImage:
        """Coarser version.

        Parameters
        ----------
        factor : `int`
            Pixels of a larger one, along either side.
        """
        return self.holding(self._loaded.binned(factor, factor))

    @property
    def _loaded(self) -> Image:
        return self.image if self.read is None else replace(self.image, data=self.data)


def is_surface(image: Image) -> bool:
    """Whether an image is a map of the Sun's surface in heliographic coordinates.

    Parameters
    ----------
    image : `~sunalign.images.Image`
    """
    return str(image.wcs.wcs.ctype[0]).startswith(("CRLN", "HGLN"))


def _window(
    mapping: PixelMapping, margin: float, columns: np.ndarray | None, around: int, surface: bool
) -> Window | None:
    """Rows and columns of one mapping; see `MappedImage.needed`.

    On the sky a margin is as long in the image as it is at the target. On the surface it grows towards the limb, where
    the target has to be moved to see how far.
    """
    ny, nx = mapping.target.shape
    first, last = (0, nx - 1) if columns is None else (int(columns.min()), int(columns.max()))
    mx, my = (margin / size if surface else 0.0 for size in mapping.target.pixel_size)
    beyond = 0.0 if surface else margin / min(mapping.reference.pixel_size)
    x = np.linspace(first - 0.5 - mx, last + 0.5 + mx, _NET)
    y = np.linspace(-0.5 - my, ny - 0.5 + my, _NET)
    column, row = mapping(*np.meshgrid(x, y), np.clip(x, first, last))
    visible = np.isfinite(column) & np.isfinite(row)
    if not visible.any():
        return None
    ranges = []
    for position, size in zip((row[visible], column[visible]), mapping.reference.shape, strict=True):
        limb = 0.0 if visible.all() else _UNSEEN * float(np.ptp(position))
        reach = around + max(beyond, limb)
        start, stop = max(0.0, np.floor(position.min() - reach)), min(size, np.ceil(position.max() + reach) + 1)
        if stop - start < 2:
            return None
        ranges.append(slice(int(start), int(stop)))
    return ranges[0], ranges[1]
