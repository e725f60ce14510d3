"""When every raster step was taken: a slit raster has one time for every column, an image one for all.

Headers and cubes are read for them by `sunalign.images.header_times` and `sunalign.images.cube_times`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

import astropy.units as u
from astropy.time import Time

if TYPE_CHECKING:
    from sunalign.geometry.coordinates import PixelGrid

__all__ = ["StepTimes", "interpolate_columns"]


@dataclass(frozen=True, eq=False)
class StepTimes:
    """Mid times of the columns of an image.

    Parameters
    ----------
    epoch : `~astropy.time.Time`
        From which seconds are counted.
    seconds : `numpy.ndarray`, shape (nx,) or (1,)
        Time of every column; one value stands for all.
    origin : `str`
        Where in the header this comes from, in words.
    """

    epoch: Time
    seconds: np.ndarray
    origin: str

    def __call__(self, columns: np.ndarray | float) -> np.ndarray:
        """Seconds after ``epoch`` at columns, 0-based, between and beyond which times run on linearly."""
        columns = np.asarray(columns, float)
        return np.broadcast_to(interpolate_columns(self.seconds, columns), columns.shape)

    def on(self, grid: PixelGrid) -> StepTimes:
        """Times of the columns of a grid, cropped or binned, from those of the grid it was made of.

        Parameters
        ----------
        grid : `~sunalign.geometry.coordinates.PixelGrid`
            Made of the grid that these times belong to.
        """
        x0, bx = grid.to_base[:2]
        if len(self.seconds) == 1:
            return self
        columns = x0 + bx * np.arange(grid.shape[1], dtype=float)
        return StepTimes(self.epoch, interpolate_columns(self.seconds, columns), self.origin)

    def at(self, columns: np.ndarray | float) -> Time:
        """Times at columns.

        Parameters
        ----------
        columns : `numpy.ndarray` or `float`
            0-based; between and beyond those that are listed, times run on linearly.
        """
        return self.epoch + self(columns) * u.s

    @property
    def is_instant(self) -> bool:
        """Whether all columns have one time."""
        return self.span == 0

    @cached_property
    def span(self) -> float:
        """Seconds from the first to the last column in time."""
        return float(np.ptp(self.seconds))

    @cached_property
    def step(self) -> float:
        """Seconds from one column to the next, of either sign."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 0.0


def interpolate_columns(table: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values at columns of a table with one value a column along its last axis; linear between and beyond them.

    From a table of a single column come single values.

    Parameters
    ----------
    table : `numpy.ndarray`, shape (..., n)
        One value a column.
    columns : `numpy.ndarray`
        0-based, fractions too.
    """
    if table.shape[-1] == 1:
        return table[..., 0]
    first = np.clip(np.floor(columns).astype(np.intp), 0, table.shape[-1] - 2)
    part = columns - first
    return table[..., first] * (1 - part) + table[..., first + 1] * part
