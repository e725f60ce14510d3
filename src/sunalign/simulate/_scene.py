"""The simulated Sun: what it looks like from anywhere, at any time."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

import astropy.units as u

from sunpy.sun import constants
from sunpy.time import parse_time

from sunalign.simulate._grid import Array, wrapped
from sunalign.simulate._loops import Eye, brightness, loops
from sunalign.simulate._observer import Observer, locate, stonyhurst_zero, time_of
from sunalign.simulate._sources import Recipe
from sunalign.simulate._texture import Texture, texture
from sunalign.simulate._view import View, rim_points, surface_points, unit_vectors

# Coefficients of `sunpy.sun.models.differential_rotation`: A + B sin^2(lat) + C sin^4(lat), rad/s.
DEG_PER_DAY = np.pi / 180 / 86400
ROTATION = {
    "howard": (2.894e-6, -0.428e-6, -0.370e-6),
    "snodgrass": (2.851e-6, -0.343e-6, -0.474e-6),
    "allen": (14.44 * DEG_PER_DAY, -3.0 * DEG_PER_DAY, 0.0),
    "rigid": (14.1844 * DEG_PER_DAY, 0.0, 0.0),
    "none": (0.0, 0.0, 0.0),
}
QUIET_SUN = 100.0
# Scale height of the corona, and softness of limb brightening, in solar radii.
CORONA_HEIGHT = 0.08
LIMB_SOFTNESS = 0.12
# Below this cosine of the heliocentric angle the fine structure gives way to what the corona shows.
LIMB_FADE = 0.25
# The same where the corona is not only a rim, but stands in front of the disc as well.
LOOPS_FADE = 0.2
# Part of the limb's brightness that comes from low down, and its scale height in solar radii: what makes it an edge.
RIM, RIM_HEIGHT = 0.6, 0.008
# Points evaluated at a time, so that the intermediate arrays stay in the cache of the processor.
BLOCK = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Scene:
    """
    A Sun in the extreme ultraviolet, known everywhere and at every time.

    The surface carries a network, mottles, bright points, coronal holes and active regions with loops, as a cubic
    spline in heliographic longitude and latitude: what the spline says *is* the truth, at any resolution. A window
    of the surface is finely resolved (``resolution``), the rest of the Sun at 0.3 degrees. The surface turns
    differentially. Towards the limb it brightens and its fine structure fades into a corona, which falls off
    exponentially above it.

    Parameters
    ----------
    seed : `int`
        Same seed, same Sun. The fine structure also depends on ``resolution``, ``center`` and ``extent``.
    time : {parse_time_types}
        Epoch at which ``center`` and ``beacons`` hold, and from which the Sun turns and evolves.
    rsun : `~astropy.units.Quantity`
        Radius of the emitting sphere.
    center : `tuple` of two `~astropy.units.Quantity`
        Stonyhurst longitude and latitude of the middle of the finely resolved window, at ``time``.
        An active region lies near it.
    extent : `tuple` of two `~astropy.units.Quantity`
        Width and height of that window.
    resolution : `~astropy.units.Quantity`
        Size of a cell of the window. Pixels of two cells and more see no aliasing.
        A cell of 0.06 degrees is 730 km: 1 arcsec at 1 AU, 2.2 arcsec at 0.45 AU.
    rotation_model : `str`
        ``"howard"``, ``"snodgrass"``, ``"allen"`` or ``"rigid"`` as in `sunpy.sun.models.differential_rotation`,
        or ``"none"`` for a Sun at rest among the stars.
    evolution : `~astropy.units.Quantity` or `None`
        Lifetime of the mottles in the window: the correlation with themselves a time t later is cos(t / lifetime).
        Meant for spans short against it. `None` holds them for ever. A scene that evolves is slower to sample.
    limb_brightening : `float`
        Strength of limb brightening; 0 for none.
    contrast : `float`
        Multiplies the logarithm of every structure; 0 gives a featureless Sun.
    n_active_regions : `int`
        Number of active regions, over the whole Sun.
    bright_points : `float`
        Bright points per square degree.
    loops : `int`
        Bundles of coronal loops above each active region. They stand in space: they rise beyond the limb, hide behind
        it, and show their parallax to other observers. The flat loops of the surface are there in any case. None by
        default; a raster whose steps have their own times takes longer with them.
    beacons : `tuple` of (longitude, latitude) pairs of `~astropy.units.Quantity`
        Places, Stonyhurst at ``time``, of point-like sources that stand out, for tests of geometry.
    beacon_width : `~astropy.units.Quantity`
        Gaussian width of the beacons.
    beacon_intensity : `float`
        Peak intensity of the beacons, in units of the quiet Sun's.

    Examples
    --------
    >>> import astropy.units as u
    >>> from sunalign import simulate
    >>> scene = simulate.Scene(seed=3)
    >>> earth = simulate.observer(1 * u.AU, time=scene.time)
    >>> bool(scene.intensity(10 * u.arcsec, -20 * u.arcsec, earth) > 0)
    True
    """

    seed: int = 0
    time: Any = "2024-10-17T00:00:00"
    rsun: u.Quantity = field(default_factory=lambda: constants.radius.to(u.m))
    center: tuple[u.Quantity, u.Quantity] = (0 * u.deg, 0 * u.deg)
    extent: tuple[u.Quantity, u.Quantity] = (70 * u.deg, 50 * u.deg)
    resolution: u.Quantity = 0.06 * u.deg
    rotation_model: str = "howard"
    evolution: u.Quantity | None = None
    limb_brightening: float = 0.5
    contrast: float = 1.0
    n_active_regions: int = 14
    bright_points: float = 0.15
    loops: int = 0
    beacons: tuple[tuple[u.Quantity, u.Quantity], ...] = ()
    beacon_width: u.Quantity = 0.15 * u.deg
    beacon_intensity: float = 50.0

    def __post_init__(self) -> None:
        if self.rotation_model not in ROTATION:
            allowed = ", ".join(repr(name) for name in ROTATION)
            raise ValueError(f"There is no rotation model named {self.rotation_model!r}. Allowed: {allowed}.")
        object.__setattr__(self, "time", parse_time(self.time))

    @property
    def _recipe(self) -> Recipe:
        lon, lat = (float(c.to_value(u.deg)) for c in self.center)
        width, height = (float(e.to_value(u.deg)) for e in self.extent)
        cell = float(self.resolution.to_value(u.deg))
        return Recipe(
            seed=self.seed,
            center=(lon, lat),
            extent=(width, height),
            cell=cell,
            n_active_regions=self.n_active_regions,
            bright_points=self.bright_points,
            evolving=self.evolution is not None,
        )

    @property
    def _texture(self) -> Texture:
        return texture(self._recipe)

    def replace(self, **changes: Any) -> "Scene":
        """The same scene with some options changed.

        Parameters
        ----------
        **changes
            Options of the scene by name.
        """
        return Scene(**{f.name: getattr(self, f.name) for f in fields(self)} | changes)

    @u.quantity_input
    def intensity(self, tx: u.arcsec, ty: u.arcsec, observer: Observer, time: Any = None) -> np.ndarray:
        """
        Intensity seen in a direction.

        Parameters
        ----------
        tx, ty : `~astropy.units.Quantity`
            Helioprojective longitude and latitude, any shapes that broadcast.
        observer : `~astropy.coordinates.SkyCoord` or callable
            Who looks; a callable is given the time. A fixed position stays at its Stonyhurst longitude, as Earth does.
        time : {parse_time_types}, optional
            When; an array broadcasts against ``tx`` and ``ty``. By default the observer's ``obstime``.

        Returns
        -------
        `numpy.ndarray`
            Intensity in DN/s; the mean quiet Sun at disc centre has about 100.
        """
        tx, ty = np.broadcast_arrays(tx.to_value(u.rad), ty.to_value(u.rad))
        return self.radiance(unit_vectors(tx, ty), self.view(observer, time))

    @u.quantity_input
    def heliographic(
        self, tx: u.arcsec, ty: u.arcsec, observer: Observer, time: Any = None
    ) -> tuple[u.Quantity, u.Quantity]:
        """
        Stonyhurst longitude and latitude, at the time of the observation, of what is seen in a direction.

        Parameters
        ----------
        tx, ty, observer, time
            As in `intensity`.

        Returns
        -------
        lon, lat : `~astropy.units.Quantity`
            Degrees, longitude in [-180, 180); NaN off the disc.
        """
        tx, ty = np.broadcast_arrays(tx.to_value(u.rad), ty.to_value(u.rad))
        view = self.view(observer, time)
        lon, sin_lat, mu, _ = surface_points(unit_vectors(tx, ty), view, self.rsun.to_value(u.m))
        lon = np.degrees(lon - stonyhurst_zero(time_of(observer, time, self.time)))
        lon, lat = wrapped(lon), np.degrees(np.arcsin(sin_lat))
        return np.where(mu > 0, lon, np.nan) * u.deg, np.where(mu > 0, lat, np.nan) * u.deg

    def view(self, observer: Observer, time: Any = None, *, sky_time: Any = None, surface_time: Any = None) -> View:
        """
        Geometry of an observation, for `radiance`.

        Parameters
        ----------
        observer : `~astropy.coordinates.SkyCoord` or callable
            Who looks.
        time : {parse_time_types}, optional
            When the Sun is looked at; may be an array.
        sky_time : {parse_time_types}, optional
            When the observer is where directions are reckoned from, if not at ``time``.
        surface_time : {parse_time_types}, optional
            Up to when the Sun has turned, if not up to ``time``.

        Returns
        -------
        ``View``
        """
        when = time_of(observer, time, self.time)
        sky = when if sky_time is None else parse_time(sky_time)
        surface = when if surface_time is None else parse_time(surface_time)
        hgln, hglt, dsun = locate(observer, sky)
        return View(
            dsun,
            hglt,
            hgln + stonyhurst_zero(sky),
            np.asarray((surface - self.time).to_value(u.s)),
            np.asarray((when - self.time).to_value(u.s)),
        )

    def radiance(self, vectors: tuple[Array, Array, Array], view: View) -> Array:
        """
        Intensity along unit vectors, the plain-number core of `intensity`.

        Parameters
        ----------
        vectors : `tuple` of three `numpy.ndarray`
            Components, of one shape, of unit vectors from the observer: to the centre of the Sun, west and north.
        view : ``View``
            Geometry, broadcasting against the vectors.

        Returns
        -------
        `numpy.ndarray`
            Intensity, DN/s, shape of the vectors.
        """
        shape = np.shape(vectors[0])
        x, y, z = (np.reshape(v, -1) for v in vectors)
        view = view.flattened(shape)
        epoch = float(stonyhurst_zero(self.time))
        out = np.empty(x.size)
        for start in range(0, out.size, BLOCK):
            block = slice(start, start + BLOCK)
            out[block] = self._radiance((x[block], y[block], z[block]), view.part(block), epoch)
        if self.loops and self.contrast:
            self._add_loops(out, (x, y, z), view, epoch)
        return out.reshape(shape)

    def _add_loops(self, out: Array, vectors: tuple[Array, Array, Array], view: View, epoch: float) -> None:
        """Add the light of the loops, for every place and time that the points are seen from."""
        rsun = self.rsun.to_value(u.m)
        sunward, west, north = vectors
        columns = np.broadcast_arrays(view.distance / rsun, view.b0, view.longitude - epoch, view.turned, np.zeros(1))
        eyes, which = np.unique(np.stack(columns[:4]), axis=1, return_inverse=True)
        a, b, c = ROTATION[self.rotation_model]
        for k, (distance, b0, longitude, turned) in enumerate(eyes.T):
            chosen = slice(None) if eyes.shape[1] == 1 else np.flatnonzero(which.ravel() == k)
            # In the plane through the Sun's centre, from where the lines of sight meet it.
            x, y = (distance * v[chosen] / sunward[chosen] for v in (west, north))
            for region in loops(self._recipe, self.loops):
                sin2 = np.sin(np.radians(region.lat)) ** 2
                eye = Eye(float(distance), float(b0), float(longitude - (a + sin2 * (b + sin2 * c)) * turned))
                out[chosen] += QUIET_SUN * brightness(region, eye, x, y)

    def _radiance(self, vectors: tuple[Array, Array, Array], view: View, epoch: float) -> Array:
        surface_lon, sin_lat, mu, height = surface_points(vectors, view, self.rsun.to_value(u.m))
        a, b, c = ROTATION[self.rotation_model]
        sin2 = sin_lat**2
        lon = wrapped(np.degrees(surface_lon - epoch - (a + sin2 * (b + sin2 * c)) * view.turned))
        lat = np.degrees(np.arcsin(sin_lat))

        rim = (lon, lat)
        if self.loops:
            rim_lon, sin_rim = rim_points(vectors, view)
            rim = (lon + wrapped(np.degrees(rim_lon - surface_lon)), np.degrees(np.arcsin(sin_rim)))
        log = self._log_surface(lon, lat, rim, mu, view.aged) if self.contrast else np.zeros(lon.shape)
        intensity = np.exp(self.contrast * log) * self._above(height)
        if self.beacons:
            intensity += self._beacons(lon, lat) * (height == 0)
        flat = 1 / np.sqrt(1 + LIMB_SOFTNESS)
        intensity *= 1 + self.limb_brightening * (1 / np.sqrt(mu**2 + LIMB_SOFTNESS) - flat)
        return QUIET_SUN * intensity

    def _above(self, height: Array) -> Array:
        """What is left of the brightness at the limb at a height above it."""
        corona = np.exp(-height / CORONA_HEIGHT)
        if not self.loops:
            return np.asarray(corona)
        return np.asarray(RIM * np.exp(-height / RIM_HEIGHT) + (1 - RIM) * corona)

    def _log_surface(self, lon: Array, lat: Array, rim: tuple[Array, Array], mu: Array, aged: Array) -> Array:
        """Logarithm of the surface's brightness, fading into that of the corona above ``rim`` towards the limb."""
        sun = self._texture
        center = [float(c.to_value(u.deg)) for c in self.center]
        from_center = wrapped(lon - center[0])
        inside = (np.abs(from_center) < sun.reach[0]) & (np.abs(lat - center[1]) < sun.reach[1])
        if inside.all():
            log = self._window(sun, from_center + center[0], lat, aged)
        else:
            log = np.empty(lon.shape)
            log[~inside] = sun.whole(lon[~inside], lat[~inside])
            age = aged if aged.ndim == 0 else aged[inside]
            log[inside] = self._window(sun, from_center[inside] + center[0], lat[inside], age)
        fades_at = LOOPS_FADE if self.loops else LIMB_FADE
        edge = mu < 3.5 * fades_at
        if edge.any():
            fade = 1 / (1 + (mu[edge] / fades_at) ** 6)
            log[edge] += fade * (sun.corona(wrapped(rim[0][edge]), rim[1][edge]) - log[edge])
        return log

    def _window(self, sun: Texture, lon: Array, lat: Array, aged: Array) -> Array:
        if self.evolution is None:
            return sun.still(lon, lat)
        phase = aged / self.evolution.to_value(u.s)
        lasting, first, second = sun.fine
        return lasting(lon, lat) + np.cos(phase) * first(lon, lat) + np.sin(phase) * second(lon, lat)

    def _beacons(self, lon: Array, lat: Array) -> Array:
        position = unit_vectors(np.radians(lon), np.radians(lat))
        width = self.beacon_width.to_value(u.rad)
        total = np.zeros(lon.shape)
        for beacon in self.beacons:
            there = unit_vectors(*(np.asarray(c.to_value(u.rad)) for c in beacon))
            chord2 = sum((p - q) ** 2 for p, q in zip(position, there, strict=True))
            total += self.beacon_intensity * np.exp(-chord2 / (2 * width**2))
        return total
