"""Imagers: one exposure, many of them, and one whose header is wrong."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
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
    two,
    velocity_cards,
)
from sunalign.simulate._observer import Observer, locate
from sunalign.simulate._optics import Relation, expose, mismatched, named_relation
from sunalign.simulate._scene import Scene
from sunalign.simulate._simulated import Simulated, simulated, when, who


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
    time = when(scene, observer, time)
    observer = who(observer, time)
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
    time = when(scene, observer, time)
    observer = who(observer, time)
    pointing = Pointing(center=direction_of(center), scale=two(scale), roll=roll, shape=shape)
    data = expose(scene, pointing, scene.view(observer, time), psf_fwhm, oversample, named_relation(relation))
    data = mismatched(data, pointing, mismatch, mismatch_scale, rng)
    data = add_noise(data, rng, snr=snr, photons=photons, read_noise=read_noise)
    data = defects(data, **dict(spoil or {}), rng=rng)

    def header(p: Pointing) -> Header:
        return _image_header(p, scene, observer, time, exposure, convention, unit) | dict(meta or {})

    return simulated(data.astype(dtype), header, pointing, error, scene)


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
