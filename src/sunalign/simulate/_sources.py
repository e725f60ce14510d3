"""What is brighter than the quiet Sun: bright points and active regions, as Gaussian spots on the surface."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from sunalign.simulate._grid import Array, Grid, wrapped


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


@dataclass(frozen=True, eq=False)
class Sources:
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
    def draw(cls, recipe: Recipe) -> "Sources":
        """Draw those of a recipe.

        Parameters
        ----------
        recipe : `Recipe`
        """
        rng = np.random.default_rng([recipe.seed, 0])
        parts = [_bright_points(recipe, rng)]
        for lon, lat in _active_region_places(recipe, rng):
            parts.extend(_active_region(lon, lat, rng))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def paint(self, grid: Grid) -> Array:
        """Brightness on a grid, every spot at least as wide as the grid can hold.

        Parameters
        ----------
        grid : `Grid`
        """
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
    """Longitude and latitude, degrees, of the active regions of a recipe: those that its texture has.

    Parameters
    ----------
    recipe : `Recipe`
    """
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
