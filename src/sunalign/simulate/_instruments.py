"""Instruments that observe a scene: imagers and slit rasters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.time import Time

import sunpy.map
from sunpy.map import GenericMap

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
    two,
    velocity_cards,
)
from sunalign.simulate._observer import Observer, locate, time_of
from sunalign.simulate._observer import observer as position
from sunalign.simulate._optics import Relation, expose, mismatched, named_relation, scan
from sunalign.simulate._scene import Scene, View
from sunalign.simulate._wander import Jump, pointing_table, wander

HEADER_FRAMES = ("step", "header", "surface")


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """
    An observation whose truth is known.

    Parameters
    ----------
    target : `~sunpy.map.GenericMap`
        The observation, with the wrong pointing in its header.
    reference : `~sunpy.map.GenericMap` or `None`
        Image whose header is right.
    error : `PointingError`
        The correction that makes the target's header right.
    truth : `~sunpy.map.GenericMap`
        The data of the target, with the right header.
    scene : `Scene`
        The Sun that the target was made from.
    times : `~astropy.time.Time` or `None`
        Mid time of each raster step, in the order of the columns; `None` for images.
    pointing : `~astropy.table.QTable` or `None`
        What is to be added, column by column, to the coordinates of the right header: ``column``, ``step`` in the
        order of time, ``time``, ``shift_x``, ``shift_y``. Zero unless asked for; `None` for images.
    """

    target: GenericMap
    reference: GenericMap | None = None
    error: PointingError
    truth: GenericMap
    scene: Scene
    times: Time | None = None
    pointing: QTable | None = None


def imager(
    scene: Scene,
    *,
    center: Pair | SkyCoord = (0 * u.arcsec, 0 * u.arcsec),
    shape: tuple[int, int] = (128, 128),
    scale: u.Quantity = 4.44 * u.arcsec,
    roll: u.Quantity = 0 * u.deg,
    observer: Observer | None = None,
    time: Any = None,
    psf_fwhm: u.Quantity | None = None,
    exposure: u.Quantity = 10 * u.s,
    photons: float | None = None,
    read_noise: float = 0.0,
    oversample: int = 2,
    convention: Convention = "pc",
    unit: Any = u.arcsec,
    meta: Mapping[str, Any] | None = None,
    rng: Any = None,
) -> GenericMap:
    """
    Image of a scene, with a header that is right.

    Parameters
    ----------
    scene : `Scene`
        The Sun.
    center : pair of `~astropy.units.Quantity`
        Helioprojective longitude and latitude of the centre of the array.
    shape : `tuple` of `int`
        ``(ny, nx)``.
    scale : `~astropy.units.Quantity`
        Angle per pixel, one value or two (x, y).
    roll : `~astropy.units.Quantity`
        Roll of the camera, counter-clockwise on the sky; CROTA2.
    observer : `~astropy.coordinates.SkyCoord` or callable, optional
        Who looks, see `observer` and `Orbit`. By default from 1 AU at Stonyhurst longitude and latitude 0.
        A fixed position stays at its Stonyhurst longitude.
    time : {parse_time_types}, optional
        Middle of the exposure. By default the observer's ``obstime``, else the scene's epoch.
    psf_fwhm : `~astropy.units.Quantity`, optional
        Full width at half maximum of a Gaussian point-spread function.
    exposure : `~astropy.units.Quantity`
        Exposure time, for the header.
    photons, read_noise : `float`
        Photons in a pixel of median brightness, and read noise in photons. No noise by default.
    oversample : `int`
        Samples per pixel and axis, averaged.
    convention : `str`
        ``"pc"``, ``"cd"`` or ``"crota"``: how the header tells scale and roll.
    unit : unit-like
        Unit of the header's angles.
    meta : mapping, optional
        Further header cards; they win over ours.
    rng : {int, `numpy.random.Generator`, None}
        Source of randomness, for the noise.

    Returns
    -------
    `~sunpy.map.GenericMap`
        Image in DN/s.
    """
    time = _when(scene, observer, time)
    observer = _who(observer, time)
    pointing = Pointing(center=direction_of(center), scale=two(scale), roll=roll, shape=shape)
    data = expose(scene, pointing, scene.view(observer, time), psf_fwhm, oversample)
    data = add_noise(data, np.random.default_rng(rng), snr=None, photons=photons, read_noise=read_noise)
    header = _image_header(pointing, scene, observer, time, exposure, convention, unit)
    return sunpy.map.Map(data, header | dict(meta or {}))


def sequence(
    scene: Scene, times: Iterable[Any], *, observer: Observer | None = None, rng: Any = None, **options: Any
) -> list[GenericMap]:
    """
    Frames of an imager, one for each of ``times``.

    Parameters
    ----------
    scene : `Scene`
        The Sun.
    times : iterable of {parse_time_types}
        Middle of each exposure.
    observer : `~astropy.coordinates.SkyCoord` or callable, optional
        As in `imager`; a callable moves from frame to frame.
    rng : {int, `numpy.random.Generator`, None}
        Source of randomness, for the noise.
    **options
        Passed to `imager`.

    Returns
    -------
    `list` of `~sunpy.map.GenericMap`
    """
    rng = np.random.default_rng(rng)
    return [imager(scene, observer=observer, time=time, rng=rng, **options) for time in times]


def target_image(
    scene: Scene,
    *,
    center: Pair | SkyCoord = (0 * u.arcsec, 0 * u.arcsec),
    shape: tuple[int, int] = (128, 128),
    scale: u.Quantity = 2.2 * u.arcsec,
    roll: u.Quantity = 0 * u.deg,
    observer: Observer | None = None,
    time: Any = None,
    error: PointingError | None = None,
    psf_fwhm: u.Quantity | None = None,
    exposure: u.Quantity = 10 * u.s,
    snr: float | None = None,
    photons: float | None = None,
    read_noise: float = 0.0,
    relation: Relation = "identity",
    mismatch: float = 0.0,
    mismatch_scale: u.Quantity = 10 * u.arcsec,
    spoil: Mapping[str, Any] | None = None,
    oversample: int = 2,
    convention: Convention = "pc",
    unit: Any = u.arcsec,
    dtype: Any = float,
    meta: Mapping[str, Any] | None = None,
    rng: Any = None,
) -> Simulated:
    """
    Image whose header is wrong by a known error.

    Parameters
    ----------
    scene, center, shape, scale, roll, observer, time, psf_fwhm, exposure, oversample, convention, unit, meta
        As in `imager`; ``center``, ``scale`` and ``roll`` are the *true* ones.
    error : `PointingError`, optional
        The correction that the header handed out needs.
    snr, photons, read_noise, relation, mismatch, mismatch_scale, dtype, rng
        As in `raster`.
    spoil : mapping, optional
        Options of `defects`.

    Returns
    -------
    `Simulated`
        Without a reference.
    """
    rng = np.random.default_rng(rng)
    time = _when(scene, observer, time)
    observer = _who(observer, time)
    pointing = Pointing(center=direction_of(center), scale=two(scale), roll=roll, shape=shape)
    data = expose(scene, pointing, scene.view(observer, time), psf_fwhm, oversample, named_relation(relation))
    data = mismatched(data, pointing, mismatch, mismatch_scale, rng)
    data = add_noise(data, rng, snr=snr, photons=photons, read_noise=read_noise)
    data = defects(data, **dict(spoil or {}), rng=rng)

    def header(p: Pointing) -> Header:
        return _image_header(p, scene, observer, time, exposure, convention, unit) | dict(meta or {})

    return _simulated(data.astype(dtype), header, pointing, error, scene)


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
    start = _when(scene, observer, start)
    observer = _who(observer, start)
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
    return replace(_simulated(data.astype(dtype), header, pointing, error, scene), times=times, pointing=table)


def _raster_view(scene: Scene, observer: Observer, times: Time, middle: Time, header_frame: str) -> View:
    if header_frame == "step":
        return scene.view(observer, times)
    surface = middle if header_frame == "surface" else times
    return scene.view(observer, times, sky_time=middle, surface_time=surface)


def _simulated(
    data: np.ndarray,
    header: Callable[[Pointing], Header],
    pointing: Pointing,
    error: PointingError | None,
    scene: Scene,
) -> Simulated:
    error = error or PointingError()
    return Simulated(
        target=sunpy.map.Map(data, header(error.undo(pointing))),
        truth=sunpy.map.Map(data.copy(), header(pointing)),
        error=error,
        scene=scene,
    )


def _image_header(
    pointing: Pointing,
    scene: Scene,
    observer: Observer,
    time: Time,
    exposure: u.Quantity,
    convention: Convention,
    unit: Any,
) -> Header:
    moving = callable(observer)
    return (
        pointing.cards(convention=convention, unit=unit)
        | date_cards(time - exposure / 2, time, time + exposure / 2)
        | observer_cards(locate(observer, time), scene.rsun)
        | (velocity_cards(observer, time) if moving else {})
        | {
            "XPOSURE": float(exposure.to_value(u.s)),
            "TELESCOP": "SIMULATION",
            "INSTRUME": "IMAGER",
            "WAVELNTH": 174,
            "WAVEUNIT": "Angstrom",
            "BUNIT": "DN/s",
        }
    )


def _when(scene: Scene, observer: Observer | None, time: Any) -> Time:
    return time_of(observer, time, scene.time)


def _who(observer: Observer | None, time: Time) -> Observer:
    return position(time=time) if observer is None else observer
