"""The face of the simulated Sun: logarithm of brightness on longitude-latitude grids, with cubic splines through it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

from sunalign.simulate._grid import Array, Grid, Layer, wrapped
from sunalign.simulate._sources import Recipe, Sources

GLOBAL_CELL = 0.3
CORONA_CELL = 1.2
# The supergranular network is about 30 Mm across, 2.5 degrees.
NETWORK_SCALE = 2.5


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


@lru_cache(maxsize=12)
def texture(recipe: Recipe) -> Texture:
    """Paint the Sun of a recipe; the last few are kept.

    Parameters
    ----------
    recipe : `Recipe`
    """
    sources = Sources.draw(recipe)
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
