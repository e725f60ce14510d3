"""Coronal loops in space: threads of plasma that stand above active regions and rise beyond the limb."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sunalign.simulate._grid import Array, Grid, Layer
from sunalign.simulate._sources import Recipe, region_places

# Lattice of the sky on which the narrowest spots are painted, in solar radii; wider ones have coarser lattices.
CELL = 7e-4
# Least width of a spot in cells of its lattice, so that a cubic spline holds it.
LEAST = 1.4
# Cells around the spots of a lattice: beyond the reach of their flanks and of the spline's prefilter.
MARGIN = 16
# Height over which plasma of a million degrees thins out, in solar radii.
SCALE_HEIGHT = 0.1
# Points along a thread.
POINTS = 220
THREADS = 9


class Spots(NamedTuple):
    """
    Gaussian spots in space.

    Parameters
    ----------
    position : `numpy.ndarray`, shape (3, n)
        In solar radii: towards longitude 0 and 90 degrees on the equator, and north.
    width : `numpy.ndarray`, shape (n,)
        Gaussian widths, solar radii.
    flux : `numpy.ndarray`, shape (n,)
        Brightness relative to the quiet Sun times area, square solar radii.
    """

    position: Array
    width: Array
    flux: Array


class Eye(NamedTuple):
    """
    Where a part of the Sun that turns as one is seen from.

    Parameters
    ----------
    distance : `float`
        Distance to the centre of the Sun, radii of the emitting sphere.
    b0 : `float`
        Heliographic latitude, radians.
    longitude : `float`
        Longitude from that which the Sun is painted in, radians.
    """

    distance: float
    b0: float
    longitude: float


@dataclass(frozen=True, eq=False)
class Region:
    """
    Loops above one active region.

    Parameters
    ----------
    lat : `float`
        Latitude of the region, degrees: all of it turns with the Sun as its middle does.
    spots : ``Spots``
        What it is made of.
    """

    lat: float
    spots: Spots

    def layers(self, eye: Eye) -> tuple[Layer, ...]:
        """Brightness on the sky, in solar radii west and north of the centre: a layer for each octave of widths.

        Parameters
        ----------
        eye : `Eye`
            Where it is looked at from.
        """
        x, y, z = _towards(self.spots.position, eye)
        visible = np.logical_not(_hidden(x, y, z, eye.distance))
        scale = 1 / (1 - z[visible] / eye.distance)
        x, y, width = x[visible] * scale, y[visible] * scale, self.spots.width[visible] * scale
        flux = self.spots.flux[visible] * scale**2
        octave = np.floor(np.log2(np.maximum(width / (LEAST * CELL), 1)))
        return tuple(
            _painted(x[chosen], y[chosen], width[chosen], flux[chosen], CELL * 2**n)
            for n in np.unique(octave)
            for chosen in [octave == n]
        )


def _towards(position: Array, eye: Eye) -> Array:
    """Positions as seen: west, north and towards the observer."""
    east, side, north = position
    cos, sin = np.cos(eye.longitude), np.sin(eye.longitude)
    ahead, west = east * cos + side * sin, side * cos - east * sin
    cos, sin = np.cos(eye.b0), np.sin(eye.b0)
    return np.stack([west, north * cos - ahead * sin, ahead * cos + north * sin])


def _hidden(x: Array, y: Array, z: Array, distance: float) -> NDArray[np.bool_]:
    """Whether the Sun is in between."""
    path = np.sqrt(x**2 + y**2 + (distance - z) ** 2)
    nearest = distance * (distance - z) / path
    impact2 = distance**2 - nearest**2
    return np.asarray((impact2 < 1) & (path > nearest - np.sqrt(np.maximum(1 - impact2, 0)) + 1e-9))


def _painted(x: Array, y: Array, width: Array, flux: Array, cell: float) -> Layer:
    """Spots within an octave of width, on a lattice of their own whose points are multiples of its cell."""
    low = np.array([np.floor(y.min() / cell), np.floor(x.min() / cell)]).astype(int) - MARGIN
    high = np.array([np.ceil(y.max() / cell), np.ceil(x.max() / cell)]).astype(int) + MARGIN
    shape = tuple(int(n) for n in high - low + 1)
    image = np.zeros(shape)
    # The octave in eighths: how narrow a thread is shows.
    share = np.round(8 * np.log2(np.maximum(width / (LEAST * cell), 1)))
    for n in np.unique(share):
        chosen = share == n
        spots = _deposit(y[chosen] / cell - low[0], x[chosen] / cell - low[1], flux[chosen] / cell**2, shape)
        image += ndimage.gaussian_filter(spots, LEAST * 2 ** (n / 8), mode="constant")
    return Layer.through(image, Grid(low[1] * cell, low[0] * cell, cell, (shape[0], shape[1])))


def _deposit(row: Array, column: Array, flux: Array, shape: tuple[int, ...]) -> Array:
    """Share point fluxes between the four nearest cells."""
    image = np.zeros(shape[0] * shape[1])
    r, c = np.floor(row).astype(int), np.floor(column).astype(int)
    for dr in (0, 1):
        for dc in (0, 1):
            share = np.abs(1 - dr - (row - r)) * np.abs(1 - dc - (column - c)) * flux
            image += np.bincount((r + dr) * shape[1] + c + dc, share, image.size)
    return image.reshape(shape)


@lru_cache(maxsize=8)
def loops(recipe: Recipe, n: int) -> tuple[Region, ...]:
    """The loops of a Sun.

    Parameters
    ----------
    recipe : `Recipe`
    n : `int`
        Bundles above each active region.
    """
    rng = np.random.default_rng([recipe.seed, 6])
    return tuple(_region(lon, lat, n, rng) for lon, lat in region_places(recipe))


@lru_cache(maxsize=256)
def layers_of(region: Region, eye: Eye) -> tuple[Layer, ...]:
    """`Region.layers`, kept: an image is sampled many times from one place.

    Parameters
    ----------
    region : `Region`
    eye : `Eye`
    """
    return region.layers(eye)


def brightness(region: Region, eye: Eye, west: Array, north: Array) -> Array:
    """Brightness of one region, relative to the quiet Sun.

    Parameters
    ----------
    region : `Region`
    eye : `Eye`
    west, north : `numpy.ndarray`
        Points, in solar radii from the centre of the disc.

    Returns
    -------
    `numpy.ndarray`
        Shape of the points.
    """
    layers = layers_of(region, eye)
    total = np.zeros(west.shape)
    if not layers:
        return total
    (left, bottom), (right, top) = (limit(e, axis=0) for limit, e in zip((np.min, np.max), _edges(layers), strict=True))
    some = np.flatnonzero((west > left) & (west < right) & (north > bottom) & (north < top))
    west, north = west[some], north[some]
    for layer, low, high in zip(layers, *_edges(layers), strict=True):
        near = np.flatnonzero((west > low[0]) & (west < high[0]) & (north > low[1]) & (north < high[1]))
        total[some[near]] += layer(west[near], north[near])
    # A spline through spots undershoots where there is nothing.
    return np.maximum(total, 0)


def _edges(layers: tuple[Layer, ...]) -> tuple[Array, Array]:
    """Lower left and upper right corners of lattices, short of the outermost cells, where nothing was painted."""
    low = np.array([[layer.grid.lon + 3 * layer.grid.cell, layer.grid.lat + 3 * layer.grid.cell] for layer in layers])
    size = np.array([[(n - 7) * layer.grid.cell for n in layer.grid.shape[::-1]] for layer in layers])
    return low, low + size


def _region(lon: float, lat: float, n: int, rng: np.random.Generator) -> Region:
    """Bundles of threads between two polarities, and the haze they stand in."""
    size = rng.uniform(2.2, 4.2)
    tilt = np.radians(rng.normal(0, 14))
    parts = [part for _ in range(n) for part in _bundle(size, tilt, rng)]
    parts.append(_haze(size, rng))
    position, width, flux = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    return Region(lat, Spots(_placed(position, lon, lat), width, flux))


def _placed(local: Array, lon: float, lat: float) -> Array:
    """From (west, north, up) in solar radii, about a place on the surface, to `Spots.position`."""
    x, y, up = local
    # Over a region's size the surface curves: what lies aside of its middle stands lower, and leans outwards.
    sphere = np.stack([x, y, np.sqrt(np.maximum(1 - x**2 - y**2, 0))]) * (1 + up)
    west, north, out = sphere
    cos, sin = np.cos(np.radians(lat)), np.sin(np.radians(lat))
    out, north = out * cos - north * sin, out * sin + north * cos
    cos, sin = np.cos(np.radians(lon)), np.sin(np.radians(lon))
    return np.stack([out * cos - west * sin, out * sin + west * cos, north])


def _bundle(size: float, tilt: float, rng: np.random.Generator) -> Iterator[Spots]:
    """Threads side by side that share their feet, height and lean; one bundle in four is open."""
    along, across = np.array([np.cos(tilt), np.sin(tilt)]), np.array([-np.sin(tilt), np.cos(tilt)])
    is_open = rng.random() < 0.25
    reach = size * (rng.uniform(0.35, 1.5))
    feet = [s * reach * rng.uniform(0.8, 1.2) * along + size * rng.normal(0, 0.35) * across for s in (-1, 1)]
    lean, rise, bright = rng.normal(0, 0.45), rng.uniform(0.7, 1.35), rng.lognormal(0, 0.7)
    spread = size * rng.uniform(0.04, 0.12)
    for _ in range(THREADS):
        start, end = (np.radians(foot + rng.normal(0, spread, 2)) for foot in feet)
        yield _thread(start, end, lean + rng.normal(0, 0.06), rise * rng.normal(1, 0.07), bright, is_open, rng)


def _thread(
    start: Array, end: Array, lean: float, rise: float, bright: float, is_open: bool, rng: np.random.Generator
) -> Spots:
    """One loop: an arch over the chord between its feet, leaning to a side, or the beginning of a larger one."""
    t = np.linspace(0, np.pi, POINTS)
    chord = end - start
    half = np.hypot(*chord) / 2
    if is_open:
        # Half an arch four times as long: it leaves the region and fades before it returns.
        t, chord, half = t / 3, 4 * chord, 4 * half
    side = np.array([-chord[1], chord[0]]) / (2 * half)
    height = rise * half * np.sin(t)
    ground = start[:, None] + chord[:, None] * (1 - np.cos(t)) / 2 + side[:, None] * np.sin(lean) * height
    path = np.stack([*ground, np.cos(lean) * height])
    length = np.linalg.norm(np.gradient(path, axis=1), axis=0)
    width = rng.choice([0.001, 0.0013, 0.0018]) * (1 + 3 * path[2])
    # Bright feet, and plasma that thins out with height; dimmer threads are more.
    profile = (0.45 + np.exp(-path[2] / 0.012)) * np.exp(-path[2] / SCALE_HEIGHT)
    if is_open:
        profile *= np.linspace(1, 0, POINTS) ** 1.5
    peak = 0.9 * bright * rng.lognormal(0, 0.6)
    flux = peak * profile * width * np.sqrt(2 * np.pi) * length
    return Spots(path, width, flux)


def _haze(size: float, rng: np.random.Generator) -> Spots:
    """Threads too many and too faint to be told apart."""
    n = 60
    radius = np.radians(size)
    width = rng.uniform(0.25, 0.7, n) * radius
    position = np.stack([*(radius * rng.normal(0, 0.6, (2, n))), 0.6 * radius * rng.exponential(1, n)])
    return Spots(position, width, 2 * np.pi * width**2 * 0.07 * rng.lognormal(0, 0.4, n))
