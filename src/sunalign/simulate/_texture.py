"""The face of the simulated Sun: logarithm of brightness on longitude-latitude grids, with cubic splines through it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Array = NDArray[np.floating[Any]]

GLOBAL_CELL = 0.3
CORONA_CELL = 1.2
# Cells beyond the seam at +-180 degrees, so that the spline's stencil never meets an edge.
WRAP = 8
# The supergranular network is about 30 Mm across, 2.5 degrees.
NETWORK_SCALE = 2.5


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


@dataclass(frozen=True, eq=False)
class Texture:
    """
    Logarithm of the brightness of the surface, relative to the quiet Sun.

    Parameters
    ----------
    fine : `tuple` of `Layer`
        The window of high resolution: what stays, and two independent realisations of what evolves. Empty for
        a Sun that does not evolve.
    still : `Layer`
        Sum of the first two, the window at the scene's own time.
    whole : `Layer`
        The whole Sun at low resolution.
    corona : `Layer`
        The whole Sun smoothed to what the corona shows at the limb.
    reach : `tuple` of `float`
        Half width of the window in longitude and latitude, degrees, safely within the grid.
    """

    fine: tuple[Layer, ...]
    still: Layer
    whole: Layer
    corona: Layer
    reach: tuple[float, float]


@dataclass(frozen=True)
class Recipe:
    """What a texture depends on; angles in degrees.

    Parameters
    ----------
    seed : `int`
    center, extent : `tuple` of `float`
        Middle of the finely resolved window, and its width and height: longitude, latitude.
    cell : `float`
        Of the window.
    n_active_regions : `int`
        Over the whole Sun.
    bright_points : `float`
        Per square degree.
    evolving : `bool`
        Whether the fine structure of the window changes with time.
    """

    seed: int
    center: tuple[float, float]
    extent: tuple[float, float]
    cell: float
    n_active_regions: int
    bright_points: float
    evolving: bool


@lru_cache(maxsize=12)
def texture(recipe: Recipe) -> Texture:
    """Paint the Sun of a recipe; the last few are kept.

    Parameters
    ----------
    recipe : `Recipe`
    """
    sources = _Sources.draw(recipe)
    sun = Grid.whole_sun(GLOBAL_CELL)
    rng = np.random.default_rng([recipe.seed, 1])
    background = _background(sun, rng)
    # Structure narrows towards the poles of a longitude-latitude grid, where it would alias.
    poleward = np.clip((80 - np.abs(sun.lats)) / 15, 0, 1)
    quiet = background + poleward * (_network(sun, rng) + _mottle(sun, rng))
    values = _capped(np.log(np.exp(quiet) + sources.paint(sun)), sun)
    whole = Layer.through(values, sun, wrap=True)

    grid = Grid.around(*recipe.center, recipe.extent, recipe.cell)
    lon, lat = np.meshgrid(wrapped(grid.lons), grid.lats[:, 0])
    low = whole(lon, lat)
    quiet = Layer.through(background, sun, wrap=True)(lon, lat) + _network(
        grid, np.random.default_rng([recipe.seed, 2])
    )
    lasting = np.log(np.exp(quiet) + sources.paint(grid))
    weight = _taper(grid)
    lasting = low + weight * (lasting - low)
    mottle = weight * _mottle(grid, np.random.default_rng([recipe.seed, 3]))
    fine: list[Array] = []
    if recipe.evolving:
        fine = [lasting, mottle, weight * _mottle(grid, np.random.default_rng([recipe.seed, 4]))]
    return Texture(
        fine=tuple(Layer.through(f, grid) for f in fine),
        still=Layer.through(lasting + mottle, grid),
        whole=whole,
        corona=_corona(values, sun, np.random.default_rng([recipe.seed, 5])),
        reach=((grid.shape[1] - 7) / 2 * grid.cell, (grid.shape[0] - 7) / 2 * grid.cell),
    )


def wrapped(lon: Array) -> Array:
    """Longitude in degrees brought to [-180, 180]."""
    return np.asarray(lon - 360 * np.rint(lon / 360))


def _capped(values: Array, sun: Grid) -> Array:
    """Fade to one value at each pole, where all longitudes meet."""
    values = values.copy()
    north = sun.lats[:, 0] > 0
    for half in (north, ~north):
        weight = np.clip((np.abs(sun.lats[half]) - 80) / 6, 0, 1)
        values[half] += weight * (np.mean(values[half][weight[:, 0] > 0]) - values[half])
    return values


def _taper(grid: Grid) -> Array:
    """One inside the window, falling smoothly to zero over its outermost tenth."""

    def rise(n: int) -> Array:
        edge = np.minimum(np.arange(n), np.arange(n)[::-1]) - 4
        return np.asarray(np.sin(np.pi / 2 * np.clip(edge / (0.1 * n), 0, 1)) ** 2)

    return rise(grid.shape[0])[:, None] * rise(grid.shape[1])


def _noise(grid: Grid, rng: np.random.Generator, longest: float, shortest: float, slope: float = 0.0) -> Array:
    """
    Gaussian random field, band-limited; of unit variance if the grid holds its shortest wavelength.

    Wavelengths in degrees; ``shortest`` is never taken below four cells, so that a cubic spline holds the field.
    ``slope`` is the exponent of the fall of the amplitude with wavenumber.
    """
    shape = tuple(fft.next_fast_len(n, real=True) for n in grid.shape)
    held = max(shortest, 4 * grid.cell)
    spectrum = fft.rfft2(rng.standard_normal(shape))
    k = np.hypot(fft.fftfreq(shape[0], grid.cell)[:, None], fft.rfftfreq(shape[1], grid.cell))
    spectrum *= _band(k, longest, held, slope)
    field = fft.irfft2(spectrum, shape)[: grid.shape[0], : grid.shape[1]]
    # What a coarse grid cannot hold is missing from its variance, not made up for at longer wavelengths.
    k = np.linspace(0, 3 / shortest, 600)
    power, all_power = (np.sum(k * _band(k, longest, s, slope) ** 2) for s in (held, shortest))
    return np.asarray(field * np.sqrt(power / all_power) / field.std())


def _band(k: Array, longest: float, shortest: float, slope: float) -> Array:
    """Amplitude at wavenumber ``k``, cycles per degree."""
    band = np.exp(-((k * shortest) ** 4)) * -np.expm1(-((k * longest) ** 4))
    return np.asarray(band * np.maximum(k, 1 / longest) ** -slope if slope else band)


def _background(grid: Grid, rng: np.random.Generator) -> Array:
    """Slow variation of the quiet Sun, coronal holes at the poles and elsewhere."""
    slow = _noise(grid, rng, 70, 18, 1)
    edge = _noise(grid, rng, 20, 2, 1.5)
    hole = 1 / (1 + np.exp(-(-1.5 - slow + 0.12 * edge) / 0.12))
    polar = 1 / (1 + np.exp(-(np.abs(grid.lats) + 3 * edge - 65) / 1.5))
    return np.asarray(0.22 * slow - 1.3 * np.maximum(hole, polar))


def _network(grid: Grid, rng: np.random.Generator) -> Array:
    """Bright, speckled lanes between the supergranules: the ridges of a random field."""
    lanes = np.exp(-((_noise(grid, rng, 1.6 * NETWORK_SCALE, 0.6 * NETWORK_SCALE) / 0.4) ** 2))
    speckle = 1 + np.tanh(0.7 * _noise(grid, rng, 1.2, 0.3))
    return np.asarray(0.8 * (lanes * speckle - 0.4))


def _mottle(grid: Grid, rng: np.random.Generator) -> Array:
    """Unresolved threads of the quiet Sun, at every scale below the network's."""
    return 0.4 * _noise(grid, rng, 1.5, 0.15, 0.7)


def _corona(values: Array, sun: Grid, rng: np.random.Generator) -> Layer:
    """What is left of the surface at the limb, with the fans of the corona above it."""
    smooth = ndimage.gaussian_filter(np.exp(values), 2.5 / sun.cell, mode=("nearest", "wrap"))
    fans = 0.3 * _noise(sun, rng, 8, 1.5, 0.5) * np.clip((85 - np.abs(sun.lats)) / 15, 0, 1)
    step = round(CORONA_CELL / sun.cell)
    blocks = (np.log(smooth) + fans).reshape(sun.shape[0] // step, step, sun.shape[1] // step, step)
    grid = Grid.whole_sun(CORONA_CELL)
    return Layer.through(_capped(blocks.mean(axis=(1, 3)), grid), grid, wrap=True)


@dataclass(frozen=True, eq=False)
class _Sources:
    """
    Everything that is brighter than the quiet Sun, as Gaussian spots.

    Parameters
    ----------
    lon, lat, width : `numpy.ndarray`, shape (n,)
        Centres and Gaussian widths of the spots, degrees.
    flux : `numpy.ndarray`, shape (n,)
        Brightness relative to the quiet Sun times area, square degrees.
    """

    lon: Array
    lat: Array
    width: Array
    flux: Array

    @classmethod
    def draw(cls, recipe: Recipe) -> "_Sources":
        rng = np.random.default_rng([recipe.seed, 0])
        parts = [_bright_points(recipe, rng)]
        for lon, lat in _active_region_places(recipe, rng):
            parts.extend(_active_region(lon, lat, rng))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def paint(self, grid: Grid) -> Array:
        """Brightness on a grid, every spot at least as wide as the grid can hold."""
        middle = grid.lon + (grid.shape[1] - 1) / 2 * grid.cell
        column = (wrapped(self.lon - middle) + middle - grid.lon) / grid.cell
        row = (self.lat - grid.lat) / grid.cell
        width = np.maximum(self.width / grid.cell, 1.4)
        # Filtering by Fourier transform wraps round the Sun in longitude; the margin keeps the poles apart.
        margin = 24
        shape = (fft.next_fast_len(grid.shape[0] + margin, real=True), grid.shape[1])
        k2 = fft.fftfreq(shape[0])[:, None] ** 2 + fft.rfftfreq(shape[1]) ** 2
        spectrum = np.zeros(k2.shape, complex)
        octave = np.round(np.log2(width / 1.4))
        for n in np.unique(octave):
            chosen = octave == n
            spots = _deposit(row[chosen], column[chosen], self.flux[chosen] / grid.cell**2, shape)
            spectrum += fft.rfft2(spots) * np.exp(-2 * (np.pi * 1.4 * 2**n) ** 2 * k2)
        # The transform leaves rounding errors of either sign where there is nothing.
        return np.maximum(fft.irfft2(spectrum, shape)[: grid.shape[0]], 0)


def _deposit(row: Array, column: Array, flux: Array, shape: tuple[int, int]) -> Array:
    """Share point fluxes between the four nearest cells; what falls outside is lost."""
    image = np.zeros(shape[0] * shape[1])
    r, c = np.floor(row).astype(int), np.floor(column).astype(int)
    for dr in (0, 1):
        for dc in (0, 1):
            share = np.abs(1 - dr - (row - r)) * np.abs(1 - dc - (column - c)) * flux
            inside = (r + dr >= 0) & (r + dr < shape[0]) & (c + dc >= 0) & (c + dc < shape[1])
            flat = (r + dr)[inside] * shape[1] + (c + dc)[inside]
            image += np.bincount(flat, share[inside], image.size)
    return image.reshape(shape)


Spots = tuple[Array, Array, Array, Array]


def _spots(lon: Array, lat: Array, width: Array, peak: Array) -> Spots:
    return lon, lat, width, 2 * np.pi * width**2 * peak


def _bright_points(recipe: Recipe, rng: np.random.Generator) -> Spots:
    """Coronal bright points: everywhere, each a knot of three spots."""
    n = rng.poisson(recipe.bright_points * 41253)
    lon = np.repeat(rng.uniform(-180, 180, n), 3) + rng.normal(0, 0.2, 3 * n)
    lat = np.repeat(np.degrees(np.arcsin(rng.uniform(-1, 1, n))), 3) + rng.normal(0, 0.2, 3 * n)
    width = rng.choice([0.08, 0.11, 0.16, 0.22], 3 * n)
    peak = np.repeat(rng.lognormal(0.7, 0.6, n), 3) * rng.lognormal(-0.3, 0.5, 3 * n)
    return _spots(lon, lat, width, peak)


def region_places(recipe: Recipe) -> list[tuple[float, float]]:
    """Longitude and latitude, degrees, of the active regions of a recipe: those that its texture has."""
    rng = np.random.default_rng([recipe.seed, 0])
    _bright_points(recipe, rng)  # drawn before them, from the same source
    return _active_region_places(recipe, rng)


def _active_region_places(recipe: Recipe, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Two near the middle of the window, where one looks, the rest in the belts of activity."""
    if recipe.n_active_regions == 0:
        return []
    near = [tuple(recipe.center + rng.normal(0, s, 2)) for s in (3.5, 9)][: recipe.n_active_regions]
    n = recipe.n_active_regions - len(near)
    belt = zip(rng.uniform(-180, 180, n), rng.choice([-1, 1], n) * rng.uniform(8, 26, n), strict=True)
    return [(float(lon), float(lat)) for lon, lat in (*near, *belt)]


def _active_region(lon: float, lat: float, rng: np.random.Generator) -> list[Spots]:
    """Haze, moss cores, closed loops between two polarities and open fans at their outskirts."""
    size = rng.uniform(1.6, 3.2)
    tilt = np.radians(rng.normal(0, 12))
    along, across = np.array([np.cos(tilt), np.sin(tilt)]), np.array([-np.sin(tilt), np.cos(tilt)])
    position = np.array([lon, lat])

    haze = position + size * rng.normal(0, 0.5, (6, 2))
    core = position + np.outer(rng.normal(0, 0.8, 8) * size, along) + np.outer(rng.normal(0, 0.3, 8) * size, across)
    parts = [
        _spots(haze[:, 0], haze[:, 1], size * rng.uniform(0.4, 0.9, 6), rng.uniform(0.4, 1.2, 6)),
        _spots(core[:, 0], core[:, 1], rng.uniform(0.12, 0.35, 8), rng.lognormal(1.4, 0.5, 8)),
    ]
    for sign, fraction in ((0, 0.65), (-1, 0.175), (1, 0.175)):
        parts.append(_loops(position, size, along, across, round(64 * fraction), sign, rng))
    return parts


def _loops(
    position: Array, size: float, along: Array, across: Array, n: int, side: int, rng: np.random.Generator
) -> Spots:
    """
    Draw ``n`` loops as chains of spots, bright at their feet.

    ``side`` 0 closes them over the region; -1 and 1 open them outwards from one polarity.
    """
    t = np.linspace(0, 1, 160)
    feet = [
        position
        + np.outer(s * rng.uniform(0.25, 1.3, n) * size, along)
        + np.outer(rng.normal(0, 0.3, n) * size, across)
        for s in ((-1, 1) if side == 0 else (side, side))
    ]
    if side:
        feet[1] = feet[0] + np.outer(side * rng.uniform(0.8, 2.2, n) * size, along)
        feet[1] += np.outer(rng.normal(0, 0.8, n) * size, across)
    chord = feet[1] - feet[0]
    length = np.hypot(*chord.T)
    bulge = rng.normal(0, 0.3 if side == 0 else 0.12, n)
    normal = np.stack([-chord[:, 1], chord[:, 0]], axis=1) * bulge[:, None]
    path = feet[0][:, None] + chord[:, None] * t[:, None] + normal[:, None] * np.sin(np.pi * t)[:, None]

    profile = np.exp(-4 * t) if side else 0.5 + 0.8 * (np.exp(-10 * t) + np.exp(-10 * (1 - t)))
    width = rng.choice([0.075, 0.11, 0.15], n)
    peak = rng.lognormal(1.0, 0.6, n)
    # A chain of spots a distance ds apart is a tube of the same peak when each carries its share of the tube's flux.
    flux = (peak * width * np.sqrt(2 * np.pi) * length / t.size)[:, None] * profile
    widths = np.broadcast_to(width[:, None], flux.shape)
    return path[..., 0].ravel(), path[..., 1].ravel(), widths.ravel(), flux.ravel()
