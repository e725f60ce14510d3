"""A target and a reference, in one call."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import astropy.units as u

from sunpy.map import GenericMap

from sunalign.simulate._header import Pair, PointingError, two
from sunalign.simulate._imager import imager, target_image
from sunalign.simulate._observer import Observer
from sunalign.simulate._observer import observer as position
from sunalign.simulate._raster import raster
from sunalign.simulate._scene import Scene
from sunalign.simulate._simulated import Simulated


def image_pair(
    seed: int = 0,
    *,
    scene: Scene | None = None,
    target_scene: Scene | None = None,
    error: PointingError | None = None,
    shape: tuple[int, int] = (200, 200),
    reference_scale: u.Quantity = 4.44 * u.arcsec,
    scale: u.Quantity | None = None,
    roll: u.Quantity = 1.5 * u.deg,
    center: Pair = (40 * u.arcsec, -30 * u.arcsec),
    observer: Observer | None = None,
    time: Any = None,
    reference_observer: Observer | None = None,
    reference_time: Any = None,
    reference_shape: tuple[int, int] | None = None,
    margin: u.Quantity = 60 * u.arcsec,
    reference: Mapping[str, Any] | None = None,
    snr: float | None = 20.0,
    **options: Any,
) -> Simulated:
    """
    Image to be aligned with a coarser image of the same Sun, by default from 0.45 AU.

    Parameters
    ----------
    seed : `int`
        Seed of the scene, unless given, and of all noise.
    scene, target_scene : `Scene`, optional
        The Sun that the reference, and the target, sees; by default the same. A featureless or a different Sun
        makes a target that cannot be aligned.
    error : `PointingError`, optional
        The correction that the target's header needs. By default some arcseconds.
    shape, scale, roll, center, observer, time
        As in `target_image`, true values. By default the scale is half the reference's.
    reference_scale, reference_observer, reference_time, reference_shape
        Of the reference; by default the target's observer and time, and a shape that covers the true field of view
        with ``margin`` on each side.
    margin : `~astropy.units.Quantity`
        How far the reference reaches beyond the target.
    reference : mapping, optional
        Further options of `imager` for the reference.
    snr : `float`, optional
        Signal-to-noise ratio of the target in a pixel of median brightness.
    **options
        Passed to `target_image`.

    Returns
    -------
    `Simulated`
    """
    scene, observer = _defaults(seed, scene, observer)
    scale = two(0.5 * reference_scale if scale is None else scale)
    target = target_image(
        target_scene or scene,
        center=center,
        shape=shape,
        scale=u.Quantity(scale),
        roll=roll,
        observer=observer,
        time=time,
        error=PointingError(shift_x=13.7 * u.arcsec, shift_y=-8.2 * u.arcsec) if error is None else error,
        snr=snr,
        **{"rng": [seed, 11]} | options,
    )
    frame = {
        "center": center,
        "shape": reference_shape or _covering(shape, scale, roll, margin, reference_scale),
        "scale": reference_scale,
        "observer": reference_observer or observer,
        "time": time if reference_time is None else reference_time,
    }
    return replace(target, reference=_reference(scene, seed, frame, reference))


def raster_pair(
    seed: int = 0,
    *,
    snr: float | None = 8.0,
    error: PointingError | None = None,
    scene: Scene | None = None,
    target_scene: Scene | None = None,
    n_steps: int = 96,
    n_slit: int = 830,
    step: u.Quantity = 6 * u.arcsec,
    slit_pixel: u.Quantity = 1.098 * u.arcsec,
    roll: u.Quantity = 2.88 * u.deg,
    center: Pair = (60 * u.arcsec, -40 * u.arcsec),
    observer: Observer | None = None,
    start: Any = None,
    nan_rows: tuple[int, int] | None = None,
    reference_scale: u.Quantity = 4.44 * u.arcsec,
    reference_observer: Observer | None = None,
    reference_time: Any = None,
    reference_shape: tuple[int, int] | None = None,
    margin: u.Quantity = 32 * u.arcsec,
    reference: Mapping[str, Any] | None = None,
    **options: Any,
) -> Simulated:
    """
    Raster like those of SPICE to be aligned with an image like those of EUI/FSI, by default from 0.45 AU.

    Parameters
    ----------
    seed : `int`
        Seed of the scene, unless given, and of all noise.
    snr : `float`, optional
        Signal-to-noise ratio of the raster in a pixel of median brightness.
    error : `PointingError`, optional
        The correction that the raster's header needs. By default some arcseconds.
    scene, target_scene : `Scene`, optional
        The Sun that the reference, and the raster, sees; by default the same. A featureless or a different Sun
        makes a target that cannot be aligned.
    n_steps, n_slit, step, slit_pixel, roll, center, observer, start
        As in `raster`, true values. ``n_steps=32, n_slit=200`` is small and fast.
    nan_rows : `tuple` of two `int`, optional
        Rows below and above the slit; by default a tenth of all at either end.
    reference_scale, reference_observer, reference_time, reference_shape
        Of the reference; by default the raster's observer and its DATE-AVG, and a shape that covers the true field
        of view with ``margin`` on each side.
    margin : `~astropy.units.Quantity`
        How far the reference reaches beyond the target.
    reference : mapping, optional
        Further options of `imager` for the reference.
    **options
        Passed to `raster`.

    Returns
    -------
    `Simulated`
    """
    scene, observer = _defaults(seed, scene, observer)
    shape = (n_slit, n_steps)
    target = raster(
        target_scene or scene,
        center=center,
        n_steps=n_steps,
        n_slit=n_slit,
        step=step,
        slit_pixel=slit_pixel,
        roll=roll,
        observer=observer,
        start=start,
        snr=snr,
        error=PointingError(shift_x=17.3 * u.arcsec, shift_y=-9.6 * u.arcsec) if error is None else error,
        nan_rows=(n_slit // 10, n_slit // 10) if nan_rows is None else nan_rows,
        **{"rng": [seed, 11]} | options,
    )
    frame = {
        "center": center,
        "shape": reference_shape or _covering(shape, (step, slit_pixel), roll, margin, reference_scale),
        "scale": reference_scale,
        "observer": reference_observer or observer,
        "time": target.truth.reference_date if reference_time is None else reference_time,
    }
    return replace(target, reference=_reference(scene, seed, frame, reference))


def _defaults(seed: int, scene: Scene | None, observer: Observer | None) -> tuple[Scene, Observer]:
    # The window of high resolution is as small as the fields of view at 0.45 AU allow: half the time to paint.
    scene = scene or Scene(seed=seed, extent=(40 * u.deg, 44 * u.deg))
    return scene, observer or position(0.45 * u.AU, *scene.center, scene.time)


def _reference(scene: Scene, seed: int, frame: dict[str, Any], options: Mapping[str, Any] | None) -> GenericMap:
    usual = {"psf_fwhm": 1.5 * two(frame["scale"])[0], "photons": 2000.0, "rng": [seed, 12]}
    return imager(scene, **usual | frame | dict(options or {}))


def _covering(
    shape: tuple[int, int], scale: Pair, roll: u.Quantity, margin: u.Quantity, pixel: u.Quantity
) -> tuple[int, int]:
    """Shape of an unrotated array that covers a rotated one with a margin."""
    height, width = shape[0] * scale[1], shape[1] * scale[0]
    cos, sin = abs(np.cos(roll)), abs(np.sin(roll))
    covered = (cos * height + sin * width + 2 * margin, cos * width + sin * height + 2 * margin)
    pixels = two(pixel)[::-1]
    ny, nx = (int(np.ceil((c / p).to_value(u.one))) for c, p in zip(covered, pixels, strict=True))
    return ny, nx
