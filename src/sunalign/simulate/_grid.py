"""Longitude-latitude grids, and cubic splines through values on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.floating[Any]]

# Cells beyond the seam at +-180 degrees, so that the spline's stencil never meets an edge.
WRAP = 8


@dataclass(frozen=True, eq=False)
class Grid:
    """
    A regular longitude-latitude grid.

    Parameters
    ----------
    lon, lat : `float`
        Coordinates of the centre of the first cell, degrees.
    cell : `float`
        Cell size, degrees.
    shape : `tuple` of `int`
        ``(n_lat, n_lon)``.
    """

    lon: float
    lat: float
    cell: float
    shape: tuple[int, int]

    @classmethod
    def around(cls, lon: float, lat: float, extent: tuple[float, float], cell: float) -> "Grid":
        """Grid centred on a position.

        Parameters
        ----------
        lon, lat : `float`
            Degrees.
        extent : `tuple` of `float`
            Width in longitude and height in latitude, degrees.
        cell : `float`
            Degrees.
        """
        n_lon, n_lat = (round(e / cell) + 1 for e in extent)
        return cls(lon - (n_lon - 1) / 2 * cell, lat - (n_lat - 1) / 2 * cell, cell, (n_lat, n_lon))

    @classmethod
    def whole_sun(cls, cell: float) -> "Grid":
        """Grid from -180 to 180 degrees of longitude and from pole to pole.

        Parameters
        ----------
        cell : `float`
            Degrees; a whole number of them makes 180.
        """
        return cls(-180 + cell / 2, -90 + cell / 2, cell, (round(180 / cell), round(360 / cell)))

    @property
    def lats(self) -> Array:
        """Latitudes of the rows as a column, shape (n_lat, 1)."""
        return np.asarray(self.lat + self.cell * np.arange(self.shape[0]))[:, None]

    @property
    def lons(self) -> Array:
        """Longitudes of the columns, shape (n_lon,)."""
        return np.asarray(self.lon + self.cell * np.arange(self.shape[1]))

    def indices(self, lon: Array, lat: Array) -> Array:
        """Rows and columns of positions, in fractions.

        Parameters
        ----------
        lon, lat : `numpy.ndarray`
            Degrees, of one shape.

        Returns
        -------
        `numpy.ndarray`, shape (2, ...)
            Row first.
        """
        index = np.empty((2, *lon.shape))
        np.subtract(lat, self.lat, out=index[0])
        np.subtract(lon, self.lon, out=index[1])
        index *= 1 / self.cell
        return index


@dataclass(frozen=True, eq=False)
class Layer:
    """
    Cubic spline through values on a `Grid`.

    Parameters
    ----------
    grid : `Grid`
        Where the spline's coefficients sit.
    coefficients : `numpy.ndarray`, shape (n_lat, n_lon)
        B-spline coefficients.
    """

    grid: Grid
    coefficients: Array

    @classmethod
    def through(cls, values: Array, grid: Grid, *, wrap: bool = False) -> "Layer":
        """Interpolate values.

        Parameters
        ----------
        values : `numpy.ndarray`, shape (n_lat, n_lon)
        grid : `Grid`
            Where they are.
        wrap : `bool`
            Whether the grid goes once round the Sun.
        """
        if wrap:
            values = np.pad(values, ((0, 0), (WRAP, WRAP)), mode="wrap")
            grid = Grid(grid.lon - WRAP * grid.cell, grid.lat, grid.cell, (values.shape[0], values.shape[1]))
        return cls(grid, ndimage.spline_filter(values, order=3, mode="mirror"))

    def __call__(self, lon: Array, lat: Array) -> Array:
        return ndimage.map_coordinates(
            self.coefficients, self.grid.indices(lon, lat), order=3, mode="mirror", prefilter=False
        )


def wrapped(lon: Array) -> Array:
    """Longitude in degrees brought to [-180, 180].

    Parameters
    ----------
    lon : `numpy.ndarray`
        Degrees, any number of turns.
    """
    return np.asarray(lon - 360 * np.rint(lon / 360))
