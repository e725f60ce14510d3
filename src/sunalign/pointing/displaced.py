"""A reference as it is seen by a target whose columns point each a little elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sunpy.map import GenericMap

from sunalign.geometry.coordinates import ARCSEC, PixelGrid
from sunalign.geometry.times import interpolate_columns
from sunalign.model.mapped_image import Transform
from sunalign.model.reference_contract import Reference

__all__ = ["DisplacedReference", "displaced", "in_pixels"]


class DisplacedReference(Reference):
    """A reference sampled beside the point that is asked for, by as much as the point's column is displaced.

    Only the place moves: a column keeps its own time.

    Parameters
    ----------
    reference : `~sunalign.model.reference_contract.Reference`
    moved : `numpy.ndarray`, shape (2, nx)
        Displacement of every column of the target as it was given to the reference builder, in its pixels, x first.
    """

    def __init__(self, reference: Reference, moved: np.ndarray) -> None:
        self.reference = reference
        self.moved = np.asarray(moved, float)
        self.pixel_size = reference.pixel_size
        self.smoothing = reference.smoothing
        self.assumptions = reference.assumptions

    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Values at displaced points."""
        return self.reference.sample(*self._displaced(x, y, columns))

    def sample_with_gradient(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and derivatives at displaced points."""
        return self.reference.sample_with_gradient(*self._displaced(x, y, columns))

    def _displaced(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        columns = x if columns is None else columns
        dx, dy = interpolate_columns(self.moved, np.clip(columns, 0, self.moved.shape[1] - 1))
        return x + dx, y + dy, columns

    def image(self) -> GenericMap | None:
        """Picture without any displacement, which is the target's."""
        return self.reference.image()

    def intensities(self) -> np.ndarray | None:
        """Values of the reference itself."""
        return self.reference.intensities()

    def scaled(self, transform: Transform) -> DisplacedReference:
        """Scale the reference itself."""
        return DisplacedReference(self.reference.scaled(transform), self.moved)

    def arrays(self) -> Sequence[np.ndarray]:
        """Pixels of the reference itself."""
        return self.reference.arrays()

    def positions(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Pixel coordinates, in the reference's own array, of displaced points."""
        return self.reference.positions(*self._displaced(x, y, columns))

    def mapped(self, function: Transform) -> DisplacedReference:
        """Replace the pixels of the reference itself."""
        return DisplacedReference(self.reference.mapped(function), self.moved)

    def smoothed(self, width: float) -> DisplacedReference:
        """Smooth the reference itself."""
        return DisplacedReference(self.reference.smoothed(width), self.moved)

    def within(self, margin: float) -> DisplacedReference:
        """Part that a target can need, its displacements not counted: they are for the caller to add."""
        return DisplacedReference(self.reference.within(margin), self.moved)

    def binned(self, factor: int) -> DisplacedReference:
        """Coarser version."""
        return DisplacedReference(self.reference.binned(factor), self.moved)


def displaced(reference: Reference, moved: np.ndarray) -> Reference:
    """Reference with displacements added to those it may have.

    Parameters
    ----------
    reference : `~sunalign.model.reference_contract.Reference`
    moved : `numpy.ndarray`, shape (2, n)
        Displacement of every column along (x, y), pixels of the target.
    """
    if isinstance(reference, DisplacedReference):
        return displaced(reference.reference, reference.moved + moved)
    return DisplacedReference(reference, moved) if np.any(moved) else reference


def in_pixels(grid: PixelGrid, pivot: tuple[float, float]) -> np.ndarray:
    """Matrix from displacements on the sky to displacements in pixels.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
    pivot : `tuple` of `float`
        Pixel ``(x, y)`` where it is to hold.

    Returns
    -------
    `numpy.ndarray`, shape (2, 2)
        From arcsec towards (+Tx, +Ty).
    """
    return np.asarray(np.linalg.inv(grid.jacobian(*pivot)) * ARCSEC)
