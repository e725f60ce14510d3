"""Slit rasters: one column after the other, each at its own time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunalign.simulate._defects import add_noise, defects
from sunalign.simulate._header import (
    Convention,
    Header,
    Pair,
    Pointing,
    PointingError,
    date_cards,
    direction_of,
    observer_cards,
    raster_time_cards,
    still_cards,
    velocity_cards,
)
from sunalign.simulate._observer import Observer, locate
from sunalign.simulate._optics import Relation, mismatched, named_relation, scan
from sunalign.simulate._scene import Scene
from sunalign.simulate._simulated import Simulated, simulated, when, who
from sunalign.simulate._view import View
from sunalign.simulate._wander import Jump, pointing_table, wander

HEADER_FRAMES = ("step", "header", "surface")


def raster(
    scene: Scene,
    *,
    center: Pair | SkyCoord = (0 * u.arcsec, 0 * u.arcsec),
    n_steps: int = 96,
    n_slit: int = 830,
    step: u.Quantity = 6 * u.arcsec,
    slit_pixel: u.Quantity = 1.098 * u.arcsec,
    slit_width: u.Quantity | None = None,
    psf_fwhm: u.Quantity | None = 6.5 * u.arcsec,
    roll: u.Quantity = 0 * u.deg,
    observer: Observer | None = None,
    start: Any = None,
    cadence: u.Quantity | None = None,
    direction: int = -1,
    still: bool = False,
    header_frame: Literal["step", "header", "surface"] = "step",
    error: PointingError | None = None,
    drift: u.Quantity | None = None,
    drift_time: u.Quantity | None = None,
    jumps: Sequence[Jump] = (),
    jitter: u.Quantity | None = None,
    snr: float | None = None,
    photons: float | None = None,
    read_noise: float = 0.0,
    relation: Relation = "identity",
    mismatch: float = 0.0,
    mismatch_scale: u.Quantity = 10 * u.arcsec,
    nan_rows: tuple[int, int] = (0, 0),
    hot_rows: int = 0,
    cosmic_hits: float = 0.0,
    spoil: Mapping[str, Any] | None = None,
    convention: Convention = "pc",
    unit: Any = u.deg,
    dtype: Any = float,
    meta: Mapping[str, Any] | None = None,
    rng: Any = None,
) -> Simulated:
    """
    Slit raster, with a header like those of SPICE that is wrong by a known error.

    Parameters
    ----------
    scene : `Scene`
        The Sun.
    center : pair of `~astropy.units.Quantity`
        True helioprojective longitude and latitude of the centre of the array.
    n_steps, n_slit : `int`
        Columns and rows of the array: slit positions, and pixels along the slit.
    step, slit_pixel : `~astropy.units.Quantity`
        True angle from one slit position to the next (x), and per pixel along the slit (y).
    slit_width : `~astropy.units.Quantity`, optional
        Width of the slit; by default one step.
    psf_fwhm : `~astropy.units.Quantity` or `None`
        Full width at half maximum of a Gaussian point-spread function.
    roll : `~astropy.units.Quantity`
        True roll, counter-clockwise on the sky.
    observer : `~astropy.coordinates.SkyCoord` or callable, optional
        Who looks. A fixed position stays at its Stonyhurst longitude; a callable, such as `Orbit`, is given the array
        of the times of the steps.
    start : {parse_time_types}, optional
        Beginning of the first exposure. By default the observer's ``obstime``, else the scene's epoch.
    cadence : `~astropy.units.Quantity`, optional
        Time per step. `None` or zero: every column at ``start``.
    direction : `int`
        -1 scans from west to east, against x, as SPICE does; 1 the other way.
    still : `bool`
        Sit-and-stare: the slit stays at ``center`` while the columns are exposed one after the other, and the header
        has a raster axis without extent. A drift keeps its trend, for no scale can stand in for it.
    header_frame : `str`
        What the angles of the (true) header mean for a column of mid time t. Let T be DATE-AVG.

        ``"step"``
            Directions as seen at t by the observer where it is at t. A simultaneous image from the same spacecraft
            shows the same thing at the same Tx, Ty.
        ``"header"``
            Places at rest among the stars: the header's one frame (the observer at T) and its sphere tell a place in
            inertial space; recorded is whatever the rotating Sun has there at t. It is the reading of tools
            that put all columns into the frame of the header and let the coordinate machinery move the observer.
        ``"surface"``
            Places on the rotating surface: recorded is what the observer at T sees there at T. The Sun's rotation and
            the spacecraft's motion have been taken out of the header already.
    error : `PointingError`, optional
        The correction that the header handed out needs.
    drift : `~astropy.units.Quantity`, optional
        Range of a smooth random drift of the pointing along each axis, of which the header knows nothing. Like jumps
        and jitter it is without mean and trend over the raster, which would be a shift and a scale of the whole.
    drift_time : `~astropy.units.Quantity`, optional
        Time over which the correlation of the drift falls to 1/e; by default a third of the raster's.
    jumps : sequence of ``(step, shift_x, shift_y)``
        By how much the pointing jumps, as at the off-loading of wheels, and the first step in the order of time that
        has it.
    jitter : `~astropy.units.Quantity`, optional
        Standard deviation of an independent displacement of every step along each axis.
    snr : `float`, optional
        Signal-to-noise ratio of a pixel of median brightness, from Poisson noise (and ``read_noise``).
    photons, read_noise : `float`
        Instead of ``snr``, photons in a pixel of median brightness; and read noise in photons.
    relation : `str` or callable
        How the target's emission follows from the scene's: ``"identity"``, ``"power"`` (power 0.8),
        or a function of the array of intensities.
    mismatch : `float`
        Amplitude of structure that only the target has: standard deviation of the logarithm of a random factor.
        0.35 gives a correlation of about 0.9 with a matching reference, 0.55 about 0.8.
    mismatch_scale : `~astropy.units.Quantity`
        Length over which the correlation of that structure falls to 1/e.
    nan_rows : `tuple` of two `int`
        Rows below and above the slit, NaN.
    hot_rows, cosmic_hits
        As in `defects`.
    spoil : mapping, optional
        Further options of `defects`.
    convention : `str`
        ``"pc"`` or ``"cd"``.
    unit, meta
        As in `imager`.
    dtype : dtype-like
        Type of the data; ``">f8"`` is what FITS files hold.
    rng : {int, `numpy.random.Generator`, None}
        Source of randomness, for noise, mismatch and defects.

    Returns
    -------
    `Simulated`
        Without a reference.
    """
    if header_frame not in HEADER_FRAMES:
        raise ValueError(f"There is no header frame {header_frame!r}. Allowed: 'step', 'header', 'surface'.")
    if direction not in (-1, 1):
        raise ValueError(f"The direction of a raster is -1 or 1, not {direction!r}.")
    rng = np.random.default_rng(rng)
    start = when(scene, observer, start)
    observer = who(observer, start)
    seconds = 0.0 if cadence is None else float(cadence.to_value(u.s))
    order = np.arange(n_steps) if direction == 1 else np.arange(n_steps)[::-1]
    times = start + (order + 0.5) * seconds * u.s
    middle = start + n_steps / 2 * seconds * u.s

    pointing = Pointing(center=direction_of(center), scale=(step, slit_pixel), roll=roll, shape=(n_slit, n_steps))
    view = _raster_view(scene, observer, times if seconds else middle, middle, header_frame)
    moved = wander(
        order,
        # Of its own, so that the noise is the same with and without.
        rng.spawn(1)[0],
        drift=drift,
        drift_steps=None if drift_time is None or not seconds else float(drift_time.to_value(u.s)) / seconds,
        jumps=jumps,
        jitter=jitter,
        degree=0 if still else 1,
    )
    back = np.degrees(pointing.matrix @ [(n_steps - 1) / 2 - np.arange(n_steps), np.zeros(n_steps)]) * 3600
    data = scan(
        scene,
        pointing,
        view,
        step if slit_width is None else slit_width,
        psf_fwhm,
        named_relation(relation),
        moved + back if still else moved,
    )
    data = mismatched(data, pointing, mismatch, mismatch_scale, rng)
    data = add_noise(data, rng, snr=snr, photons=photons, read_noise=read_noise)
    data = defects(data, nan_rows=nan_rows, hot_rows=hot_rows, cosmic_hits=cosmic_hits, rng=rng, **dict(spoil or {}))

    where = locate(observer, middle)
    common = (
        raster_time_cards(n_steps, start, seconds, direction, convention)
        | date_cards(start, middle, start + n_steps * seconds * u.s)
        | observer_cards(where, scene.rsun)
        | (velocity_cards(observer, middle) if callable(observer) else {})
        | {"XPOSURE": seconds, "TELESCOP": "SIMULATION", "INSTRUME": "RASTER", "BUNIT": "DN/s"}
    )

    def header(p: Pointing) -> Header:
        cards = p.cards(convention=convention, unit=unit)
        return cards | (still_cards(p, convention) if still else {}) | common | dict(meta or {})

    table = pointing_table(moved, times, order)
    return replace(simulated(data.astype(dtype), header, pointing, error, scene), times=times, pointing=table)


def _raster_view(scene: Scene, observer: Observer, times: Time, middle: Time, header_frame: str) -> View:
    if header_frame == "step":
        return scene.view(observer, times)
    surface = middle if header_frame == "surface" else times
    return scene.view(observer, times, sky_time=middle, surface_time=surface)
